"""What was ever stored of a shard leads to the same states, by every way that leads to them."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bus.codec import decode, encode
from bus.memory import memory_bus
from bus.memory.bus import MemoryProcess
from bus.shard.book import ShardBook
from bus.shard.recovery import take_over
from bus.subjects import journal_subject
from schemas.journal import Commit, Entry
from tests.contract.journals import (
    LIVES,
    entity_of,
    paths,
    read,
    replayed,
    states,
    states_of,
    wanted,
)
from tests.contract.recorder import GoldenJournal


async def stored(bus: MemoryProcess, golden: GoldenJournal, name: str) -> None:
    """Put the bytes where an owner would find them."""
    await bus.blobs.put(bytes(golden.snapshot))
    journal = bus.journal(name)
    for expected, commit in enumerate(golden.commits):
        await journal.append(journal_subject(name, 0), bytes(commit), expected=expected)


async def recovered(bus: MemoryProcess, path: Path) -> ShardBook:
    entity = entity_of(path)
    taken = await take_over(
        entity,
        journal_subject(entity.name, 0),
        "test",
        journal=bus.journal(entity.name),
        blobs=bus.blobs,
        states=bus.states(entity.name),
    )
    return taken.book


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name)
async def test_a_new_owner_finds_the_states_by_snapshot_and_tail(path: Path):
    golden, entity = read(path), entity_of(path)
    name = entity.name
    async with memory_bus() as world, world.process() as bus:
        await stored(bus, golden, name)
        snapshot = decode(Commit, golden.commits[-1]).snapshot
        assert snapshot is not None
        await bus.journal(name).purge(journal_subject(name, 0), below=snapshot.sequence)
        book = await recovered(bus, path)

    assert encode(states(book)) == states_of(path).read_bytes()


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name)
def test_all_commits_lead_to_the_same_states(path: Path):
    assert replayed(path) == states_of(path).read_bytes()


@pytest.mark.parametrize("name", LIVES)
def test_the_newest_golden_journal_is_what_is_written_today(name: str):
    newest = paths(name)[-1]

    assert newest.read_bytes() == wanted()[newest], "python -m tests.contract.regenerate"


@pytest.mark.parametrize("name", LIVES)
def test_a_golden_journal_holds_every_kind_of_event(name: str):
    newest = paths(name)[-1]
    entries: list[Entry] = [
        entry for raw in read(newest).commits for entry in decode(Commit, raw).entries
    ]
    tags = {msgspec.json.decode(event)["type"] for entry in entries for event in entry.events}
    event_type = LIVES[name].entity.event_type
    kinds = {kind.__struct_config__.tag for kind in get_args(event_type) or (event_type,)}

    assert tags == kinds
    assert all(entry.kind for entry in entries)
    assert decode(GoldenJournal, encode(read(newest))) == read(newest)
