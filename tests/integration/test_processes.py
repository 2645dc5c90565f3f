"""What a process tells of itself, and how it leaves."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus.subjects import filter_for
from schemas import catalog
from schemas.fleet import Alive
from tests.fleet import RunningFleet, running_fleet

SECONDS = 20


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")
async def fleet(directory: Path) -> AsyncGenerator[RunningFleet]:
    async with running_fleet(directory, MAX_CONCURRENT_EXECUTIONS="7") as fleet:
        yield fleet


@pytest.fixture
async def alive(fleet: RunningFleet) -> dict[str, Alive]:
    return {alive.actor: alive for alive in await fleet.ready(2)}


async def test_a_heartbeat_tells_load_memory_and_what_the_process_owns(alive: dict[str, Alive]):
    assert alive.keys() == {"agents", "streaming"}
    assert alive["agents"].entities == ["execution"]
    assert (alive["streaming"].running, alive["streaming"].capacity) == (0, 7)
    for process in alive.values():
        assert process.memory_bytes > 1024**2
        assert process.cpu_percent >= 0


async def test_each_process_has_probes_and_metrics(alive: dict[str, Alive]):
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        for process in alive.values():
            base = f"http://127.0.0.1:{process.metrics_port}"
            probes = [await client.get(f"{base}/{path}") for path in ("livez", "readyz")]
            metrics = await client.get(f"{base}/metrics")
            assert [probe.status_code for probe in probes] == [200, 200]
            assert list(text_string_to_metric_families(metrics.text))


async def test_an_execution_shows_in_the_metrics_of_those_who_worked_on_it(
    fleet: RunningFleet, alive: dict[str, Alive]
):
    async with fleet.client("measured") as client:
        await client.script("greeter", "Hello there.")
        failures = [{"call": 0, "code": "provider_overloaded"}]
        await client.script("flaky", "Hello there.", failures=failures)
        for agent in ("greeter", "flaky"):
            run = await client.ask("agents.execute", {"agent_id": agent, "task": "Greet."})
            await client.ended(run["execution_id"])
    owner, worker = await _samples(alive["agents"]), await _samples(alive["streaming"])

    assert owner["callboard_executions_total"] >= 2
    assert owner["callboard_execution_seconds_count"] >= 2
    assert owner["callboard_requests_total"] >= 4
    assert worker["callboard_provider_seconds_count"] >= 2
    assert worker["callboard_provider_errors_total"] >= 1


async def test_a_process_logs_lines_of_json_without_what_was_said(
    fleet: RunningFleet, directory: Path
):
    async with fleet.client("logged") as client:
        await client.script("greeter", "Confidential-answer.")
        run = await client.ask("agents.execute", {"agent_id": "greeter", "task": "Private-task."})
        await client.ended(run["execution_id"])
    text = _logs(directory)
    lines = [msgspec.json.decode(line) for line in text.splitlines()]

    assert {line["level"] for line in lines} <= {"info", "warning"}
    assert all(line["event"] and line["process"] for line in lines)
    assert b"Confidential" not in text
    assert b"Private" not in text


def _logs(directory: Path) -> bytes:
    return b"".join(log.read_bytes() for log in sorted(directory.glob("*.log")))


async def _samples(process: Alive) -> dict[str, float]:
    """Return the sums over all labels of a process's metrics, by name."""
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        answer = await client.get(f"http://127.0.0.1:{process.metrics_port}/metrics")
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


async def test_services_are_discovered_as_nats_micro_does(fleet: RunningFleet):
    subjects: set[str] = set()
    async with fleet.client() as client:
        for service in ("agents", "llm"):
            info = await client.nats.request(f"$SRV.INFO.{service}", timeout=SECONDS)
            endpoints = msgspec.json.decode(info.data)["endpoints"]
            subjects |= {endpoint["subject"] for endpoint in endpoints}

    money = ("pricing.", "budgets.", "limits.")  # answered by an actor that is not in this fleet
    wanted = [row for row in catalog.requests() if not row.name.startswith(money)]
    assert subjects == {filter_for(row.subject) for row in wanted}


async def test_a_process_that_is_told_to_stop_ends_in_good_order_and_is_missed_by_nobody(
    fleet: RunningFleet,
):
    await fleet.start("streaming.extra")
    await fleet.ready(3)
    process = fleet.processes.pop("streaming.extra")
    process.terminate()
    with anyio.fail_after(SECONDS):
        assert await process.wait() == 0

    async with fleet.client("drained") as client:
        await client.script("greeter", "Hello.")
        run = await client.ask("agents.execute", {"agent_id": "greeter", "task": "Greet."})
        assert (await client.ended(run["execution_id"]))["status"] == "COMPLETED"
