"""Where there is no room for blobs, what needs one is refused; the shard and all others go on."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.membership import Membership
from bus.memory import memory_bus
from bus.memory.bus import MemoryBus
from bus.shard import ShardHost
from schemas.fleet import Alive
from schemas.journal import CommandEnvelope
from schemas.problems import Problem
from tests.unit.bus.shard_entity import ENTITY, Add
from tests.virtual import VIRTUAL_TIME, Backend

SECONDS = 8.0
ROOM = 10_000
QUICK = msgspec.structs.replace(
    Timing(), heartbeat_seconds=0.02, join_seconds=0.06, reconcile_seconds=0.03, blob_bytes=300
)


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


@asynccontextmanager
async def hosting(world: MemoryBus) -> AsyncGenerator[ShardHost]:
    alive = Alive(process="one", actor="test", entities=["counter"])
    async with world.process("one") as bus, anyio.create_task_group() as tasks:
        membership = Membership(bus.transport, lambda: alive, QUICK)
        host = ShardHost(ENTITY, 1, "one", membership, bus, QUICK)
        tasks.start_soon(membership.run)
        tasks.start_soon(host.run)
        with anyio.fail_after(SECONDS):
            while host.owned != [0]:
                await anyio.sleep(0.01)
        yield host
        tasks.cancel_scope.cancel()


async def answered(host: ShardHost, key: str, size: int, *, fresh: bool) -> bytes:
    """Send a command of so many bytes; spaces count as well."""
    body = encode(Add(amount=1)).ljust(size)
    envelope = CommandEnvelope(id=key, tenant="acme", key=key, body=msgspec.Raw(body), fresh=fresh)
    answers: list[bytes] = []
    assert host.offer(0, envelope, answers.append)
    with anyio.fail_after(SECONDS):
        while not answers:
            await anyio.sleep(0.01)
    return answers[0]


@pytest.mark.parametrize(
    ("filled", "fresh", "is_refused"),
    [(0.5, True, False), (0.88, True, True), (0.88, False, False), (0.94, False, True)],
)
async def test_large_commands_are_refused_new_entities_first_and_small_ones_go_on(
    filled: float, fresh: bool, is_refused: bool
):
    async with memory_bus(QUICK) as world, hosting(world) as host:
        world.blobs.most = ROOM
        await world.blobs.put(b"x" * round(ROOM * filled))

        large = await answered(host, "large", 400, fresh=fresh)
        small = await answered(host, "small", 10, fresh=True)

        assert (b'"type":"problem"' in large) is is_refused
        if is_refused:
            problem = decode(Problem, large)
            assert (problem.code, problem.retryable) == ("unavailable", True)
        assert b'"type":"problem"' not in small
        (shard,) = [owner.told() for owner in host._running.values()]
        assert (shard.serving, shard.epoch) == (True, 1)
