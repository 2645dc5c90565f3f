"""What an operator sets is what a real fleet does, where an agent says nothing else."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web

from bus.ids import new_id
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.prices import run
from tests.providers_fake import FakeProvider, answer, begin, fake_provider

AT_ONCE = 2
"""Answers that the streaming process generates at a time."""

ATTEMPTS = 2
TIMEOUT = 2.0
PATIENT = {"timeout_seconds": 60}
RULES = "rules: [{name: fleet, outcome: blocked, words: [bluebird]}]"


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    directory = tmp_path_factory.mktemp("fleet")
    rules = directory / "rules.yaml"
    rules.write_text(RULES, encoding="utf-8")
    async with running_fleet(
        directory,
        EXECUTION_TIMEOUT=str(TIMEOUT),
        MAX_ATTEMPTS=str(ATTEMPTS),
        MAX_CONCURRENT_EXECUTIONS=str(AT_ONCE),
        CALLBOARD_SAFETY_FILE=str(rules),
    ) as fleet:
        yield fleet


@pytest.fixture
async def client(fleet: RunningFleet) -> AsyncGenerator[PlainClient]:
    async with fleet.client(f"tenant-{new_id()[-8:]}") as client:
        yield client


class Counting:
    """A provider that holds its answers for a moment, and knows how many it wrote at once."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.open += 1
        self.most = max(self.most, self.open)
        response = await begin(request, answer("Hello.")[:2])
        await anyio.sleep(0.3)
        # Whoever has the end may ask for the next one at once.
        self.open -= 1
        for data in answer("Hello.")[2:]:
            await response.write(data)
        await response.write_eof()
        return response


@asynccontextmanager
async def counting() -> AsyncGenerator[tuple[Counting, FakeProvider]]:
    provider = Counting()
    async with fake_provider(provider.respond) as fake:
        yield provider, fake


async def test_a_process_generates_so_many_answers_at_once_and_no_more(client: PlainClient):
    async with counting() as (provider, fake):
        body: dict[str, Any] = {
            "provider": {"type": "custom", "model": "m", "base_url": fake.base_url},
            "messages": [{"role": "user", "content": "x"}],
            "limits": PATIENT,
        }
        handles = [await client.ask("llm.generate", body) for _ in range(3 * AT_ONCE)]
        records = [await client.ended(each["execution_id"]) for each in handles]

    assert {record["status"] for record in records} == {"COMPLETED"}
    assert provider.most == AT_ONCE


async def test_an_execution_of_an_agent_that_names_no_time_ends_when_the_operators_is_over(
    client: PlainClient,
):
    await client.script("slow", "word " * 1000, delay_ms=100)

    record = await run(client, "slow")

    assert (record["status"], record["error"]["code"]) == ("TIMED_OUT", "timeout")
    assert record["duration_ms"] >= 1000 * TIMEOUT


async def test_a_step_of_an_agent_that_names_no_attempts_is_tried_as_often_as_the_operator_says(
    client: PlainClient,
):
    failures = [{"call": call, "code": "provider_overloaded"} for call in range(10)]
    provider = {"type": "scripted", "responses": ["x"], "delay_ms": 0, "failures": failures}
    await client.ask("agents.apply", {"id": "flaky", "provider": provider, "limits": PATIENT})

    record = await run(client, "flaky")

    assert (record["status"], record["attempts"]) == ("FAILED", ATTEMPTS)


async def test_the_operators_safety_rules_hold_for_an_agent_without_any(client: PlainClient):
    await client.script("speaker", "A bluebird sings.")
    await client.script("other", "A robin sings.")

    blocked, passed = await run(client, "speaker"), await run(client, "other")

    assert (blocked["status"], blocked["error"]["code"]) == ("FAILED", "blocked")
    assert passed["status"] == "COMPLETED"
