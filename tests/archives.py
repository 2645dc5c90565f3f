"""Journals that reach over months, and what is archived of them, in tests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bus.archive import Archiver, archive_of
from bus.codec import encode
from bus.config import Timing
from bus.ports import Bus
from bus.shard.fetching import fetched
from bus.subjects import archived_subject, journal_subject
from schemas.archive import Archived
from schemas.journal import Commit, Entry
from tests.projections import ENTITY, Added

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = BEGAN + timedelta(days=3650)
SMALL = Timing(archive_batch_bytes=2000)
"""A few commits fill a batch."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A commit to be written: ``day`` counts from the first of January; amounts by tenant."""

    day: float = 0.0
    amounts: Sequence[tuple[str, int]] = ()
    is_damaged: bool = False
    in_blob: bool = False


async def write(bus: Bus, turns: Iterable[Turn], shard: int = 0, first: int = 1) -> int:
    """Append the turns to a shard's journal as its next commits; return the last sequence."""
    journal, subject = bus.journal(ENTITY), journal_subject(ENTITY, shard)
    newest = await journal.last(subject)
    sequence = newest.sequence if newest else 0
    for n, turn in enumerate(turns, first):
        data = encode(await _commit(bus, n, turn))
        if turn.is_damaged:
            data = data[: len(data) // 2]
        sequence = await journal.append(subject, data, expected=sequence)
    return sequence


async def _commit(bus: Bus, n: int, turn: Turn) -> Commit:
    entries: list[Entry] = []
    for tenant, amount in turn.amounts:
        events = [msgspec.Raw(encode(Added(amount=amount)))]
        entry = Entry(tenant=tenant, key="k", command=f"c{n}", events=events)
        if turn.in_blob:
            blob = await bus.blobs.put(encode(entry))
            entry = Entry(tenant=tenant, key="k", command=f"c{n}", blob=blob)
        entries.append(entry)
    at = BEGAN + timedelta(days=turn.day)
    return Commit(n=n, epoch=1, turn=f"t{n}", at=at, entries=entries)


def archiver(
    bus: Bus, now: datetime = LATER, timing: Timing = SMALL, shards: Sequence[int] = (0,)
) -> Archiver:
    """Return an archiver to which it is ``now``."""
    return Archiver(ENTITY, replace(bus, clock=lambda: now), timing, owned=lambda: shards)


async def read(bus: Bus, shard: int = 0) -> list[tuple[int, list[Any]]]:
    """Return number and events of all commits, archived or not; none of what is unreadable."""
    found: list[tuple[int, list[Any]]] = []
    async for one in archive_of(bus, ENTITY).commits(shard):
        stored = one.found.commit.entries if one.found.commit else []
        entries = [await fetched(each, bus.blobs) for each in stored]
        found.append((one.n, [(each.tenant, encode(each.events)) for each in entries]))
    return found


async def archived(bus: Bus, shard: int = 0) -> list[Archived]:
    """Return all that was said of what is archived."""
    incarnation = (await bus.feed(ENTITY).end()).incarnation
    subject = archived_subject(ENTITY, shard, incarnation)
    stored = bus.archive.read(subject, start=1)
    return [msgspec.json.decode(one.data, type=Archived) async for one in stored]
