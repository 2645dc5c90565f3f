"""What executions cost, and budgets they are held to: a real fleet, seen by a plain NATS client."""

from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from bus.ids import new_id
from schemas.ledger import Charged
from tests.account_journal import journal
from tests.books import kept
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.prices import IN, OUT, balance, run, set_budget, with_prices

VICTIMS = {8: "agents.0", 14: "streaming.0", 20: "pricing.0"}
"""Who is killed after so many executions."""

CALLS, WORTH = 100, 20
"""Calls at once, and how many of them a budget is worth."""


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    directory = tmp_path_factory.mktemp("fleet")
    async with running_fleet(directory, agents=2, streaming=2) as fleet:
        await with_prices(fleet)
        yield fleet


@pytest.fixture
async def client(fleet: RunningFleet) -> AsyncGenerator[PlainClient]:
    async with fleet.client(f"tenant-{new_id()[-8:]}") as client:
        yield client


async def charged(fleet: RunningFleet, tenant: str) -> list[Charged]:
    """Return all that the journal of a tenant's account says was paid for."""
    return [event for event in await journal(fleet, tenant) if isinstance(event, Charged)]


async def settled(fleet: RunningFleet, tenant: str, count: int) -> list[Charged]:
    """Return what was paid for once it is so much."""
    with anyio.fail_after(20):
        while len(found := await charged(fleet, tenant)) < count:
            await anyio.sleep(0.1)
    return found


def cost_of(record: Any) -> int:
    usage = record["usage"]
    return usage.get("input", 0) * IN + usage.get("output", 0) * OUT


async def test_an_execution_shows_what_it_cost_and_every_dollar_is_in_the_ledger(
    fleet: RunningFleet, client: PlainClient
):
    await client.script("greeter", "Hello there, dear reader.")

    record = await run(client, "greeter", user="ann", project="p1")
    end = (await client.events(record["execution_id"]))[-1]
    (paid,) = await settled(fleet, client.tenant, 1)

    cost = cost_of(record)
    assert cost > 0
    assert (record["cost"], getattr(end, "cost", None), paid.cost_pico) == (cost, cost, cost)
    assert [(each["model"], each["cost"]) for each in record["costs"]] == [("scripted", cost)]
    assert (paid.party.user, paid.party.project, paid.party.agent_id) == ("ann", "p1", "greeter")
    assert paid.completed


async def test_a_failed_attempt_is_paid_for_as_well(fleet: RunningFleet, client: PlainClient):
    failure = {"call": 0, "code": "provider_error", "after_words": 2}
    await client.script("stumbler", "One two three four.", failures=[failure])

    record = await run(client, "stumbler")
    paid = await settled(fleet, client.tenant, 2)

    assert record["status"] == "COMPLETED"
    assert sum(each.cost_pico for each in paid) == record["cost"] == cost_of(record)
    assert [each.reference.attempt for each in paid] == [1, 2]


async def test_a_plain_generation_is_paid_for(fleet: RunningFleet, client: PlainClient):
    provider = {"type": "scripted", "responses": ["Yes."], "delay_ms": 0}
    body = {"provider": provider, "messages": [{"role": "user", "content": "Well?"}]}

    handle = await client.ask("llm.generate", body)
    record = await client.ended(handle["execution_id"])
    (paid,) = await settled(fleet, client.tenant, 1)

    assert paid.cost_pico == record["cost"] == cost_of(record)


async def test_a_hard_budget_refuses_what_it_does_not_cover_and_holds_nothing_for_it(
    client: PlainClient,
):
    await client.script("greeter", "Hello.")
    await set_budget(client, 1000)

    record = await run(client, "greeter")

    assert record["status"] == "FAILED"
    assert record["error"]["code"] == "budget_exceeded"
    assert await until_free(client) == (0, 0)


async def test_under_a_budget_an_attempt_is_held_and_then_paid_for(client: PlainClient):
    await client.script("greeter", "Hello there, dear reader.")
    await set_budget(client, 10**12)

    record = await run(client, "greeter", max_tokens=100)

    assert record["status"] == "COMPLETED"
    assert await until_free(client) == (0, record["cost"])


async def test_of_many_calls_at_once_no_more_are_made_than_the_budget_is_worth(
    fleet: RunningFleet, client: PlainClient
):
    await client.script("greeter", "Hello there, dear reader.", delay_ms=1)
    probe = await run(client, "greeter", max_tokens=4)
    await settled(fleet, client.tenant, 1)
    await set_budget(client, WORTH * probe["cost"])
    done: list[Any] = []

    async def one() -> None:
        done.append(await run(client, "greeter", max_tokens=4))

    async with anyio.create_task_group() as calls:
        for _ in range(CALLS):
            calls.start_soon(one)
    held, spent = await until_free(client)

    made = [record for record in done if record["status"] == "COMPLETED"]
    refused = [record["error"]["code"] for record in done if record not in made]
    assert refused == ["budget_exceeded"] * (CALLS - len(made))
    assert 0 < len(made) <= WORTH
    assert (held, spent) == (0, sum(record["cost"] for record in made))


async def test_who_is_cancelled_lets_go_of_what_was_held(client: PlainClient):
    await client.script("slow", "one two three four five six", delay_ms=500)
    await set_budget(client, 10**12)
    handle = await client.ask("agents.execute", {"agent_id": "slow", "task": "t"})
    with anyio.fail_after(10):
        while not (await balance(client)).get("held_pico"):
            await anyio.sleep(0.02)

    await client.ask("executions.cancel", {"execution_id": handle["execution_id"]})

    held, _ = await until_free(client)
    assert held == 0


async def until_free(client: PlainClient) -> tuple[int, int]:
    """Return what is held and spent once nothing is held any more."""
    with anyio.fail_after(15):
        while (found := await balance(client)).get("held_pico"):
            await anyio.sleep(0.05)
        if not found.get("spent_pico"):
            await anyio.lowlevel.checkpoint()
    return found.get("held_pico", 0), found.get("spent_pico", 0)


async def test_a_limit_refuses_with_the_time_after_which_to_ask_again(client: PlainClient):
    await client.script("greeter", "Hello.")
    answer = await client.ask("limits.set", {"requests_per_minute": 1})
    assert answer.get("type") != "problem", answer

    first, second = await run(client, "greeter"), await run(client, "greeter")

    assert first["status"] == "COMPLETED"
    assert second["error"]["code"] == "rate_limited"
    assert 0 < second["error"]["retry_after"] <= 62


SLICES = {"CALLBOARD_BUDGET_SLICE_TOKENS": "10", "CALLBOARD_BUDGET_WHEN_REFUSED": "wait"}


async def test_a_fleet_that_pays_slice_by_slice_and_waits_for_its_turn_loses_nothing(
    tmp_path: Path,
):
    async with running_fleet(tmp_path, agents=2, streaming=2, **SLICES) as fleet:
        await with_prices(fleet)
        await stops_at_the_cap(fleet)
        await waits_for_its_turn(fleet)
        await survives_kills(fleet)


async def stops_at_the_cap(fleet: RunningFleet) -> None:
    """A high ``max_tokens`` is not refused, and the answer ends where the money does."""
    async with fleet.client("capped") as client:
        await client.script("talker", "word " * 1000, delay_ms=1)
        cap = 1000 * IN
        await set_budget(client, cap)

        record = await run(client, "talker", max_tokens=5000)
        held, spent = await until_free(client)

    assert (record["status"], record["error"]["code"]) == ("FAILED", "budget_exceeded")
    assert record["usage"]["output"] > 0
    assert held == 0
    assert 0 < spent == record["cost"] <= cap


async def waits_for_its_turn(fleet: RunningFleet) -> None:
    """Who is over a limit begins later."""
    async with fleet.client("queued") as client:
        await client.script("slow", "one two three", delay_ms=50)
        answer = await client.ask("limits.set", {"concurrent": 1})
        assert answer.get("type") != "problem", answer
        body = {"agent_id": "slow", "task": "t"}
        handles = [await client.ask("agents.execute", body) for _ in range(3)]
        records = [await client.ended(each["execution_id"], timeout=60) for each in handles]

    assert {record["status"] for record in records} == {"COMPLETED"}
    begun = sorted((record["started_at"], record["completed_at"]) for record in records)
    assert all(end <= start for (_, end), (start, _) in pairwise(begun))


async def survives_kills(fleet: RunningFleet) -> None:
    """Whoever is killed, every call is paid for, and once."""
    await fleet.start("pricing.1")
    await fleet.ready(len(fleet.processes))
    async with fleet.client("victim") as client:
        await client.script("slow", "one two three four five six", delay_ms=20)
        await set_budget(client, 10**12)
        names = [f"e{number}" for number in range(30)]
        for place, name in enumerate(names):
            body = {"agent_id": "slow", "task": "t", "id": name, "max_tokens": 50}
            await client.ask("agents.execute", body, timeout=20)
            if place in VICTIMS:
                await fleet.kill(VICTIMS[place])
        records = [await client.ended(name, timeout=60) for name in names]
        paid = await settled(fleet, "victim", len(names))
        books, faults = kept(await journal(fleet, "victim"))

        assert {record["status"] for record in records} == {"COMPLETED"}
        assert faults == []
        assert books.paid.keys() & books.holds.keys() == set()
        keys = [(p.reference.execution_id, p.reference.attempt) for p in paid]
        assert len(set(keys)) == len(keys)
        costs = dict.fromkeys(names, 0)
        for each in paid:
            costs[each.reference.execution_id] += each.cost_pico
        assert costs == {record["execution_id"]: record["cost"] for record in records}
        spent = (await balance(client)).get("spent_pico", 0)
        assert spent >= sum(costs.values())
