"""Archiving on both buses: what is read after a purge is what was read before it."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import anyio

from bus.archive import Archiver
from bus.config import Timing
from bus.errors import UnavailableError
from bus.projection import Projector
from bus.shard.kept import KeptJournal
from bus.subjects import journal_subject
from bus.testing import Process, World
from tests.archives import BEGAN, SMALL, Turn, archived, archiver, read, write
from tests.integration.waiting import SECONDS
from tests.projections import ENTITY, everything, projecting, totals

TURNS = [
    Turn(day=n / 4, amounts=[("acme", n), ("bolt", 2 * n), ("acme", 1)], in_blob=n % 7 == 0)
    for n in range(1, 300)
]


async def purge(bus: Process, shards: Sequence[int]) -> None:
    """Purge as an owner does whose snapshot is quite new."""
    kept = KeptJournal(bus.journal(ENTITY), bus.archive, bus.feed(ENTITY))
    for shard in shards:
        await kept.purge(journal_subject(ENTITY, shard), below=10**9)


async def reaching(bus: Process, through: int) -> None:
    """Wait until a shard is archived so far."""
    with anyio.fail_after(SECONDS):
        while True:
            with suppress(UnavailableError):
                found = await archived(bus)
                if found and found[-1].through >= through:
                    return
            await anyio.sleep(0.02)


async def rows(projector: Projector) -> list[tuple[object, ...]]:
    """Return all rows but the checkpoint's position, which is how far the journal was read."""
    found = (await projector.ask(everything)).value
    return [row for row in found if row[0] != "projection"]


async def test_a_projection_made_anew_after_a_purge_equals_the_one_before(
    mortal_world: World, tmp_path: Path
):
    async with mortal_world.process() as bus:
        await write(bus, TURNS, 0)
        await write(bus, TURNS[:50], 1)
        history = [await read(bus, shard) for shard in (0, 1)]
        async with projecting(bus, tmp_path / "old") as projector:
            before = await rows(projector)
            size = (await bus.journal(ENTITY).fill()).used
            await archiver(bus, BEGAN + timedelta(days=60), shards=(0, 1)).round()
            await purge(bus, (0, 1))
            assert (await bus.journal(ENTITY).fill()).used < size * 0.6
            await write(bus, TURNS[:1], 1, first=51)
            after = await rows(projector)
            assert after != before
        async with projecting(bus, tmp_path / "new") as projector:
            assert await rows(projector) == after

        assert (await archived(bus))[0].period == "2026-01"
        assert await read(bus, 0) == [(n, entries) for n, entries in history[0]]


async def test_a_copy_that_was_away_during_a_purge_reads_what_it_missed_from_the_archive(
    mortal_world: World, tmp_path: Path
):
    async with mortal_world.process() as bus:
        await write(bus, TURNS[:20])
        async with projecting(bus, tmp_path) as projector:
            await projector.ask(totals)
        await write(bus, TURNS[20:100], first=21)
        await archiver(bus).round()
        await purge(bus, [0])
        await write(bus, TURNS[100:110], first=101)
        async with projecting(bus, tmp_path) as projector:
            found = (await projector.ask(totals)).value

    assert found["bolt"] == (sum(2 * n for n in range(1, 111)), 110)


async def test_archiving_goes_on_by_itself_after_the_bus_was_killed(mortal_world: World):
    quick = Timing(
        archive_batch_bytes=SMALL.archive_batch_bytes,
        archive_look_seconds=0.02,
        archive_above=0.0,
        archive_least=0.0,
    )
    async with mortal_world.process() as bus:
        await write(bus, TURNS[:60])
        before = await read(bus)
        at_work = Archiver(ENTITY, bus, quick, owned=lambda: [0])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(at_work.run)
            await reaching(bus, 1)
            await mortal_world.restart()
            await reaching(bus, len(before))
            tasks.cancel_scope.cancel()
        await purge(bus, [0])
        assert await read(bus) == before
