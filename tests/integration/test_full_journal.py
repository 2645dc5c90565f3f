"""A journal that is full on a real nats-server: the fleet goes on, and what is stored shrinks."""

from pathlib import Path

import anyio
import msgspec

from bus.testing import nats_world
from tests.servers import local_server
from tests.simulation.filling import STREAM, TIGHT, fills_and_goes_on, refusal
from tests.simulation.fleet import SECONDS, fleet

TIMING = msgspec.structs.replace(
    TIGHT,
    heartbeat_seconds=0.05,
    member_gone_seconds=0.4,
    join_seconds=0.12,
    ack_wait_seconds=1.0,
    request_try_seconds=0.5,
    inventory_seconds=0.6,
)
LARGE = msgspec.structs.replace(TIMING, blob_bytes=2000, entities_in_memory=2)


async def test_executions_end_in_a_journal_for_a_fraction_of_them(tmp_path: Path):
    async with nats_world(local_server(tmp_path), ("execution",), TIMING) as world:
        load = await fills_and_goes_on(world, 1000, TIMING)

    assert set(load.refused) == {STREAM}


async def test_full_blobs_refuse_what_is_large_and_shrink_with_the_journal(tmp_path: Path):
    async with (
        nats_world(local_server(tmp_path), ("execution",), LARGE) as world,
        world.process("operator") as bus,
        fleet(world, LARGE) as running,
    ):
        config = (await bus.jetstream.stream_info("BLOBS"))["config"]
        await bus.jetstream.call("STREAM.UPDATE.BLOBS", config | {"max_bytes": 800_000})
        await running.start_owner("one")
        await running.start_worker("worker")
        large = "x" * 10_000
        names = [f"e{number}" for number in range(200)]
        seen = set[tuple[str, str | None]]()
        with anyio.fail_after(SECONDS):
            for name in names:
                while (problem := await refusal(running, name, task=large)) is not None:
                    small = await refusal(running, f"small-{name}")
                    seen.add((problem.details["store"], small and small.details["store"]))
                    await anyio.sleep(0.02)
        records = await running.ended(*names)
        with anyio.fail_after(SECONDS):
            while (await bus.blobs.fill()).used > 500_000:
                await anyio.sleep(0.02)

    # Both fill the journal meanwhile, which may refuse either; for want of blobs only the large is.
    assert ("BLOBS", None) in seen
    assert {store for store, _ in seen} <= {"BLOBS", STREAM}
    assert {store for _, store in seen} <= {None, STREAM}
    assert {record.output for record in records} == {"hello from attempt 1"}
