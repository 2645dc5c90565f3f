"""One tenant sends far more than its share, and the others hardly notice."""

import sys
from collections.abc import AsyncGenerator
from functools import partial
from time import perf_counter
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from anyio.abc import Process
from click.testing import CliRunner

from actors.cli.commands import main
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.servers import PATIENCE

GENERATE = {
    "provider": {"type": "scripted", "responses": ["hi"], "delay_ms": 0},
    "messages": [{"role": "user", "content": "x"}],
}
PROMISED_SECONDS = 1.0
"""Within it another tenant's small request is answered on a quiet machine."""

SLOW = {**GENERATE, "provider": {"type": "scripted", "responses": ["w " * 200], "delay_ms": 25}}


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    async with running_fleet(tmp_path_factory.mktemp("floods")) as running:
        yield running


async def _flood(fleet: RunningFleet, count: int, mebibytes: int) -> Process:
    subject = "cb.greedy.llm.generate"
    command = [fleet.server.url, subject, str(count), str(mebibytes)]
    return await anyio.open_process([sys.executable, "-m", "tests.flooding", *command])


async def _answers(process: Process) -> dict[str, int]:
    assert process.stdout is not None
    text = b"".join([part async for part in process.stdout])
    return msgspec.json.decode(text)


async def _small(client: PlainClient) -> tuple[float, float]:
    """Run something small; return the seconds until it was accepted, and until it had ended."""
    began = perf_counter()
    accepted = await client.ask("llm.generate", GENERATE)
    accepted_after = perf_counter() - began
    record = await client.ended(accepted["execution_id"])
    assert record["status"] == "COMPLETED"
    return accepted_after, perf_counter() - began


async def test_a_flood_of_large_requests_costs_nobody_else_a_request_or_a_second(
    fleet: RunningFleet,
):
    seen: list[tuple[float, float]] = []
    async with fleet.client("modest") as client:
        long = await client.ask("llm.generate", SLOW)
        process = await _flood(fleet, 40, 8)
        answers: list[dict[str, int]] = []

        async def wait() -> None:
            answers.append(await _answers(process))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            while not answers:
                seen.append(await _small(client))
                await anyio.sleep(0.02)
        record = await client.ended(long["execution_id"], timeout=30)

    assert set(answers[0]) <= {"PENDING", "RUNNING", "rate_limited"}
    assert sum(answers[0].values()) == 40
    assert answers[0]["rate_limited"] >= 20
    assert (record["status"], record["attempts"]) == ("COMPLETED", 1)
    assert max(accepted for accepted, _ in seen) < PROMISED_SECONDS * 3 * PATIENCE


async def test_a_request_that_is_too_large_for_its_kind_is_refused_with_field_and_figure(
    fleet: RunningFleet,
):
    async with fleet.client("greedy") as client:
        for verb, field, most in (
            ("llm.generate", "messages", 12 * 1024**2),
            ("agents.execute", "task", 12 * 1024**2),
            ("agents.apply", "prompts", 4 * 1024**2),
            ("executions.list", None, 1024**2),
        ):
            body = b'{"nonsense":"' + b"x" * most + b'"}'
            refused = await client.ask(verb, body)
            assert (refused["code"], refused.get("field")) == ("validation", field)
            assert refused["details"] == {"used": len(body), "allowed": most}


# Two tenants under quotas

FILE = "greedy: {agents: 2, executions: 3}\n"


@pytest.fixture(scope="module")
async def bounded(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    path = tmp_path_factory.mktemp("bounded")
    (path / "quotas.yaml").write_text(FILE)
    fleet = running_fleet(
        path,
        CALLBOARD_QUOTAS_FILE=str(path / "quotas.yaml"),
        CALLBOARD_QUOTA_VERSIONS="3",
        MAX_CONCURRENT_EXECUTIONS="4",
    )
    async with fleet as running:
        yield running


@pytest.fixture
async def tenants(
    bounded: RunningFleet,
) -> AsyncGenerator[tuple[PlainClient, PlainClient]]:
    async with bounded.client("greedy") as greedy, bounded.client("modest") as modest:
        yield greedy, modest


async def test_an_agent_too_many_is_refused_with_the_figure_and_the_other_tenant_goes_on(
    tenants: tuple[PlainClient, PlainClient],
):
    greedy, modest = tenants
    for client in tenants:
        await client.script("one", "x")
        await client.script("two", "x")
    body = {"id": "three", "provider": GENERATE["provider"]}

    refused = await greedy.ask("agents.apply", body)
    stored = await modest.ask("agents.apply", body)

    assert (refused["code"], refused["field"]) == ("rate_limited", "agents")
    assert refused["details"] == {"quota": "agents", "used": 3, "allowed": 2}
    assert stored["version"] == 1


async def test_of_many_versions_the_newest_remain(tenants: tuple[PlainClient, PlainClient]):
    _, modest = tenants
    for n in range(6):
        await modest.script("changing", f"{n}")

    async def read(version: int) -> str:
        answer = await modest.ask("agents.get", {"id": "changing", "version": version})
        return str(answer.get("code") or answer["provider"]["responses"][0])

    assert [await read(n) for n in range(1, 7)] == ["not_found"] * 3 + ["3", "4", "5"]


async def test_open_executions_are_bounded_and_long_ones_leave_a_place_for_the_other_tenant(
    bounded: RunningFleet, tenants: tuple[PlainClient, PlainClient]
):
    greedy, modest = tenants
    for _ in range(3):
        assert "execution_id" in await greedy.ask("llm.generate", SLOW)
    refused = await greedy.ask("llm.generate", SLOW)
    assert (refused["code"], refused["field"]) == ("rate_limited", "executions")
    assert refused["details"] == {"quota": "executions", "used": 4, "allowed": 3}

    # The other one fills the rest of the worker; a third one still finds a place.
    for _ in range(8):
        assert "execution_id" in await modest.ask("llm.generate", SLOW)
    async with bounded.client("third") as third:
        began = perf_counter()
        accepted = await third.ask("llm.generate", GENERATE)
        await third.ended(accepted["execution_id"])
        assert perf_counter() - began < PROMISED_SECONDS * 3 * PATIENCE


async def test_an_operator_sees_how_full_each_tenant_is(
    bounded: RunningFleet, tenants: tuple[PlainClient, PlainClient]
):
    greedy, _ = tenants
    await greedy.script("one", "x")
    accepted = await greedy.ask("llm.generate", GENERATE)
    if "execution_id" in accepted:
        await greedy.ended(accepted["execution_id"])
    environ = {"NATS_URL": ",".join(bounded.server.urls)}
    command = ["quotas", "--only", "greedy", "--json"]
    run = partial(CliRunner().invoke, main, command, env=environ)
    wanted = {"agents", "definition_bytes", "executions", "record_bytes"}
    wanted |= {"stream_bytes", "event_bytes"}
    rows: dict[str, dict[str, Any]] = {}
    # What lies in the streams of all is looked at now and then.
    with anyio.fail_after(30):
        while not wanted <= rows.keys():
            shown = await anyio.to_thread.run_sync(run)
            rows = {row["quota"]: row for row in msgspec.json.decode(shown.stdout_bytes)}
    assert rows["agents"]["allowed"] == 2
    assert rows["agents"]["used"] >= 1
    assert all(row["tenant"] == "greedy" for row in rows.values())
