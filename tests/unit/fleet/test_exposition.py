"""The metrics of all processes of a fleet on one port."""

import anyio
from prometheus_client.parser import text_string_to_metric_families

from actors.fleet.exposition import exposing, merged
from bus.runtime.health import listening
from bus.telemetry import metrics

ONE = """\
# HELP callboard_deltas_total Stream events
# TYPE callboard_deltas_total counter
callboard_deltas_total{provider="a}b"} 3.0
# HELP callboard_outbox Unsettled
# TYPE callboard_outbox gauge
callboard_outbox 1.0
"""
OTHER = ONE.replace("3.0", "4.0")


def test_each_family_stands_once_with_the_samples_of_each_process():
    families = list(text_string_to_metric_families(merged({"one.1": ONE, "two.1": OTHER})))

    found = {
        sample.labels["process"]: (sample.labels.get("provider"), sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "callboard_deltas_total"
    }
    assert found == {"one.1": ("a}b", 3.0), "two.1": ("a}b", 4.0)}
    assert len(families) == 2


async def scraped(url: str, path: str = "/metrics") -> str:
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        parts = [part async for part in stream]
    return b"".join(parts).decode()


async def test_a_scrape_asks_all_processes_and_leaves_out_who_does_not_answer():
    metrics.PART_RESTARTS.at("tried").inc()
    with anyio.fail_after(10):
        async with (
            listening(list[str], port=0) as port,
            exposing(lambda: {"a.1": port, "gone.1": 1}, host="127.0.0.1", port=0) as url,
        ):
            answer = await scraped(url)
            other = await scraped(url, "/elsewhere")

    assert 'callboard_part_restarts_total{process="a.1",part="tried"}' in answer
    assert "gone.1" not in answer
    assert other.startswith("HTTP/1.1 404")
