"""What a process tells of itself, and how it leaves."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from bus.codec import decode
from bus.membership import rendezvous
from bus.subjects import filter_for
from schemas import catalog
from schemas.base import ASK, PUBLIC
from schemas.fleet import HEARTBEAT_SUBJECT, Alive
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.providers_fake import answer, begin, fake_provider

SECONDS = 30
SHARDS = 16


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
    assert (alive["streaming"].running, alive["streaming"].capacity) == (0, 2 * 7)
    for process in alive.values():
        assert process.memory_bytes > 1024**2


async def test_every_process_tells_what_processor_time_it_uses(
    fleet: RunningFleet, alive: dict[str, Alive]
):
    waiting = {process.process for process in alive.values()}
    async with fleet.client() as client:
        beats = await client.nats.subscribe(HEARTBEAT_SUBJECT)
        with anyio.fail_after(SECONDS):
            while waiting:
                beat = decode(Alive, (await beats.next_msg(SECONDS)).data)
                assert 0 <= beat.cpu_percent < 100 * (os.cpu_count() or 1)
                if beat.cpu_percent:
                    waiting.discard(beat.process)


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
    before = await _samples(alive["streaming"])
    async with fleet.client("measured") as client:
        await client.script("greeter", "Hello there.")
        failures = [{"call": 0, "code": "provider_overloaded"}]
        await client.script("flaky", "Hello there.", failures=failures)
        for agent in ("greeter", "flaky"):
            run = await client.ask("agents.execute", {"agent_id": agent, "task": "Greet."})
            record = await client.ended(run["execution_id"])
    owner, worker = await _samples(alive["agents"]), await _samples(alive["streaming"])
    grown = {name: value - before.get(name, 0) for name, value in worker.items()}

    assert owner["callboard_executions_total"] >= 2
    assert owner["callboard_execution_seconds_count"] >= 2
    assert owner["callboard_requests_total"] >= 4
    assert owner["callboard_request_seconds_count"] >= 4
    assert owner["callboard_commit_total"] >= 2
    assert owner["callboard_turn_seconds_count"] >= 2
    assert owner["callboard_turn_commands_sum"] >= 2
    assert owner["callboard_shards_owned"] > 0
    assert owner["callboard_recovery_seconds_count"] >= SHARDS
    # The first delta and the end of two answers.
    assert grown["callboard_provider_seconds_count"] >= 4
    assert grown["callboard_provider_errors_total"] >= 1
    assert grown["callboard_deltas_total"] >= 4
    assert grown["callboard_tokens_total"] >= 2 * record["tokens_used"]


async def test_answers_under_way_are_counted_and_an_agent_is_busy_meanwhile(
    fleet: RunningFleet, alive: dict[str, Alive]
):
    async with hearing() as (provider, heard_out), fleet.client("watched") as client:
        body = {"id": "writer", "provider": provider}
        assert (await client.ask("agents.apply", body)).get("type") != "problem"
        run = await client.ask("agents.execute", {"agent_id": "writer", "task": "Write."})
        with anyio.fail_after(SECONDS):
            while await _status(client, "writer") != ("BUSY", "BUSY", 1, ["writer"]):
                await anyio.sleep(0.02)
            while not (writing := await _samples(alive["streaming"]))["callboard_streams_open"]:
                await anyio.sleep(0.02)
        heard_out.set()
        await client.ended(run["execution_id"])
        with anyio.fail_after(SECONDS):
            while await _status(client, "writer") != ("IDLE", "IDLE", 1, []):
                await anyio.sleep(0.02)
            while (await _samples(alive["streaming"]))["callboard_streams_open"]:
                await anyio.sleep(0.02)

    assert writing["callboard_streams_open"] == 1
    assert writing["callboard_work_in_flight"] == 1


async def _status(client: PlainClient, agent: str) -> tuple[str, str, int, list[str]]:
    """Return the status of an agent by ``get`` and ``list``, its executions, and who is busy."""
    got = await client.ask("agents.get", {"id": agent})
    (row,) = (await client.ask("agents.list", {"search": agent}))["agents"]
    busy = (await client.ask("agents.list", {"status": "BUSY"}))["agents"]
    return got["status"], row["status"], row["execution_count"], [each["id"] for each in busy]


@asynccontextmanager
async def hearing() -> AsyncGenerator[tuple[dict[str, Any], anyio.Event]]:
    """Serve a provider that begins to answer, and ends when it is told to."""
    heard_out = anyio.Event()

    async def respond(request: web.Request) -> web.StreamResponse:
        response = await begin(request, answer("Well. ", "Done.")[:2])
        await heard_out.wait()
        for data in answer("Well. ", "Done.")[2:]:
            await response.write(data)
        await response.write_eof()
        return response

    async with fake_provider(respond) as fake:
        yield {"type": "custom", "model": "m", "base_url": fake.base_url}, heard_out


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
    async with fleet.client() as client:
        info = await client.nats.request("$SRV.INFO.agents", timeout=SECONDS)
        endpoints = msgspec.json.decode(info.data)["endpoints"]
    subjects = {endpoint["subject"] for endpoint in endpoints}

    # Answered by actors that are not in this fleet.
    money = ("pricing.", "budgets.", "limits.", "models.")
    servers = ("mcp.", "tools.list", "resources.", "prompts.")
    people = ("tenants.", "members.", "keys.")
    others = (*money, *servers, *people, "workflows.")
    wanted = [row for row in catalog.requests() if not row.name.startswith(others)]
    templates = [prefix + row.name for row in wanted for prefix in (PUBLIC, ASK)]
    assert subjects == {filter_for(template) for template in templates}


async def test_a_process_that_is_told_to_stop_writes_its_answers_to_their_end_and_takes_no_more(
    fleet: RunningFleet, alive: dict[str, Alive]
):
    readyz = f"http://127.0.0.1:{alive['streaming'].metrics_port}/readyz"
    async with (
        hearing() as (provider, heard_out),
        fleet.client("drained") as client,
        httpx.AsyncClient(timeout=SECONDS) as probe,
    ):
        await client.ask("agents.apply", {"id": "writer", "provider": provider})
        run = await client.ask("agents.execute", {"agent_id": "writer", "task": "Write."})
        with anyio.fail_after(SECONDS):
            while not (await _samples(alive["streaming"]))["callboard_streams_open"]:
                await anyio.sleep(0.02)
        await fleet.start("streaming.1")
        await fleet.ready(3)
        assert (await probe.get(readyz)).status_code == 200
        leaving = fleet.processes.pop("streaming.0")
        leaving.terminate()
        with anyio.fail_after(SECONDS):
            while (answered := await probe.get(readyz)).status_code == 200:
                await anyio.sleep(0.01)
        heard_out.set()
        record = await client.ended(run["execution_id"])
        with anyio.fail_after(SECONDS):
            assert await leaving.wait() == 0
        await client.script("greeter", "Hello.")
        run = await client.ask("agents.execute", {"agent_id": "greeter", "task": "Greet."})
        assert (await client.ended(run["execution_id"]))["status"] == "COMPLETED"

    assert (answered.status_code, answered.text) == (503, "the process is stopping\n")
    assert (record["status"], record["attempts"]) == ("COMPLETED", 1)


async def test_a_process_that_is_told_to_stop_gives_its_shards_back(
    fleet: RunningFleet, directory: Path
):
    started = await fleet.start("agents.1")
    agents = {each.pid: each.process for each in await fleet.ready(3) if each.actor == "agents"}
    name = agents[started.pid]
    shards = {f"execution.{number}" for number in range(SHARDS)}
    owned = {shard for shard in shards if rendezvous(agents.values(), shard) == name}
    with anyio.fail_after(SECONDS):
        assert await fleet.drain("agents.1") == 0
    lines = map(msgspec.json.decode, (directory / "agents.1.log").read_bytes().splitlines())

    assert owned
    assert {line["shard"] for line in lines if line["event"] == "shard.released"} == owned
    async with fleet.client("handed-back") as client:
        await client.script("greeter", "Hello.")
        for _ in range(SHARDS):
            run = await client.ask("agents.execute", {"agent_id": "greeter", "task": "Greet."})
            assert (await client.ended(run["execution_id"]))["status"] == "COMPLETED"
