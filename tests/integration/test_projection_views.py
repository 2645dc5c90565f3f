"""Rows of a journal whose beginning is purged begin with the stored views: never a part as all."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from bus.codec import decode, encode
from bus.errors import UnavailableError
from bus.ports import StoredMessage
from bus.projection import Fact, Projection, ProjectionWatch, Projector, Rows, Views
from bus.projection.file import microseconds
from bus.subjects import journal_subject
from bus.tasks import loop_time
from bus.testing import Process, World
from schemas.base import Internal
from tests.projections import BEGAN, ENTITY, QUICK, Added, Journalist, projecting


class Stand(Internal):
    """A view: what a tenant has."""

    tenant: str
    amount: int


def stands(rows: Rows, fact: Fact) -> None:
    """Let a tenant have what an event says."""
    _put(rows, fact.tenant, fact.event.amount, microseconds(fact.at))


def seen(rows: Rows, data: bytes) -> None:
    """Let a tenant have what a view says."""
    view = decode(Stand, data)
    _put(rows, view.tenant, view.amount, microseconds(BEGAN))


def expire(rows: Rows, before: int, now: int) -> int:
    """Forget old rows."""
    assert before < now
    return rows.execute("DELETE FROM stand WHERE at < ?", (before,)).rowcount


def _put(rows: Rows, tenant: str, amount: int, at: int) -> None:
    rows.execute(
        "INSERT INTO stand VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET amount = excluded.amount, at = excluded.at",
        (tenant, amount, at),
    )


STANDS = Projection(
    name="stands",
    entity=ENTITY,
    version=1,
    tables="CREATE TABLE stand (tenant TEXT PRIMARY KEY, amount INTEGER, at INTEGER)",
    event_type=Added,
    apply=stands,
    whole=False,
    views=Views("cb.*.record.>", seen),
    expire=expire,
)


def standing(rows: sqlite3.Connection) -> dict[str, int]:
    return dict(rows.execute("SELECT tenant, amount FROM stand").fetchall())


async def _show(bus: Process, tenant: str, amount: int) -> None:
    await bus.outbox.post(f"cb.{tenant}.record.x", encode(Stand(tenant=tenant, amount=amount)))
    await bus.outbox.flush(timeout=10)


async def _purge(bus: Process, shard: int = 0) -> None:
    """Remove all of a shard but its last commit."""
    subject = journal_subject(ENTITY, shard)
    last = await bus.journal(ENTITY).last(subject)
    assert last is not None
    await bus.journal(ENTITY).purge(subject, below=last.sequence)


async def test_what_is_purged_is_told_by_the_stored_views(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        await journalist.commit(0, 1, tenant="old")
        await journalist.commit(0, 2, tenant="both")
        await journalist.commit(0, 3, tenant="new")
        await _purge(bus)
        for tenant, amount in (("old", 1), ("both", 2), ("new", 9), ("told_only", 5)):
            await _show(bus, tenant, amount)
        async with projecting(bus, tmp_path, STANDS) as projector:
            answer = await projector.ask(standing)

    assert answer.value == {"old": 1, "both": 2, "new": 3, "told_only": 5}


async def test_a_copy_that_was_away_during_a_purge_begins_with_the_views(
    mortal_world: World, tmp_path: Path
):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        await journalist.commit(0, 1, tenant="a")
        async with projecting(bus, tmp_path, STANDS) as projector:
            await projector.ask(standing)
        await journalist.commit(0, 2, tenant="a")
        await journalist.commit(0, 3, tenant="b")
        await _purge(bus)
        await _show(bus, "a", 2)
        async with projecting(bus, tmp_path, STANDS) as projector:
            assert (await projector.ask(standing)).value == {"a": 2, "b": 3}
            # What the journal itself has lost holds up nothing either.
            await journalist.skip(0)
            await journalist.commit(0, 4, tenant="c")
            assert (await projector.ask(standing)).value == {"a": 2, "b": 3, "c": 4}


async def test_nothing_is_answered_until_all_views_are_there_and_a_crash_begins_anew(
    mortal_world: World, tmp_path: Path
):
    async with mortal_world.process() as bus:
        await Journalist(bus).commit(0, 1, tenant="a")
        await _show(bus, "b", 2)
        await _show(bus, "c", 3)
        records = _Halting(bus.records)
        async with projecting(_with(bus, records), tmp_path, STANDS) as projector:
            await records.halted.wait()
            with pytest.raises(UnavailableError):
                await projector.ask(standing, within=0.1)
            stale = await projector.ask(standing, fresh=False)
            assert stale.behind_commits > 0
        async with projecting(bus, tmp_path, STANDS) as projector:
            assert (await projector.ask(standing)).value == {"a": 1, "b": 2, "c": 3}


def _with(bus: Process, records: Any) -> Process:
    return replace(bus, records=records)


class _Halting:
    """Stored views of which one comes, and then nothing."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.halted = anyio.Event()

    async def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        async for stored in self._records.read(subject, start=start):
            yield stored
            self.halted.set()
            await anyio.sleep_forever()


async def test_a_copy_that_has_a_checkpoint_reads_no_view(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        await journalist.commit(0, 1, tenant="a")
        async with projecting(bus, tmp_path, STANDS) as projector:
            await projector.ask(standing)
        await journalist.commit(0, 2, tenant="b")
        records = _Halting(bus.records)
        async with projecting(_with(bus, records), tmp_path, STANDS) as projector:
            assert (await projector.ask(standing)).value == {"a": 1, "b": 2}
        assert not records.halted.is_set()


async def test_what_has_expired_leaves_the_tables(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        for number in range(4):
            await journalist.commit(0, number, tenant=f"t{number}")
        now = replace(bus, clock=lambda: BEGAN + timedelta(days=1, seconds=3))
        projector = Projector(
            STANDS,
            now.feed(ENTITY),
            now,
            directory=tmp_path,
            process="test",
            timing=QUICK,
            retention=timedelta(days=1),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.run)
            with anyio.fail_after(10):
                while (await projector.ask(standing)).value != {"t2": 2, "t3": 3}:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()


async def test_a_watch_is_told_whenever_there_is_more_and_since_when_nothing_is_missing(
    mortal_world: World, tmp_path: Path
):
    told: list[tuple[dict[str, int], float]] = []
    async with mortal_world.process() as bus, projecting(bus, tmp_path, STANDS) as projector:
        journalist = Journalist(bus)
        projector.watch(
            ProjectionWatch(lambda: standing, lambda *known: told.append(known), seconds=60)
        )
        for number in range(3):
            await journalist.commit(0, number, tenant="a")
            committed = loop_time()
            with anyio.fail_after(10):
                while not told or told[-1][1] < committed:
                    await anyio.sleep(0.005)
            assert told[-1][0] == {"a": number}
