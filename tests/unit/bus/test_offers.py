"""What a worker says to an offer: yes once, the same to each copy, no to what comes late."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.memory import MemoryProcess, memory_bus
from bus.offers import Desk
from bus.ports import Delivery, Ticket
from bus.subjects import offer_subject
from schemas.fleet import WORKER_SUBJECT, Offer, OfferAnswer, RollCall, WorkerAlive
from tests.integration.waiting import until
from tests.virtual import VIRTUAL_TIME, Backend

TIMING = Timing(offer_seconds=0.5, taken_seconds=0.02, heartbeat_seconds=0.05)
ANSWERS = "answers"


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class World:
    """A desk, an owner who makes offers, and what both hear."""

    def __init__(self, bus: MemoryProcess) -> None:
        self.bus = bus
        self.room = 1
        self.begun: list[Ticket] = []
        self.answers: list[bool] = []
        self.signs: list[WorkerAlive] = []
        self.desk = Desk("q", bus, TIMING, take=self._take, room=lambda: self.room > 0)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["World"]:
        async with (
            self.bus.transport.reception(ANSWERS, self._answered),
            self.bus.transport.reception(WORKER_SUBJECT, self._alive),
            self.desk.opened(),
        ):
            yield self

    async def offer(
        self, name: str, *, late: float = 0.0, shard: str = "s", epoch: int = 1
    ) -> None:
        at, raw = self.bus.clock() - timedelta(seconds=late), msgspec.Raw(b'{"n":1}')
        item = Offer(name=name, tenant="acme", at=at, item=raw, shard=shard, epoch=epoch)
        subject = offer_subject(self.desk.name)
        await self.bus.transport.publish(subject, encode(item), reply=ANSWERS)

    async def hears(self, *answers: bool) -> None:
        await until(lambda: len(self.answers) >= len(answers))
        assert self.answers == list(answers)

    def _take(self, tenant: str, ticket: Ticket) -> bool:
        assert tenant == "acme"
        if self.room < 1:
            return False
        self.room -= 1
        self.begun.append(ticket)
        return True

    def _answered(self, delivery: Delivery) -> None:
        self.answers.append(decode(OfferAnswer, delivery.data).taken)

    def _alive(self, delivery: Delivery) -> None:
        self.signs.append(decode(WorkerAlive, delivery.data))


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    async with (
        memory_bus(TIMING) as bus,
        bus.process() as process,
        World(process).opened() as world,
    ):
        yield world


async def test_an_offer_is_begun_and_its_taking_told_if_the_result_is_not_sooner(world: World):
    await world.offer("e.1.1")

    await world.hears(True)
    assert [ticket.data for ticket in world.begun] == [b'{"n":1}']


async def test_a_result_on_its_way_tells_that_the_item_was_taken(world: World):
    await world.offer("e.1.1")
    await until(lambda: bool(world.begun))
    world.desk.reports(world.begun[0])

    await world.offer("without room")

    await world.hears(False)


async def test_a_copy_of_an_offer_is_answered_as_the_first_and_begun_once(world: World):
    await world.offer("e.1.1")
    await until(lambda: bool(world.begun))
    await world.begun[0].ack()
    world.room = 1

    await world.offer("e.1.1")

    await world.hears(True)
    assert len(world.begun) == 1


async def test_a_refusal_stands_though_there_is_room_by_now(world: World):
    world.room = 0
    await world.offer("e.1.1")
    await world.hears(False)
    world.room = 1

    await world.offer("e.1.1")

    await world.hears(False, False)
    assert world.begun == []


async def test_what_was_long_on_its_way_is_not_wanted_any_more(world: World):
    await world.offer("e.1.1", late=2 * TIMING.offer_seconds)

    await world.hears(False)
    assert world.begun == []


async def test_who_asks_whether_the_worker_lives_hears_so_and_whether_it_has_room(world: World):
    subject = offer_subject(world.desk.name)

    answer = await world.bus.transport.request(subject, b"", timeout=1.0)

    alive = decode(WorkerAlive, answer.data)
    assert alive == WorkerAlive(worker=world.desk.name, queue="q", has_room=True, leaving=False)


async def test_a_worker_gives_signs_of_life_and_its_last_one_says_that_it_leaves(world: World):
    await until(lambda: len(world.signs) > 1)

    await world.desk.leave()

    await until(lambda: world.signs[-1].leaving)
    assert not any(sign.leaving for sign in world.signs[:-1])


async def test_an_item_that_is_given_back_lies_in_the_queue_and_must_be_claimed(world: World):
    await world.offer("e.1.1")
    await until(lambda: bool(world.begun))

    await world.begun[0].nak(0)

    async with world.bus.queue.pull("q", credit=lambda _: 1) as tickets:
        tenant, ticket = await anext(tickets)
        assert (tenant, ticket.data) == ("acme", b'{"n":1}')
        assert ticket.life != await world.bus.queue.generation()


async def test_after_a_roll_call_no_offer_of_an_earlier_epoch_of_that_shard_is_taken(world: World):
    world.room = 2
    call = RollCall(answer_to="anywhere", shard="s", epoch=2)

    assert world.desk.heed(call) == 2
    await world.offer("e.1.1", epoch=1)
    await world.hears(False)
    await world.offer("e.1.2", epoch=2)
    await world.offer("f.1.1", shard="other", epoch=1)
    await until(lambda: len(world.begun) == 2)
    assert world.desk.heed(msgspec.structs.replace(call, epoch=1)) == 1
    await world.offer("e.1.1", epoch=1)
    await until(lambda: world.answers.count(False) == 2)


async def test_a_worker_that_has_dropped_an_item_promises_nothing_any_more(world: World):
    await world.offer("e.1.1")
    await world.hears(True)
    await world.begun[0].drop("its owner refuses it")

    assert world.desk.heed(RollCall(answer_to="anywhere", shard="s", epoch=2)) == 0
