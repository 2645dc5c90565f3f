"""Large bytes under their hash, on both stores."""

from contextlib import suppress
from hashlib import sha256

import anyio
import pytest

from bus.errors import FullError, ProblemError, UnavailableError
from bus.jetstream.blobs import CHUNK_BYTES
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


async def test_what_lies_under_something_is_listed_and_goes_one_by_one(bus: Process, fresh: str):
    under, data = f"{fresh}.3", [_bytes(2 * CHUNK_BYTES, "one"), _bytes(10, "two")]
    names = [await bus.blobs.put(each, under=f"{under}.entry.{n}") for n, each in enumerate(data)]
    await bus.blobs.put(data[0], under=f"{fresh}.30.entry.1")
    await bus.blobs.put(data[0])

    assert names[0] == f"{under}.entry.0.{sha256(data[0]).hexdigest()}"
    assert sorted(await bus.blobs.names(under)) == sorted(names)
    assert [await bus.blobs.get(name) for name in names] == data
    await bus.blobs.remove(names[0])
    assert await bus.blobs.names(under) == names[1:]
    assert await bus.blobs.names(f"{fresh}.4") == []


async def test_the_store_tells_how_full_it_is_and_shrinks_again(bus: Process, fresh: str):
    before = await bus.blobs.fill()
    name = await bus.blobs.put(_bytes(3 * CHUNK_BYTES, fresh))
    filled = await bus.blobs.fill()
    await bus.blobs.remove(name)
    after = await bus.blobs.fill()

    assert 3 * CHUNK_BYTES <= filled.used - before.used < 3 * CHUNK_BYTES + 2000
    assert after == before


async def test_what_does_not_fit_is_refused_and_nothing_that_is_there_goes(own_nats: NatsWorld):
    async with own_nats.process() as bus:
        config = (await bus.jetstream.stream_info("BLOBS"))["config"]
        bound = config | {"max_bytes": 2 * CHUNK_BYTES}
        await bus.jetstream.call("STREAM.UPDATE.BLOBS", bound)
        name = await bus.blobs.put(_bytes(CHUNK_BYTES, "kept"))

        with pytest.raises(FullError):
            await bus.blobs.put(_bytes(CHUNK_BYTES, "more"), under="execution.0.entry.1")

        assert await bus.blobs.get(name) == _bytes(CHUNK_BYTES, "kept")
        assert (await bus.blobs.fill()).most == 2 * CHUNK_BYTES


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


async def test_a_blob_put_twice_takes_its_room_once(shared_nats: NatsWorld, fresh: str):
    async with shared_nats.process() as bus:
        data = _bytes(3 * CHUNK_BYTES, fresh)
        name = await bus.blobs.put(data)
        await bus.blobs.put(data)

        info = await bus.jetstream.stream_info("BLOBS", subjects=f"_cb.blob.{name}.*")

    assert set(info["state"]["subjects"].values()) == {1}
