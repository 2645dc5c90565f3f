"""Parts of states that do not change are stored once, found by every owner, and gone in the end."""

from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from bus.codec import encode
from bus.memory import MemoryBus, MemoryProcess, memory_bus
from bus.requests.rpc import Owners, command
from bus.shard.book import ShardBook
from bus.shard.fetching import load_snapshot
from bus.shard.owner import ShardOwner
from bus.shard.parts import Parts
from bus.shard.recovery import Recovered, take_over
from bus.streams.capacity import Rooms
from schemas.base import Internal
from schemas.decision import Decision
from schemas.journal import Commit, SnapshotRef
from tests.simulation.fleet import nobody
from tests.unit.bus.shard_entity import ENTITY, Add, Added, Total
from tests.unit.bus.test_purging import LARGE, SUBJECT

EACH = 3
"""Additions that make a layer."""

MOST = 4
"""Layers that are joined into one."""


class Pile(Internal):
    """A sum, and a layer for every few additions."""

    total: int = 0
    layers: list[bytes] = []


def evolve(state: Pile | None, event: Added) -> Pile:
    before = state or Pile()
    total = before.total + event.amount
    if total % EACH:
        return Pile(total=total, layers=before.layers)
    layers = [*before.layers, b"layer %d" % total]
    return Pile(total=total, layers=[b"+".join(layers)] if len(layers) >= MOST else layers)


def split(state: Pile) -> tuple[Pile, Sequence[bytes]]:
    return Pile(total=state.total, layers=[b""] * len(state.layers)), state.layers


PILE = replace(
    ENTITY,
    state_type=Pile,
    decide=lambda _state, wanted, _: Decision((Added(amount=wanted.amount),), Total(total=0)),
    evolve=evolve,
    effects=lambda _: (),
    due=lambda _: None,
    ended=lambda _: False,
    record=None,
    split=split,
    joined=lambda state, parts: Pile(total=state.total, layers=list(parts)),
)


@asynccontextmanager
async def owning(world: MemoryBus, name: str) -> AsyncGenerator[MemoryProcess]:
    async with world.process(name) as bus, anyio.create_task_group() as tasks:
        owner = ShardOwner(PILE, 0, name, nobody(name, bus), bus, LARGE)
        tasks.start_soon(owner.run)
        with anyio.fail_after(8):
            while not owner.serving:
                await anyio.sleep(0.01)
        yield bus
        tasks.cancel_scope.cancel()


async def added(bus: MemoryProcess, many: int, name: str) -> None:
    owners = Owners(bus.transport, "counter", 1, LARGE)
    for number in range(many):
        await owners.ask(command(f"{name}{number}", "acme", "c", Add(amount=1)), timeout=5)


async def recovered(bus: MemoryProcess) -> Recovered:
    journal, states = bus.journal("counter"), bus.states("counter")
    return await take_over(PILE, SUBJECT, "new", journal=journal, blobs=bus.blobs, states=states)


def parts_of(world: MemoryBus) -> dict[str, bytes]:
    return {name: data for name, data in world.blobs.kept.items() if ".part." in name}


def parts_for(bus: MemoryProcess, book: ShardBook) -> Parts:
    return Parts(book, SUBJECT, bus.blobs, Rooms("counter", bus, LARGE).blobs)


async def test_a_part_is_stored_once_however_many_snapshots_name_it():
    async with memory_bus(LARGE) as world, world.process() as bus:
        book = ShardBook(PILE)
        parts = parts_for(bus, book)
        stored: list[int] = []
        for total in range(1, 10):
            layers = [b"one", b"two"][: total // EACH]
            book.slot(("acme", "c")).state = Pile(total=total, layers=layers)
            book.n = total
            image = await parts.drawn(book.picture())
            stored.append(len(parts_of(world)))
            assert len(image.slots[0].parts) == len(layers)
            assert b64encode(b"one") not in encode(image), "the part is in the snapshot as well"

        assert stored == [0, 0, 1, 1, 1, 2, 2, 2, 2]
        assert sorted(parts_of(world).values()) == [b"one", b"two"]


async def test_every_owner_finds_the_parts_and_removes_those_that_nothing_needs():
    async with memory_bus(LARGE) as world:
        for incarnation in range(3):
            async with owning(world, f"owner-{incarnation}") as bus:
                await added(bus, 16, f"{incarnation}.")
                await _until_few(world)
        async with world.process() as bus:
            book = (await recovered(bus)).book
            state = book.slots["acme", "c"].state

    expected = Pile()
    for _ in range(48):
        expected = evolve(expected, Added(amount=1))
    assert state == expected


async def _until_few(world: MemoryBus) -> None:
    """Return once no more parts are left than two snapshots can name."""
    with anyio.fail_after(8):
        while len(parts_of(world)) > 2 * MOST:
            await anyio.sleep(0.01)


async def test_who_lacks_a_part_is_put_into_quarantine_and_nobody_else():
    async with memory_bus(LARGE) as world, world.process() as bus:
        book = ShardBook(PILE)
        book.slot(("acme", "c")).state = Pile(total=3, layers=[b"one"])
        book.slot(("acme", "small")).state = Pile(total=1)
        book.n = 4
        image = await parts_for(bus, book).drawn(book.picture())
        ref = SnapshotRef(blob=await bus.blobs.put(encode(image)), n=4, sequence=4)
        newest = Commit(n=5, epoch=1, turn="", at=book.at, snapshot=ref)

        whole, damaged = ShardBook(PILE), ShardBook(PILE)
        await load_snapshot(whole, SUBJECT, newest, None, bus.blobs)
        for name in parts_of(world):
            del world.blobs.kept[name]
        await load_snapshot(damaged, SUBJECT, newest, None, bus.blobs)

    assert whole.slots["acme", "c"].state == Pile(total=3, layers=[b"one"])
    assert set(damaged.corrupt) == {("acme", "c")}
    assert damaged.slots["acme", "small"].state == Pile(total=1)
