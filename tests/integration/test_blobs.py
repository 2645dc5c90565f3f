"""Large bytes under their hash, on both stores."""

from contextlib import suppress
from hashlib import sha256

import anyio
import pytest

from bus.errors import ProblemError, UnavailableError
from bus.jetstream.blobs import CHUNK_BYTES
from bus.streams.spec import BLOB_MAX_BYTES
from bus.testing import NatsWorld, Process, World
from tests.integration.waiting import SECONDS

SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 12 * CHUNK_BYTES + 7]


def _bytes(size: int, seed: str) -> bytes:
    pattern = sha256(seed.encode()).digest()
    return (pattern * (size // len(pattern) + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_put_is_found_under_its_hash(bus: Process, fresh: str, size: int):
    data = _bytes(size, fresh)

    name = await bus.blobs.put(data)

    assert name == sha256(data).hexdigest()
    assert await bus.blobs.get(name) == data


async def test_putting_the_same_twice_is_harmless(bus: Process, fresh: str):
    data = _bytes(2 * CHUNK_BYTES, fresh)

    names = {await bus.blobs.put(data), await bus.blobs.put(data)}

    assert [await bus.blobs.get(name) for name in names] == [data]


async def test_what_was_never_put_is_not_found(bus: Process, fresh: str):
    with pytest.raises(ProblemError) as caught:
        await bus.blobs.get(sha256(fresh.encode()).hexdigest())

    assert caught.value.problem.code == "not_found"


async def test_what_was_removed_is_not_found_and_removing_again_is_harmless(
    bus: Process, fresh: str
):
    name = await bus.blobs.put(_bytes(CHUNK_BYTES + 1, fresh))
    other = await bus.blobs.put(_bytes(10, fresh))

    await bus.blobs.remove(name)
    await bus.blobs.remove(name)

    with pytest.raises(ProblemError):
        await bus.blobs.get(name)
    assert await bus.blobs.get(other) == _bytes(10, fresh)


async def test_blobs_outlive_a_killed_bus(mortal_world: World):
    data = _bytes(3 * CHUNK_BYTES, "kept")
    async with mortal_world.process() as bus:
        name = await bus.blobs.put(data)
        await mortal_world.restart()

    async with mortal_world.process() as bus:
        assert await _got(bus, name) == data


async def _got(bus: Process, name: str) -> bytes:
    """Read a blob as soon as the stream, which is being recovered, answers."""
    with anyio.fail_after(SECONDS):
        while True:
            with suppress(UnavailableError):
                return await bus.blobs.get(name)
            await anyio.sleep(0.05)


async def test_a_blob_that_lacks_a_chunk_is_not_found(shared_nats: NatsWorld, fresh: str):
    async with shared_nats.process() as bus:
        name = await bus.blobs.put(_bytes(3 * CHUNK_BYTES, fresh))
        await bus.jetstream.call("STREAM.PURGE.BLOBS", {"filter": f"_cb.blob.{name}.1"})

        with pytest.raises(ProblemError) as caught:
            await bus.blobs.get(name)

    assert caught.value.problem.code == "not_found"


@pytest.mark.parametrize(
    ("share", "reserve", "has_room"),
    [(0.8, 0.1, True), (0.93, 0.1, False), (0.93, 0.05, True), (0.97, 0.05, False), (1, 0, False)],
)
async def test_room_is_what_the_stream_has_left_but_for_the_reserve(
    shared_nats: NatsWorld, share: float, reserve: float, has_room: bool
):
    async with shared_nats.process() as bus:
        await bus.blobs.put(b"something is stored")
        size = round(share * BLOB_MAX_BYTES)
        assert await bus.blobs.has_room(size, reserve=reserve) is has_room


async def test_a_blob_put_twice_takes_its_room_once(shared_nats: NatsWorld, fresh: str):
    async with shared_nats.process() as bus:
        data = _bytes(3 * CHUNK_BYTES, fresh)
        name = await bus.blobs.put(data)
        await bus.blobs.put(data)

        info = await bus.jetstream.stream_info("BLOBS", subjects=f"_cb.blob.{name}.*")

    assert set(info["state"]["subjects"].values()) == {1}
