"""The copy of the costs made anew from a long ledger, and a report of all it holds."""

import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec

from actors.pricing.adapters.costs import COSTS
from actors.pricing.adapters.reports import Reports
from bus.codec import encode
from bus.config import Timing
from bus.connection import NatsAddress
from bus.jetstream import NatsBus, open_bus
from bus.projection import Projector
from bus.requests.caller import Caller
from bus.runtime.process import resident_bytes
from bus.server import EmbeddedServer
from bus.subjects import journal_subject
from bus.tasks import background
from schemas.journal import Commit, Entry
from schemas.ledger import ACCOUNT_ENTITY, Charge, Charged, Party, Reference, Reserved
from schemas.reports import ReportCosts
from schemas.usage import Usage
from tests.bench.rows import Row

NAME = "projection"
CALLS = 200_000
CALLS_A_COMMIT = 32
"""A busy owner packs more; each call is two entries, reserved and charged."""

SHARDS = 4
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash")
BEGAN = datetime(2026, 6, 1, tzinfo=UTC)
LONGEST_SECONDS = 300.0
TIMING = Timing(projection_wait_seconds=LONGEST_SECONDS)


async def measure() -> list[Row]:
    """Fill a ledger, project it, ask for reports, and project it again in single commits."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        async with EmbeddedServer(Path(directory) / "nats") as server:
            address = NatsAddress(urls=server.urls, name="bench")
            async with open_bus(address, entities=[ACCOUNT_ENTITY], timing=TIMING) as bus:
                await _fill(bus, CALLS, CALLS_A_COMMIT)
                return await _rebuilt(bus, Path(directory))


async def _rebuilt(bus: NatsBus, directory: Path) -> list[Row]:
    memory, began, used = resident_bytes(), time.perf_counter(), time.process_time()
    async with _projecting(bus, directory / "copy") as costs:
        await costs.ask(lambda rows: rows.execute("SELECT 1").fetchone())
        seconds, spent = time.perf_counter() - began, time.process_time() - used
        grown = (resident_bytes() - memory) / 1e6
        size = costs.state.file_bytes if costs.state else 0
        entries = 2 * CALLS
        return [
            Row(NAME, "ledger entries a second, rebuilt", entries / seconds, "1/s", least=50_000),
            Row(NAME, "  processor time an entry", spent / entries * 1e6, "us"),
            Row(NAME, "  calls a second", CALLS / seconds, "1/s"),
            Row(NAME, "  memory it took", grown, "MB"),
            Row(NAME, "  bytes a call in the file", size / CALLS, "B"),
            *[await _reported(bus, costs, by) for by in (["model"], ["day", "model"], ["user"])],
        ]


async def _reported(bus: NatsBus, costs: Projector, by: list[Any]) -> Row:
    asked = ReportCosts(group_by=by, since="2026-06-01", until="2026-07-01")
    began = time.perf_counter()
    answer = await Reports(costs, bus.clock).report(Caller(tenant="acme"), asked)
    assert answer.total.calls == CALLS
    what = f"report of {CALLS // 1000},000 calls by {' and '.join(by)}"
    return Row(NAME, what, (time.perf_counter() - began) * 1e3, "ms")


@asynccontextmanager
async def _projecting(bus: NatsBus, directory: Path) -> AsyncGenerator[Projector]:
    projector = Projector(
        COSTS, bus.feed(COSTS.entity), bus, directory=directory, process="bench", timing=TIMING
    )
    async with background(projector.run):
        yield projector


async def _fill(bus: NatsBus, calls: int, a_commit: int) -> None:
    """Append the ledger, all shards at once."""
    async with anyio.create_task_group() as tasks:
        for shard in range(SHARDS):
            numbers = range(shard, calls, SHARDS)
            commits = _commits(numbers, a_commit)
            tasks.start_soon(partial(_append, bus, journal_subject(ACCOUNT_ENTITY, shard), commits))


async def _append(bus: NatsBus, subject: str, commits: Iterator[Commit]) -> None:
    journal, sequence = bus.journal(ACCOUNT_ENTITY), 0
    for commit in commits:
        sequence = await journal.append(subject, encode(commit), expected=sequence)


def _commits(numbers: range, a_commit: int) -> Iterator[Commit]:
    for n, start in enumerate(range(0, len(numbers), a_commit), start=1):
        entries = [
            Entry(tenant="acme", key="ledger", command=f"x{number}/1/1", kind="settle", events=raw)
            for number in numbers[start : start + a_commit]
            for raw in ([msgspec.Raw(encode(event))] for event in _events(number))
        ]
        yield Commit(n=n, epoch=1, turn=f"{n}", at=BEGAN, entries=entries)


def _events(number: int) -> tuple[Reserved, Charged]:
    at = BEGAN + timedelta(seconds=number * 12)
    reference = Reference(
        execution_id=f"0190c2a4-8b7e-7f00-a000-{number:012}", step=1, attempt=1, at=at
    )
    party = Party(user=f"user-{number % 50}", project="site", agent_id=f"agent-{number % 9}")
    accounts = ["global/month/2026-06", "site/month/2026-06"]
    usage = Usage(input=900 + number % 700, cache_read=number % 3 * 400, output=number % 350)
    charge = Charge(
        provider="openai",
        model=MODELS[number % len(MODELS)],
        usage=usage,
        cost_pico=1_000_000 * (number % 9000),
        book_id="5f" * 32,
        row=f"openai/{MODELS[number % len(MODELS)]}",
        secret="openai",
    )
    held = Reserved(
        reference=reference,
        party=party,
        amount_pico=10**10,
        tokens=4000,
        lease_until=at,
        at=at,
        accounts=accounts,
    )
    charged = Charged(
        reference=reference,
        party=party,
        charges=[charge],
        cost_pico=charge.cost_pico or 0,
        at=at,
        completed=True,
        held_pico=10**10,
        tokens=usage.total,
        accounts=accounts,
    )
    return held, charged
