"""What a worker says to an offer: yes once, the same to each copy, no to what comes late."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.fairness import Places, Turns
from bus.memory import MemoryBus, MemoryProcess, MemoryTransport, memory_bus
from bus.ports import Delivery
from bus.subjects import demand_subject, grant_subject, offer_subject
from bus.tasks import loop_time
from bus.work.grants import LAPSE_BEATS, OfferEndpoint, TakenItem
from schemas.fleet import (
    WORKER_SUBJECT,
    Demand,
    Grant,
    Held,
    InventoryRequest,
    Offer,
    OfferAnswer,
    Unused,
    WantedPlaces,
    WorkerAlive,
)
from tests.integration.waiting import until
from tests.virtual import VIRTUAL_TIME, Backend

TIMING = Timing(offer_seconds=0.5, taken_seconds=0.02, heartbeat_seconds=0.05)
LAPSE = LAPSE_BEATS * TIMING.heartbeat_seconds
ANSWERS = "answers"


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class World:
    """A desk with a place or more, an owner who makes offers, and what both hear."""

    def __init__(self, bus: MemoryProcess) -> None:
        self.bus = bus
        self.may = True
        self.begun: list[TakenItem] = []
        self.answers: list[bool] = []
        self.signs: list[WorkerAlive] = []
        self.grants: list[Grant] = []
        self.places = Places(Turns[None](2, per_tenant=1), capacity=2, lapse_seconds=LAPSE)
        self.endpoint = OfferEndpoint(
            "q", self.places, bus, TIMING, may=lambda _: self.may, begin=self.begun.append
        )

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["World"]:
        transport = self.bus.transport
        async with (
            transport.reception(ANSWERS, self._answered),
            transport.reception(WORKER_SUBJECT, self._alive),
            transport.reception(grant_subject("registry"), self._granted),
            self.endpoint.opened(),
        ):
            yield self

    async def tell(self, envelope: Offer | InventoryRequest | Unused) -> None:
        subject = offer_subject(self.endpoint.name)
        await self.bus.transport.publish(subject, encode(envelope), reply=ANSWERS)

    async def offer(
        self,
        name: str,
        *,
        tenant: str = "acme",
        late: float = 0.0,
        shard: str = "s",
        epoch: int = 1,
        grant: int = 0,
    ) -> None:
        at, raw = self.bus.clock() - timedelta(seconds=late), msgspec.Raw(b'{"n":1}')
        await self.tell(
            Offer(name=name, line=tenant, at=at, item=raw, shard=shard, epoch=epoch, grant=grant)
        )

    async def demand(
        self, *wanted: WantedPlaces, naming: dict[str, list[int]] | None = None
    ) -> None:
        demand = Demand(registry="registry", queue="q", wanted=list(wanted), naming=naming or {})
        await self.bus.transport.publish(demand_subject("q"), encode(demand))

    async def granted(self, count: int = 1) -> Grant:
        await until(lambda: len(self.grants) >= count)
        return self.grants[-1]

    async def hears(self, *answers: bool) -> None:
        await until(lambda: len(self.answers) >= len(answers))
        assert self.answers == list(answers)

    def _answered(self, delivery: Delivery) -> None:
        self.answers.append(decode(OfferAnswer, delivery.data).taken)

    def _alive(self, delivery: Delivery) -> None:
        self.signs.append(decode(WorkerAlive, delivery.data))

    def _granted(self, delivery: Delivery) -> None:
        self.grants.append(decode(Grant, delivery.data))


@pytest.fixture
async def shared() -> AsyncGenerator[MemoryBus]:
    async with memory_bus(TIMING) as bus:
        yield bus


@pytest.fixture
async def world(shared: MemoryBus) -> AsyncGenerator[World]:
    async with shared.process() as process, World(process).opened() as world:
        yield world


async def test_an_offer_is_begun_and_its_taking_told_if_the_result_is_not_sooner(world: World):
    await world.offer("e.1.1")

    await world.hears(True)
    assert [ticket.data for ticket in world.begun] == [b'{"n":1}']


async def test_a_result_on_its_way_tells_that_the_item_was_taken(world: World):
    await world.offer("e.1.1")
    await until(lambda: bool(world.begun))
    world.endpoint.reports(world.begun[0])

    await world.offer("without room")

    await world.hears(False)


async def test_a_copy_of_an_offer_is_answered_as_the_first_and_begun_once(world: World):
    await world.offer("e.1.1")
    await until(lambda: bool(world.begun))
    world.endpoint.ended(world.begun[0])
    world.places.leave("acme")

    await world.offer("e.1.1")

    await world.hears(True)
    assert len(world.begun) == 1


async def test_a_refusal_stands_though_there_is_room_by_now(world: World):
    world.may = False
    await world.offer("e.1.1")
    await world.hears(False)
    world.may = True

    await world.offer("e.1.1")

    await world.hears(False, False)
    assert world.begun == []


async def test_what_was_long_on_its_way_is_not_wanted_any_more(world: World):
    await world.offer("e.1.1", late=2 * TIMING.offer_seconds)

    await world.hears(False)
    assert world.begun == []


async def test_who_asks_whether_the_worker_lives_hears_so_and_whether_it_has_room(world: World):
    subject = offer_subject(world.endpoint.name)

    answer = await world.bus.transport.request(subject, b"", timeout=1.0)

    alive = decode(WorkerAlive, answer.data)
    assert alive == WorkerAlive(worker=world.endpoint.name, queue="q", room=2, leaving=False)


async def test_a_worker_gives_signs_of_life_and_its_last_one_says_that_it_leaves(world: World):
    await until(lambda: len(world.signs) > 1)

    await world.endpoint.leave()

    await until(lambda: world.signs[-1].leaving)
    assert not any(sign.leaving for sign in world.signs[:-1])


async def test_after_an_inventory_no_offer_of_an_earlier_epoch_of_that_shard_is_taken(world: World):
    call = InventoryRequest(shard="s", epoch=2)

    assert world.endpoint.fence(call) == Held(items=[], epoch=2)
    await world.offer("e.1.1", epoch=1)
    await world.hears(False)
    await world.offer("e.1.2", epoch=2)
    await world.offer("f.1.1", tenant="other", shard="other", epoch=1)
    await until(lambda: len(world.begun) == 2)
    assert world.endpoint.fence(msgspec.structs.replace(call, epoch=1)).epoch == 1
    await world.offer("e.1.1", epoch=1)
    await until(lambda: world.answers.count(False) == 2)


async def test_an_offer_of_a_later_epoch_says_that_the_earlier_is_past(world: World):
    await world.offer("e.1.1", epoch=2)
    await world.hears(True)
    await world.offer("e.1.2", tenant="other", epoch=1)
    await world.hears(True, False)


async def test_the_new_owner_of_a_shard_hears_which_of_its_items_are_held(world: World):
    await world.offer("e.1.1")
    await world.offer("f.1.1", tenant="other", shard="other")
    await until(lambda: len(world.begun) == 2)

    question = encode(InventoryRequest(shard="s", epoch=2))
    subject = offer_subject(world.endpoint.name)
    answer = await world.bus.transport.request(subject, question, timeout=1.0)

    assert decode(Held, answer.data) == Held(items=["e.1.1"], epoch=2)


async def test_a_worker_that_has_dropped_an_item_promises_nothing_any_more(world: World):
    await world.offer("e.1.1")
    await world.hears(True)
    world.endpoint.dropped(world.begun[0])

    assert world.endpoint.fence(InventoryRequest(shard="s", epoch=2)).epoch == 0


# Grants


async def test_what_waits_is_granted_a_free_place_which_its_offer_takes(world: World):
    await world.demand(WantedPlaces(line="acme", count=1))
    grant = await world.granted()
    await world.offer("unasked")
    await world.hears(False)
    await world.offer("e.1.1", grant=grant.number, late=2 * TIMING.offer_seconds)

    await world.hears(False, True)
    assert (grant.line, grant.worker) == ("acme", world.endpoint.name)
    assert [taken.name for taken in world.begun] == ["e.1.1"]


async def test_a_grant_is_used_once(world: World):
    await world.demand(WantedPlaces(line="acme", count=1))
    grant = await world.granted()
    await world.offer("e.1.1", grant=grant.number)
    await world.hears(True)
    world.endpoint.ended(world.begun[0])
    world.places.leave("acme")

    await world.offer("e.1.2", grant=grant.number)

    await world.hears(True, False)


async def test_a_grant_is_for_its_tenant_alone(world: World):
    await world.demand(WantedPlaces(line="acme", count=1))
    grant = await world.granted()
    await world.offer("e.1.1", tenant="other", grant=grant.number)
    await world.hears(False)


async def test_a_grant_lapses_and_its_place_is_free_again(world: World):
    await world.demand(WantedPlaces(line="acme", count=1))
    grant = await world.granted()
    await anyio.sleep(2 * LAPSE)
    await world.offer("e.1.1", grant=grant.number)
    await world.hears(False)
    await world.offer("unasked")
    await world.hears(False, True)


async def test_a_grant_for_which_a_commit_is_under_way_does_not_lapse(world: World):
    await world.demand(WantedPlaces(line="acme", count=1))
    grant = await world.granted()
    for _ in range(8):
        await anyio.sleep(LAPSE / 2)
        await world.demand(naming={world.endpoint.name: [grant.number]})
    await world.offer("e.1.1", grant=grant.number)
    await world.hears(True)


async def test_a_grant_lapses_when_the_bus_was_away(world: World):
    await world.demand(WantedPlaces(line="acme", count=1))
    grant = await world.granted()
    transport = world.bus.transport
    assert isinstance(transport, MemoryTransport)
    transport.lose()
    transport.find()
    await until(lambda: world.places.free == 2)
    await world.offer("e.1.1", grant=grant.number)
    await world.hears(False)


async def test_an_unused_grant_makes_its_place_free_for_others(world: World):
    world.places.take("taken")
    await world.demand(
        WantedPlaces(line="acme", count=1, age=5.0), WantedPlaces(line="other", count=1)
    )
    grant = await world.granted()
    await world.tell(Unused(grant=grant.number))
    other = await world.granted(2)
    assert (grant.line, other.line) == ("acme", "other")


async def test_what_was_refused_may_be_offered_again_by_a_grant(world: World):
    world.may = False
    await world.offer("e.1.1")
    await world.hears(False)
    world.may = True
    await world.demand(WantedPlaces(line="acme", count=1))
    grant = await world.granted()
    await world.offer("e.1.1", grant=grant.number)
    await world.hears(False, True)
    assert loop_time() < 2 * TIMING.offer_seconds
