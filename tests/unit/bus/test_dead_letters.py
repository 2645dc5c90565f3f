"""A dead letter fits into a message of the bus, whoever lays it aside, and lies with its tenant."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError
from bus.membership import Membership
from bus.memory import MemoryBus, memory_bus
from bus.memory.outbox import MemoryOutbox
from bus.requests.dead_letters import fitting, post_letter
from bus.requests.rpc import Owners, command
from bus.shard import ShardHost
from bus.streams.spec import DEAD
from bus.subjects import matches, offer_subject
from bus.telemetry import metrics
from bus.work.worker import Worker
from schemas.fleet import Alive, Offer
from schemas.journal import CommandEnvelope
from schemas.letters import DeadLetter, dead_lettered, undelivered
from schemas.work import Granted
from tests.integration.waiting import until
from tests.unit.bus.shard_entity import ENTITY, Break
from tests.unit.bus.test_worker import Asked, Begun

AT = datetime(2026, 1, 2, tzinfo=UTC)
LEAST_PAYLOAD = 512 * 1024
"""Below it no server of a fleet is set."""


def letter(body: str, reason: str = "r") -> DeadLetter:
    return DeadLetter(id="1", subject="s", reason=reason, at=AT, deliveries=1, body=body)


@given(
    st.sampled_from(["x", "\x00", "é", '"', "\\", "\U0001f600"]),
    st.integers(0, 300_000),
    st.integers(LEAST_PAYLOAD, 2 * LEAST_PAYLOAD),
)
def test_a_letter_fits_whatever_is_in_it(character: str, count: int, most: int):
    whole = letter(character * count, reason=character * (count // 3))
    data = fitting(whole, most)
    kept = decode(DeadLetter, data)

    assert len(data) < most
    assert whole.body.startswith(kept.body)
    assert kept == whole or str(count) in kept.reason


def test_a_letter_that_fits_stays_as_it_is():
    assert fitting(letter("small"), 8000) == encode(letter("small"))


async def test_a_letter_is_counted_by_its_kind_and_stored_once(world: MemoryBus):
    counted = metrics.DEAD_LETTERS.at("command.account")
    before = counted._value.get()
    envelope = CommandEnvelope(id="1", tenant="acme", key="k", body=msgspec.Raw(b"{}"))
    async with world.process() as bus:
        for _ in range(2):
            await post_letter(bus.outbox, undelivered(envelope, "account", "r", AT))
        await bus.outbox.flush(timeout=5)
    assert counted._value.get() - before == 2
    assert len(list(world.store.everything(DEAD))) == 1


def test_a_command_is_laid_aside_as_it_can_be_handed_in_again():
    envelope = CommandEnvelope(
        id="1", tenant="acme", key="k", body=msgspec.Raw(b"{}"), digest="d", fresh=True, deadline=AT
    )
    kept = undelivered(envelope, "account", "r", AT)
    assert isinstance(kept.body, DeadLetter)
    again = decode(CommandEnvelope, kept.body.body.encode())
    assert again == msgspec.structs.replace(envelope, fresh=False, deadline=None, redriven=True)


@pytest.mark.parametrize("tenant", ["acme", "$platform"])
def test_letters_of_a_tenant_lie_under_its_name(tenant: str):
    kept = dead_lettered(letter(""), tenant, "command", "account")
    assert matches(f"_cb.dead.{tenant}.>", kept.subject)


@pytest.mark.parametrize("tenant", ["", "a b", "a.b", "*", ">", "\r\n", "é", "x" * 65])
def test_no_name_that_damage_shows_gets_into_a_subject(tenant: str):
    kept = dead_lettered(letter(""), tenant, "corrupt", "execution")
    assert kept.subject == "_cb.dead._.corrupt.execution"


# Whoever lays a letter aside

MOST = 600_000


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[MemoryBus]:
    monkeypatch.setattr(MemoryOutbox, "max_payload", MOST)
    async with memory_bus(Timing(heartbeat_seconds=0.02, join_seconds=0.06)) as bus:
        yield bus


async def died(world: MemoryBus) -> tuple[str, bytes]:
    await until(lambda: bool(list(world.store.everything(DEAD))))
    ((subject, stored),) = world.store.everything(DEAD)
    return subject, stored.data


async def test_an_item_that_is_none_is_laid_aside_however_large_it_is(world: MemoryBus):
    subject, data = "", b""
    async with world.process() as bus, anyio.create_task_group() as tasks:
        worker = Worker(Begun().job(), Asked(Granted()).of, "me", bus, Timing(), capacity=2)
        tasks.start_soon(worker.run)
        await until(lambda: worker.ready)
        raw = msgspec.Raw(encode("x" * MOST))
        offer = Offer(name="item", line="acme", at=bus.clock(), item=raw)
        await bus.transport.publish(offer_subject(worker._endpoint.name), encode(offer))
        subject, data = await died(world)
        tasks.cancel_scope.cancel()

    assert subject == "_cb.dead.acme.work.q"
    assert len(data) < MOST
    assert f"the body has {MOST + 2} characters" in decode(DeadLetter, data).reason


async def test_a_command_on_which_a_core_raises_is_laid_aside_however_large_it_is(
    world: MemoryBus,
):
    alive = Alive(process="one", actor="test", entities=["counter"])
    subject, data = "", b""
    async with world.process("one") as bus, anyio.create_task_group() as tasks:
        membership = Membership(bus.transport, lambda: alive, Timing())
        host = ShardHost(ENTITY, 1, "one", membership, bus, Timing())
        tasks.start_soon(membership.run)
        tasks.start_soon(host.run)
        await until(lambda: host.owned == [0])
        owners = Owners(bus.transport, "counter", 1, Timing())
        with pytest.raises(ProblemError, match="could not be decided"):
            await owners.ask(command("c", "acme", "c", Break(where="x" * MOST)), timeout=8)
        subject, data = await died(world)
        tasks.cancel_scope.cancel()

    assert subject == "_cb.dead.acme.command.counter"
    assert len(data) < MOST
