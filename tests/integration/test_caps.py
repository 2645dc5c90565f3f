"""A thousand calls at once against a budget worth fifty, through executions and their workers."""

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from schemas.ledger import AccountEvent, Charged, Reserved
from tests.account_journal import journal
from tests.books import Books, kept
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.prices import IN, OUT, balance, run, set_budget, with_prices

CALLS, WORTH = 1000, 50
AT_ONCE = 200
WORDS = "a b c d e f g h i j k l m n o p q r s t"
EXECUTE = "agents.execute"
SLICES = {"CALLBOARD_BUDGET_SLICE_TOKENS": "10"}
Records = list[dict[str, Any]]


async def capped(fleet: RunningFleet, **more: Any) -> tuple[int, Records, list[AccountEvent]]:
    """Let a thousand calls begin under a cap worth fifty; return it, and what became of them."""
    await with_prices(fleet)
    async with fleet.client("alone") as client:
        await client.script("speaker", WORDS, delay_ms=0)
        await set_budget(client, 10**15, window="total")
        await run(client, "speaker", **more)
        amount = next(
            event.amount_pico
            for event in await journal(fleet, "alone")
            if isinstance(event, Reserved)
        )
    async with fleet.client("crowd") as client:
        await client.script("speaker", WORDS, delay_ms=50)
        await set_budget(client, WORTH * amount, window="total")
        records = await executed(client, **more)
        with anyio.fail_after(30):
            while (await balance(client)).get("held_pico"):
                await anyio.sleep(0.1)
    return WORTH * amount, records, await journal(fleet, "crowd")


async def executed(client: PlainClient, **more: Any) -> Records:
    """Ask for all calls at once, and return their records when all have ended."""
    ended: set[str] = set()
    asking = anyio.CapacityLimiter(AT_ONCE)
    names = [f"e{number}" for number in range(CALLS)]

    async def heard(message: Any) -> None:
        ended.add(message.subject.rpartition(".")[2])

    async def ask(name: str) -> None:
        async with asking:
            body = {"agent_id": "speaker", "task": "Greet.", "id": name, **more}
            while "execution_id" not in (handle := await client.ask(EXECUTE, body, timeout=60)):
                assert handle["code"] == "unavailable", handle

    for what in ("completed", "failed"):
        subject = f"cb.{client.tenant}.events.execution.{what}.*"
        await client.nats.subscribe(subject, cb=heard)
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name)
    with anyio.fail_after(120):
        while len(ended) < CALLS:
            await anyio.sleep(0.05)
    return [await client.ask("executions.get", {"execution_id": name}) for name in names]


def judged(cap: int, records: Records, events: list[AccountEvent]) -> Books:
    """See that what was held never exceeded the cap, that nothing was refused that fitted, and
    that every call was paid for what it used.
    """
    books, faults = kept(events)
    assert [*faults, *books.standing()] == []
    for record in records:
        if record["status"] == "COMPLETED":
            continue
        error = record["error"]
        said = error["details"]
        assert error["code"] == "budget_exceeded"
        assert said["spent_pico"] + said["held_pico"] + said["wanted_pico"] > cap
    charges = [charge for event in events if isinstance(event, Charged) for charge in event.charges]
    used = sum(each.usage.input * IN + each.usage.output * OUT for each in charges)
    assert used == sum(books.paid.values()) == sum(record["cost"] or 0 for record in records)
    return books


@pytest.mark.timeout(240)
async def test_of_a_thousand_calls_no_more_begin_than_the_cap_covers_and_none_overshoots(
    tmp_path: Path,
):
    async with running_fleet(tmp_path, agents=2, streaming=2) as fleet:
        cap, records, events = await capped(fleet, max_tokens=100)
    books = judged(cap, records, events)

    assert sum(books.paid.values()) <= cap
    assert all(cost <= books.granted[name] for name, cost in books.paid.items())
    assert most_held(events) == cap
    ends = Counter(record["status"] for record in records)
    assert ends["COMPLETED"] >= WORTH
    assert ends["COMPLETED"] + ends["FAILED"] == CALLS


@pytest.mark.timeout(240)
async def test_by_slices_a_thousand_calls_overshoot_by_a_chunk_of_a_running_stream_at_most(
    tmp_path: Path,
):
    async with running_fleet(tmp_path, agents=2, streaming=2, **SLICES) as fleet:
        cap, records, events = await capped(fleet, max_tokens=5000)
    books = judged(cap, records, events)
    cut = [each for each in records if each["status"] == "FAILED" and each["cost"]]

    assert cut
    assert sum(books.paid.values()) <= cap + len(cut) * OUT
    assert all(cost <= books.granted[name] + OUT for name, cost in books.paid.items())


def most_held(events: list[AccountEvent]) -> int:
    """Return the most that was held and spent at the same time."""
    books, most = Books(), 0
    for event in events:
        list(books.enter(event))
        most = max([most, *((books.held + books.spent).values())])
    return most
