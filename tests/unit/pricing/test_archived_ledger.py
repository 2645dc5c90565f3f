"""The archive of a ledger sums up to what the ledger folds, to the pico-dollar."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.core.decisions import LedgerRules
from actors.pricing.core.ledger import Ledger, evolve
from actors.pricing.core.postings import postings
from bus.archive import Archiver, archive_of
from bus.codec import encode
from bus.config import Timing
from bus.memory import memory_bus
from bus.ports import Bus
from bus.requests.rpc import command
from bus.shard.book import ShardBook
from bus.shard.kept import journal_of
from bus.shard.recovery import take_over
from bus.shard.turn import PendingCommand, take_turn
from bus.subjects import journal_subject
from schemas import pages
from schemas.budgets import Budget
from schemas.journal import Commit
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    AccountCommand,
    AccountEvent,
    Adjust,
    Charged,
    Lapse,
    PutBudget,
    TopUp,
    Void,
)
from tests.unit.pricing.owner import NOON, reference, reserve, settle

ENTITY = account_entity(LedgerRules(zones=zone))
SUBJECT = journal_subject(ACCOUNT_ENTITY, 0)
TENANTS = ("acme", "bolt", "cyd")
SMALL = Timing(archive_batch_bytes=3000)
_EVENT: Any = AccountEvent
_EVENTS = msgspec.json.Decoder(_EVENT)

steps = st.tuples(
    st.sampled_from(TENANTS),
    st.sampled_from(["reserve", "settle", "void", "lapse", "top up", "adjust"]),
    st.integers(1, 6),
    st.integers(1, 40),
    st.integers(0, 20),
)


def letter(step: Any, number: int, now: datetime) -> PendingCommand:
    tenant, what, which, amount, _ = step
    name = f"e{which}"
    by_hand: dict[str, Any] = {"id": f"h{number}", "budget_id": "all", "at": now}
    said: dict[str, AccountCommand] = {
        "reserve": reserve(name, amount, now=now, lease=86_400.0 * which),
        "settle": settle(name, amount, now=now),
        "void": Void(reference=reference(name, now)),
        "lapse": Lapse(),
        "top up": TopUp(amount_pico=amount, **by_hand),
        "adjust": Adjust(amount_pico=amount, reason="x", **by_hand),
    }
    return PendingCommand(command(f"m{number}", tenant, ACCOUNT_KEY, said[what]))


async def lived(bus: Bus, drawn: list[Any]) -> ShardBook:
    """Let the owner of some accounts live for months, and journal what it decides."""
    book, journal, now, sequence = ShardBook(ENTITY), bus.journal(ACCOUNT_ENTITY), NOON, 0
    every = Budget(id="all", limit_pico=10**9, window="total")
    monthly = Budget(id="month", limit_pico=10**9, window="monthly")
    rules = [
        PendingCommand(
            command(f"{tenant}-{budget.id}", tenant, ACCOUNT_KEY, PutBudget(budget=budget))
        )
        for tenant in TENANTS
        for budget in (every, monthly)
    ]
    for number, step in enumerate([None, *drawn]):
        now += timedelta(days=step[-1] if step else 0)
        taken = [letter(step, number, now)] if step else rules
        entries = take_turn(book, taken, now).entries
        commit = Commit(n=book.n + 1, epoch=1, turn=f"t{book.n}", at=now, entries=entries)
        sequence = await journal.append(SUBJECT, encode(commit), expected=sequence)
        book.mark(commit)
    return book


async def events(bus: Bus) -> dict[str, list[AccountEvent]]:
    """Return all that ever happened to each account."""
    found: dict[str, list[AccountEvent]] = {tenant: [] for tenant in TENANTS}
    async for one in archive_of(bus, ACCOUNT_ENTITY).commits(0):
        for entry in one.found.commit.entries if one.found.commit else ():
            found[entry.tenant].extend(map(_EVENTS.decode, entry.events))
    return found


def folded(history: list[AccountEvent]) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for event in history:
        for line in postings(event):
            sums[line.account, line.side] += line.amount_pico
    return sums


def standing(state: Ledger) -> dict[tuple[str, str], int]:
    return {
        (account.key, side): getattr(account, side)
        for account in pages.values(state.accounts)
        for side in ("available", "held", "spent", "funding")
    }


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=30))
async def test_archive_and_journal_sum_up_and_lead_to_what_the_ledger_has_folded(drawn: list[Any]):
    async with memory_bus() as world, world.process() as bus:
        book = await lived(bus, drawn)
        later = replace(bus, clock=lambda: book.at + timedelta(days=20))
        await Archiver(ACCOUNT_ENTITY, later, SMALL, owned=lambda: [0]).round()
        await journal_of(ENTITY, bus).purge(SUBJECT, below=book.n)
        history = await events(bus)

        for tenant in TENANTS:
            state = book.slots[tenant, ACCOUNT_KEY].state
            sums, stand = folded(history[tenant]), standing(state)
            assert {place: sums[place] for place in stand} == stand
            assert sum(sums.values()) == 0
            assert reduce(evolve, history[tenant], Ledger(tenant=tenant)) == state


async def test_a_new_owner_finds_the_state_after_a_purge_below_a_snapshot():
    async with memory_bus() as world, world.process() as bus:
        book = await lived(bus, [("acme", "settle", n, 7, 10) for n in range(1, 10)])
        blob = await bus.blobs.put(encode(book.image()))
        head = {"n": book.n + 1, "epoch": 1, "turn": "t", "at": book.at}
        ref = {"blob": blob, "n": book.n, "sequence": book.n}
        await bus.journal(ACCOUNT_ENTITY).append(
            SUBJECT, encode({**head, "snapshot": ref}), expected=book.n
        )
        later = replace(bus, clock=lambda: book.at + timedelta(days=40))
        await Archiver(ACCOUNT_ENTITY, later, SMALL, owned=lambda: [0]).round()
        await journal_of(ENTITY, bus).purge(SUBJECT, below=book.n)
        journal = bus.journal(ACCOUNT_ENTITY)
        left = [one.sequence async for one in journal.read(SUBJECT, start=1)]
        states = bus.states(ACCOUNT_ENTITY)
        taken = await take_over(
            ENTITY, SUBJECT, "test", journal=journal, blobs=bus.blobs, states=states
        )
        spent = [each for each in (await events(bus))["acme"] if isinstance(each, Charged)]

    assert left == [book.n, book.n + 1]
    assert taken.book.slots["acme", ACCOUNT_KEY].state == book.slots["acme", ACCOUNT_KEY].state
    assert sum(each.cost_pico for each in spent) == 9 * 7
