"""What a process tells of itself, and how it leaves."""

from collections.abc import AsyncGenerator

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
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    directory = tmp_path_factory.mktemp("fleet")
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


async def test_services_are_discovered_as_nats_micro_does(fleet: RunningFleet):
    async with fleet.client() as client:
        info = await client.nats.request("$SRV.INFO.agents", timeout=SECONDS)

    endpoints = msgspec.json.decode(info.data)["endpoints"]
    assert {endpoint["subject"] for endpoint in endpoints} == {
        filter_for(row.subject) for row in catalog.requests()
    }


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
