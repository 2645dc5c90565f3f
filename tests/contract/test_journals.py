"""What was ever stored of a shard leads to the same states, by every way that leads to them."""

from pathlib import Path

import msgspec
import pytest

from actors.agents.actor import execution_entity
from bus.codec import decode, encode
from bus.memory import memory_bus
from bus.memory.bus import MemoryProcess
from bus.shard.book import Book
from bus.shard.recovery import take_over
from bus.subjects import journal_subject
from schemas.journal import Commit, Entry
from schemas.lifecycle import ExecutionEvent
from tests.contract.journals import GoldenJournal, paths, read, replayed, states, states_of, wanted

SUBJECT = journal_subject("execution", 0)
ENTITY = execution_entity()


async def stored(bus: MemoryProcess, golden: GoldenJournal) -> None:
    """Put the bytes where an owner would find them."""
    await bus.blobs.put(bytes(golden.snapshot))
    journal = bus.journal("execution")
    for expected, commit in enumerate(golden.commits):
        await journal.append(SUBJECT, bytes(commit), expected=expected)


async def recovered(bus: MemoryProcess) -> Book:
    taken = await take_over(
        ENTITY,
        SUBJECT,
        "test",
        journal=bus.journal("execution"),
        blobs=bus.blobs,
        clock=bus.clock,
    )
    return taken.book


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name)
async def test_a_new_owner_finds_the_states_by_snapshot_and_tail(path: Path):
    golden = read(path)
    async with memory_bus() as world, world.process() as bus:
        await stored(bus, golden)
        snapshot = decode(Commit, golden.commits[-1]).snapshot
        assert snapshot is not None
        await bus.journal("execution").purge(SUBJECT, below=snapshot.sequence)
        book = await recovered(bus)

    assert encode(states(book)) == states_of(path).read_bytes()


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name)
def test_all_commits_lead_to_the_same_states(path: Path):
    assert replayed(read(path)) == states_of(path).read_bytes()


def test_the_newest_golden_journal_is_what_is_written_today():
    newest = paths()[-1]

    assert newest.read_bytes() == wanted()[newest], "python -m tests.contract.regenerate"


def test_a_golden_journal_holds_every_kind_of_event():
    entries: list[Entry] = [
        entry for raw in read(paths()[-1]).commits for entry in decode(Commit, raw).entries
    ]
    tags = {msgspec.json.decode(event)["type"] for entry in entries for event in entry.events}
    kinds = {kind.__struct_config__.tag for kind in ExecutionEvent.__args__}

    assert tags == kinds
    assert all(entry.kind for entry in entries)
    assert decode(GoldenJournal, encode(read(paths()[-1]))) == read(paths()[-1])
