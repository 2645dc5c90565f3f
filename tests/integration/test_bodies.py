"""Bodies by reference, on both stores: what is put is found, checked, and goes with its entity."""

from hashlib import sha256

import anyio
import msgspec
import pytest

from bus.bodies import Bodies, Holder, holder_of
from bus.bodies.names import body_name, shard_bodies
from bus.errors import ProblemError
from bus.subjects import shard_of
from bus.testing import NatsWorld, Process
from schemas.bodies import MOST_BODY_BYTES, BodyReference
from tests.integration.waiting import SECONDS

SMALL, LARGE = b"a prompt of its own", bytes(range(256)) * 5000


def holder(fresh: str, key: str = "one") -> Holder:
    return holder_of("execution", 4, fresh, key)


@pytest.mark.parametrize("data", [SMALL, LARGE, b""], ids=["small", "in chunks", "empty"])
async def test_a_body_is_found_by_its_reference(bus: Process, fresh: str, data: bytes):
    bodies = Bodies(bus.blobs)

    reference = await bodies.put(data, holder(fresh))

    assert reference.digest == sha256(data).hexdigest()
    assert reference.bytes == len(data)
    assert await bodies.get(reference) == data


async def test_a_body_is_named_after_its_entity_and_goes_alone(bus: Process, fresh: str):
    bodies = Bodies(bus.blobs)
    one = await bodies.put(SMALL, holder(fresh))
    other = await bodies.put(SMALL, holder(fresh, "two"))

    shard = shard_of(fresh, "one", 4)
    named = body_name(one.name)
    assert named is not None
    assert (named.tenant, named.key) == (fresh, "one")
    assert one.name in await bus.blobs.names(shard_bodies("execution", shard))
    await bodies.remove(one.name)
    await bodies.remove(one.name)
    assert await bodies.get(other) == SMALL
    with pytest.raises(ProblemError) as gone:
        await bodies.get(one)
    assert (gone.value.problem.code, gone.value.problem.retryable) == ("corrupt", False)


async def test_what_is_not_what_its_reference_says_is_refused(bus: Process, fresh: str):
    bodies = Bodies(bus.blobs)
    reference = await bodies.put(SMALL, holder(fresh))
    swapped = await bodies.put(LARGE, holder(fresh))

    for wrong in (
        msgspec.structs.replace(reference, bytes=reference.bytes + 1),
        msgspec.structs.replace(reference, digest="0" * 64),
        msgspec.structs.replace(reference, name=swapped.name),
    ):
        with pytest.raises(ProblemError) as refused:
            await bodies.get(wrong)
        assert refused.value.problem.code == "corrupt"
        assert str(SMALL) not in refused.value.problem.message


async def test_bodies_have_a_bound_both_ways(bus: Process, fresh: str):
    bodies = Bodies(bus.blobs)
    reference = await bodies.put(LARGE, holder(fresh))

    with pytest.raises(ProblemError) as refused:
        await bodies.get(reference, most=len(LARGE) - 1)
    assert refused.value.problem.code == "corrupt"
    with pytest.raises(ProblemError) as refused:
        await bodies.put(bytes(MOST_BODY_BYTES + 1), holder(fresh))
    assert refused.value.problem.code == "validation"


async def test_a_body_expires_if_it_is_to(bus: Process, fresh: str):
    bodies = Bodies(bus.blobs)
    brief = await bodies.put(SMALL, holder(fresh, "brief"), ttl=1)
    kept = await bodies.put(SMALL, holder(fresh, "kept"))

    # Nobody looks for what goes by itself.
    looked_for = shard_bodies("execution", shard_of(fresh, "brief", 4))
    assert brief.name not in await bus.blobs.names(looked_for)
    with anyio.fail_after(SECONDS):
        while await _is_there(bodies, brief):
            await anyio.sleep(0.1)

    assert await bodies.get(kept) == SMALL


async def _is_there(bodies: Bodies, reference: BodyReference) -> bool:
    try:
        await bodies.get(reference)
    except ProblemError:
        return False
    return True


async def test_what_is_stored_anew_outlives_the_removal_of_what_was_there(bus: Process, fresh: str):
    bodies = Bodies(bus.blobs)
    reference = await bodies.put(LARGE, holder(fresh))
    old = await bus.blobs.newest(reference.name)
    assert old is not None
    assert old.time

    await bodies.put(LARGE, holder(fresh))
    await bus.blobs.remove(reference.name, below=old.sequence + 1)
    assert await bodies.get(reference) == LARGE

    new = await bus.blobs.newest(reference.name)
    assert new is not None
    assert new.sequence > old.sequence
    await bus.blobs.remove(reference.name, below=new.sequence + 1)
    assert await bus.blobs.newest(reference.name) is None


async def test_a_full_store_refuses_bodies_and_leaves_room_for_snapshots(own_nats: NatsWorld):
    async with own_nats.process() as bus:
        config = (await bus.jetstream.stream_info("BLOBS"))["config"]
        await bus.jetstream.call("STREAM.UPDATE.BLOBS", config | {"max_bytes": 100_000})
        bodies = Bodies(bus.blobs)
        kept = await bodies.put(bytes(80_000), holder("acme"))

        with pytest.raises(ProblemError) as refused:
            await bodies.put(bytes(15_000), holder("acme"))

        told = refused.value.problem
        assert (told.code, told.retryable, told.details["store"]) == ("unavailable", True, "BLOBS")
        assert await bodies.get(kept) == bytes(80_000)
        await bus.blobs.put(bytes(15_000), under="execution.0.snapshot.1")
