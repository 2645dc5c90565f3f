"""One tenant that fills the streams of all pushes out nothing but its own."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bus.config import QuotaTerms, Timing
from bus.connection import NatsAddress
from bus.fairness import Quotas
from bus.jetstream import NatsBus, open_bus
from bus.jetstream.shares import Shares
from bus.streams.spec import DEAD, EVENTS, LIVE
from tests.servers import local_server

pytestmark = pytest.mark.single_server

STREAM_BYTES = 2 * 1024**2
ALLOWED = STREAM_BYTES // 8
SMALL = Timing(
    stream_max_bytes=STREAM_BYTES, events_max_bytes=STREAM_BYTES, dead_max_bytes=STREAM_BYTES
)
TERMS = QuotaTerms(stream_bytes=ALLOWED, event_bytes=ALLOWED, dead_bytes=ALLOWED)
SUBJECTS = {
    LIVE: "cb.{tenant}.stream.e1",
    EVENTS: "cb.{tenant}.events.execution.completed.e1",
    DEAD: "_cb.dead.{tenant}.submit",
}


@pytest.fixture(scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[NatsBus]:
    directory: Path = tmp_path_factory.mktemp("small")
    async with local_server(directory) as server:
        address = NatsAddress(urls=server.urls, name="test")
        async with open_bus(address, durability=server.durability, timing=SMALL) as opened:
            yield opened


async def stored(bus: NatsBus, stream: str, subject: str) -> list[bytes]:
    return [each.data async for each in bus.stored(stream).read(subject, start=1)]


@pytest.mark.parametrize(
    ("stream", "size"), [(LIVE, 200), (LIVE, 40_000), (EVENTS, 1000), (DEAD, 40_000)]
)
async def test_a_flood_of_one_tenant_leaves_what_others_have_stored(
    bus: NatsBus, stream: str, size: int
):
    shares = Shares(bus.jetstream, bus.outbox, Quotas(TERMS), SMALL)
    calm, loud = (SUBJECTS[stream].format(tenant=name) for name in (f"calm{size}", "loud"))
    told, flood = [f"calm {number}".encode() for number in range(20)], 2 * STREAM_BYTES // size
    for data in told:
        await bus.outbox.post(calm, data)

    for number in range(flood):
        await bus.outbox.post(loud, str(number).encode().ljust(size))
        if number % (200_000 // size) == 0:
            await bus.outbox.flush(timeout=10)
            await shares.look()
    await bus.outbox.flush(timeout=10)

    assert await stored(bus, stream, calm) == told
    assert (await stored(bus, stream, loud))[-1].strip() == str(flood - 1).encode()
    used = {use.tenant: use.used for use in shares.uses()}
    assert 0 < used[f"calm{size}"] < used["loud"] <= STREAM_BYTES


async def test_a_tenant_that_is_alone_may_use_most_of_a_stream(bus: NatsBus):
    shares = Shares(bus.jetstream, bus.outbox, Quotas(TERMS), SMALL)
    await bus.jetstream.call(f"STREAM.PURGE.{LIVE}")
    for _ in range(10):
        await bus.outbox.post("cb.alone.stream.e1", b"x" * (ALLOWED // 2))
        await bus.outbox.flush(timeout=10)
        await shares.look()

    assert len(await stored(bus, LIVE, "cb.alone.stream.e1")) == 10
