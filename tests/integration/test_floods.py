"""One tenant sends far more than its share, and the others hardly notice."""

import sys
from collections.abc import AsyncGenerator
from time import perf_counter

import anyio
import msgspec
import pytest
from anyio.abc import Process

from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.servers import PATIENCE

GENERATE = {
    "provider": {"type": "scripted", "responses": ["hi"], "delay_ms": 0},
    "messages": [{"role": "user", "content": "x"}],
}
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
    assert max(accepted for accepted, _ in seen) < 1.0 * PATIENCE


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
