"""What 100,000 entities at rest cost: memory of their owner, a takeover of their shard, a write."""

import gc
import tempfile
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actors.pricing.adapters.account import account_entity
from bus.codec import encode
from bus.connection import NatsAddress
from bus.jetstream import NatsBus, open_bus
from bus.server import EmbeddedServer
from bus.shard.book import EntitySlot, ShardBook
from bus.shard.recovery import take_over
from bus.subjects import journal_subject
from schemas.journal import Commit, SnapshotRef
from tests.bench.rows import Row

NAME = "sleepers"
SLEEPERS = 100_000
BATCH = 256
WRITTEN = 20 * BATCH
BEGAN = datetime(2026, 6, 1, tzinfo=UTC)
ENTITY = account_entity()
SUBJECT = journal_subject(ENTITY.name, 0)


async def measure() -> list[Row]:
    """Put entities to rest, and take their shard over."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        async with EmbeddedServer(Path(directory) / "nats") as server:
            address = NatsAddress(urls=server.urls, name="bench")
            async with open_bus(address, entities=[ENTITY.name]) as bus:
                book, size = _asleep()
                return [size, *await _taken_over(bus, book), await _written(bus)]


def _asleep() -> tuple[ShardBook, Row]:
    """Return a book whose entities are all at rest, each with a timer."""
    gc.collect()
    tracemalloc.start()
    book = ShardBook(ENTITY)
    book.n = 1
    for number in range(SLEEPERS):
        address = (f"tenant-{number % 200}", f"0198f0c4-5b7e-7000-8000-{number:012}")
        book.slots[address] = EntitySlot(state=ENTITY.initial(*address), n=number + 1, last=1)
        book.slots[address].due = BEGAN + timedelta(seconds=number)
        book.evict(address)
    # As a new owner has them: their timers are in the heap.
    image, book = book.image(), ShardBook(ENTITY)
    book.load(image)
    del image
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return book, Row(NAME, "memory of 100,000 sleepers with timers", used, "MB", most=50)


async def _taken_over(bus: NatsBus, book: ShardBook) -> list[Row]:
    data = encode(book.image())
    blob = await bus.blobs.put(data)
    ref = SnapshotRef(blob=blob, n=1, sequence=1)
    commit = Commit(n=1, epoch=1, turn="bench.1.1", at=BEGAN, snapshot=ref)
    await bus.journal(ENTITY.name).append(SUBJECT, encode(commit), expected=0)
    began = time.perf_counter()
    taken = await take_over(
        ENTITY,
        SUBJECT,
        "bench",
        journal=bus.journal(ENTITY.name),
        blobs=bus.blobs,
        states=bus.states(ENTITY.name),
    )
    seconds = time.perf_counter() - began
    if len(taken.book.sleepers) != SLEEPERS:
        raise AssertionError(len(taken.book.sleepers))
    return [
        Row(NAME, "takeover of a shard with 100,000 sleepers", seconds, "s", most=2),
        Row(NAME, "their part of its snapshot", len(data) / 1e6, "MB"),
    ]


async def _written(bus: NatsBus) -> Row:
    book = ShardBook(ENTITY)
    for number in range(WRITTEN):
        address = (f"tenant-{number % 200}", f"{number:012}")
        book.slots[address] = EntitySlot(state=ENTITY.initial(*address), n=1, last=1)
    writer = await bus.states(ENTITY.name).own(1, 1)
    began = time.perf_counter()
    addresses = list(book.slots)
    for start in range(0, WRITTEN, BATCH):
        batch = addresses[start : start + BATCH]
        await writer.write([book.at_rest(address) for address in batch])
    seconds = time.perf_counter() - began
    return Row(NAME, "states stored a second, in batches of 256", WRITTEN / seconds, "1/s")
