"""A projection of a small journal, and how tests write that journal."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bus.codec import encode
from bus.config import Timing
from bus.ids import new_id
from bus.projection import Fact, Projection, Projector, Rows
from bus.shard.append import append
from bus.subjects import journal_subject
from bus.tasks import background
from bus.testing import Process
from schemas.base import Internal
from schemas.journal import Commit, Entry

ENTITY = "account"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = Timing(
    projection_poll_seconds=0.02, projection_wait_seconds=2.0, corrupt_retry_seconds=0.05
)

TABLES = """
CREATE TABLE line (subject TEXT, n INTEGER, place INTEGER, tenant TEXT, amount INTEGER);
CREATE TABLE total (tenant TEXT PRIMARY KEY, amount INTEGER, lines INTEGER)
"""


class Added(Internal, tag="added"):
    """An event that counts."""

    amount: int


class Noted(Internal, tag="noted"):
    """An event that does not."""

    text: str


def apply(rows: Rows, fact: Fact) -> None:
    """Add a line, and sum it up."""
    amount = fact.event.amount
    line = (fact.subject, fact.n, fact.place, fact.tenant, amount)
    rows.execute("INSERT INTO line VALUES (?, ?, ?, ?, ?)", line)
    rows.execute(
        "INSERT INTO total VALUES (?, ?, 1) ON CONFLICT (tenant) "
        "DO UPDATE SET amount = amount + excluded.amount, lines = lines + 1",
        (fact.tenant, amount),
    )


SUMS = Projection(
    name="sums", entity=ENTITY, version=1, tables=TABLES, event_type=Added, apply=apply
)


class Journalist:
    """Appends commits to the shards of a journal, as their owners do."""

    def __init__(self, bus: Process) -> None:
        self._bus = bus
        self._ends: dict[int, tuple[int, int]] = {}

    async def commit(
        self, shard: int, *amounts: int, tenant: str = "acme", blob: bool = False
    ) -> None:
        """Append the next commit of a shard, with an event for each amount and one that is none."""
        events = [Noted(text="x"), *(Added(amount=amount) for amount in amounts)]
        await self.write(shard, events, tenant=tenant, blob=blob)

    async def write(
        self, shard: int, events: Sequence[Any], *, tenant: str = "acme", blob: bool = False
    ) -> None:
        """Append the next commit of a shard, with these events of one entity."""
        n, sequence = self._ends.get(shard, (0, 0))
        raw = [msgspec.Raw(encode(event)) for event in events]
        entry = Entry(tenant=tenant, key="k", command="c", events=raw)
        if blob:
            name = await self._bus.blobs.put(encode(entry))
            entry = Entry(tenant=tenant, key="k", command="c", blob=name)
        await self._append(shard, n + 1, sequence, [entry])

    async def skip(self, shard: int) -> None:
        """Lose a commit: the next one that is written has a gap before it."""
        n, sequence = self._ends.get(shard, (0, 0))
        self._ends[shard] = (n + 1, sequence)

    async def _append(self, shard: int, n: int, expected: int, entries: Sequence[Entry]) -> None:
        commit = Commit(
            n=n, epoch=1, turn=new_id(), at=BEGAN + timedelta(seconds=n), entries=list(entries)
        )
        journal, subject = self._bus.journal(ENTITY), journal_subject(ENTITY, shard)
        self._ends[shard] = (n, await append(journal, subject, commit, expected))


@asynccontextmanager
async def projecting(
    bus: Process, directory: Path, projection: Projection = SUMS, timing: Timing = QUICK
) -> AsyncGenerator[Projector]:
    """Follow the journal while the context is open."""
    projector = Projector(
        projection,
        bus.feed(projection.entity),
        bus,
        directory=directory,
        process="test",
        timing=timing,
    )
    async with background(projector.run):
        yield projector


def totals(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Return amount and number of lines by tenant."""
    rows = connection.execute("SELECT tenant, amount, lines FROM total").fetchall()
    return {tenant: (amount, lines) for tenant, amount, lines in rows}


def everything(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return all rows of all tables, the checkpoint among them."""
    tables = ("line", "total", "projection", "projection_shard")
    return [
        (table, *row)
        for table in tables
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")  # noqa: S608
    ]
