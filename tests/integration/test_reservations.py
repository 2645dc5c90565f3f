"""Many client processes and one small budget: what is granted, what is paid, what is left."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from bus.jetstream.bus import system_clock
from bus.kv.prices import shipped_text
from schemas.ledger import AccountEvent, MoneyHeld, Reserved
from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.problems import Problem
from tests.account_journal import accounts, journal
from tests.books import Books, kept
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.spenders import AMOUNT, Line, Manner, count, read

PROCESSES = int(os.environ.get("SPENDERS", "8"))
RESERVATIONS = 10_000
WORTH = 50
SMALL = {"id": "small", "limit_pico": WORTH * AMOUNT, "scope": "project", "name": "apollo"}


@asynccontextmanager
async def pricing(directory: Path) -> AsyncGenerator[tuple[RunningFleet, PlainClient]]:
    """Run a fleet of one pricing process with a small budget."""
    async with running_fleet(directory, agents=0, streaming=0) as fleet, fleet.client() as client:
        await fleet.start("pricing.0")
        await fleet.ready(1)
        answer = await client.ask("budgets.set", {**SMALL, "window": "total"})
        assert answer.get("type") != "problem", answer
        yield fleet, client


@asynccontextmanager
async def spenders(fleet: RunningFleet, directory: Path, manner: Manner) -> AsyncGenerator[Process]:
    """Let client processes spend; none may have failed in the end."""
    given = (fleet.server.urls[0], str(directory), str(PROCESSES), str(RESERVATIONS), manner)
    async with await anyio.open_process(
        [sys.executable, "-m", "tests.spenders", *given], stdout=None, stderr=None
    ) as process:
        yield process
        assert await process.wait() == 0


def told_why(lines: list[Line]) -> set[str]:
    """See that each that was refused was told what stood in its way, and that it did.

    Returns those that were told that their lease is over: their first answer was lost.
    """
    over: set[str] = set()
    for line in lines:
        if not isinstance(line.answer, Problem):
            continue
        if line.answer.code == "conflict":
            over.add(line.name)
            continue
        said = line.answer.details
        told = (line.answer.code, said["scope"], said["window"])
        assert told == ("budget_exceeded", "project", "total")
        assert said["spent_pico"] + said["held_pico"] + said["wanted_pico"] > said["limit_pico"]
    return over


async def answered(directory: Path, number: int) -> None:
    """Return once so many answers have come."""
    with anyio.fail_after(120):
        while count(directory) < number:
            await anyio.sleep(0.1)


async def balance(client: PlainClient) -> Any:
    (found,) = (await client.ask("budgets.get", {"id": "small"}))["balances"]
    return found


def agree(books: Books, events: list[AccountEvent], lives: Any) -> None:
    """See that what was written, its replay and what is answered are the same."""
    (stands,) = (each for each in accounts(events).values() if each.budget_id == "small")
    told = (lives.get("held_pico", 0), lives.get("spent_pico", 0), lives["available_pico"])
    assert told == (stands.held, stands.spent, WORTH * AMOUNT + stands.available)
    assert (stands.held, stands.spent) == (books.held[stands.key], books.spent[stands.key])


@pytest.mark.timeout(240)
async def test_ten_thousand_reservations_of_many_processes_never_exceed_a_small_budget(
    tmp_path: Path,
):
    async with pricing(tmp_path) as (fleet, client):
        async with spenders(fleet, tmp_path / "spent", "hold"):
            pass
        lines = read(tmp_path / "spent")
        events, lives = await journal(fleet), await balance(client)

    assert len({line.name for line in lines}) == len(lines) == RESERVATIONS
    assert sum(isinstance(line.answer, MoneyHeld) for line in lines) == WORTH
    assert told_why(lines) == set()
    books, faults = kept(events)
    assert faults == []
    agree(books, events, lives)


@pytest.mark.timeout(240)
async def test_whatever_owners_die_every_dollar_is_spent_once_and_no_hold_outlives_its_lease(
    tmp_path: Path,
):
    spent = tmp_path / "spent"
    async with pricing(tmp_path) as (fleet, client):
        async with spenders(fleet, spent, "spend"):
            for life, share in enumerate((0.01, 0.2, 0.5, 0.8)):
                await answered(spent, int(share * RESERVATIONS))
                await fleet.kill(f"pricing.{life}")
                await fleet.start(f"pricing.{life + 1}")
        with anyio.fail_after(60):
            while (lives := await balance(client)).get("held_pico"):
                await anyio.sleep(0.1)
        lines, events = read(spent), await journal(fleet)

    assert len({line.name for line in lines}) == len(lines) == RESERVATIONS
    over = told_why(lines)
    books, faults = kept(events)
    assert [*faults, *books.standing()] == []
    agree(books, events, lives)
    assert settled(lines) == books.paid
    ends = {"settles": "Charged", "voids": "Voided", "vanishes": "Lapsed"}
    granted = {event.reference.execution_id for event in events if isinstance(event, Reserved)}
    assert granted - over == {line.name for line in lines if isinstance(line.answer, MoneyHeld)}
    wanted = {f"{line.name}.1.1": ends[line.fate] for line in lines if line.fate}
    wanted |= {f"{name}.1.1": "Lapsed" for name in over & granted}
    assert {name: ended[-1] for name, ended in books.ends.items()} == wanted


def settled(lines: list[Line]) -> dict[str, int]:
    """Reckon what clients have used, by the rate book."""
    book, terms = Prices(shipped_text()), RateTerms("openai", "gpt-4o-mini")
    costs: dict[str, int] = {}
    for line in lines:
        if line.usage is not None:
            price = book.price(terms, line.usage, system_clock())
            assert isinstance(price, Priced)
            costs[f"{line.name}.1.1"] = price.cost
    return costs
