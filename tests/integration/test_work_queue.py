"""Work items, each in one pair of hands at a time, on both queues."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from bus.config import Timing
from bus.errors import UnavailableError
from bus.jetstream import NatsBus
from bus.ports import Ticket
from bus.testing import NatsWorld, Process, Server, World, memory_bus
from tests.integration.waiting import SECONDS, until

Tickets = AsyncIterator[tuple[str, Ticket]]


PATIENT = Timing(ack_wait_seconds=1.5)
"""Whoever says in time that it works on an item does so three times within this."""


@pytest.fixture(params=["memory", "nats"])
async def patient(request: pytest.FixtureRequest, shared_server: Server) -> AsyncGenerator[Process]:
    """A bus that waits longer than others in tests for a sign of life."""
    async with AsyncExitStack() as stack:
        world: World = (
            NatsWorld(shared_server, ("execution", "account"), timing=PATIENT)
            if request.param == "nats"
            else await stack.enter_async_context(memory_bus(PATIENT))
        )
        yield await stack.enter_async_context(world.process("patient"))


class Hands:
    """A worker that takes what its credit allows and keeps it until told otherwise."""

    def __init__(self, credit: int = 100) -> None:
        self.limit = credit
        self.taken: list[tuple[str, Ticket]] = []

    def credit(self, tenant: str) -> int:
        return self.limit - sum(1 for name, _ in self.taken if name == tenant)

    async def take_all(self, tickets: Tickets) -> None:
        async for entry in tickets:
            self.taken.append(entry)

    async def holds(self, count: int) -> None:
        await until(lambda: len(self.taken) >= count)

    async def let_go(self) -> None:
        while self.taken:
            _, ticket = self.taken.pop()
            await ticket.ack()

    @property
    def texts(self) -> list[str]:
        return [ticket.data.decode() for _, ticket in self.taken]


@asynccontextmanager
async def working(bus: Process, queue: str, credit: int = 100) -> AsyncGenerator[Hands]:
    hands = Hands(credit)
    async with (
        bus.queue.pull(queue, credit=hands.credit) as tickets,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(hands.take_all, tickets)
        yield hands
        tasks.cancel_scope.cancel()


async def one_of(tickets: Tickets) -> Ticket:
    with anyio.fail_after(SECONDS):
        _, ticket = await anext(aiter(tickets))
    return ticket


def always(count: int) -> Callable[[str], int]:
    return lambda _: count


async def test_items_reach_a_worker_with_their_tenant_whether_sent_before_or_after_it_came(
    bus: Process, fresh: str
):
    await bus.queue.send(fresh, "acme", b"before", item="1")
    async with working(bus, fresh) as hands:
        await bus.queue.send(fresh, "acme", b"after", item="2")
        await bus.queue.send(fresh, "other", b"of another tenant", item="3")
        await hands.holds(3)

    assert sorted((tenant, ticket.data) for tenant, ticket in hands.taken) == [
        ("acme", b"after"),
        ("acme", b"before"),
        ("other", b"of another tenant"),
    ]


async def test_an_item_knows_its_deliveries_and_its_age(bus: Process, fresh: str):
    await bus.queue.send(fresh, "acme", b"x", item="1")
    async with bus.queue.pull(fresh, credit=always(1)) as tickets:
        ticket = await one_of(tickets)

        assert (ticket.data, ticket.deliveries) == (b"x", 1)
        assert 0 <= ticket.age < SECONDS
        await ticket.ack()


async def test_queues_are_apart(bus: Process, fresh: str):
    await bus.queue.send(f"{fresh}-a", "acme", b"a", item="1")
    await bus.queue.send(f"{fresh}-b", "acme", b"b", item="2")
    async with working(bus, f"{fresh}-b") as hands:
        await hands.holds(1)

    assert hands.texts == ["b"]


async def test_a_queue_and_a_tenant_are_not_confused_by_their_hyphens(bus: Process, fresh: str):
    await bus.queue.send(f"{fresh}-a", "b-c", b"one", item="1")
    await bus.queue.send(f"{fresh}-a-b", "c", b"two", item="1")
    async with working(bus, f"{fresh}-a") as one, working(bus, f"{fresh}-a-b") as two:
        await one.holds(1)
        await two.holds(1)

    assert (one.texts, two.texts) == (["one"], ["two"])


async def test_a_repeated_item_is_swallowed_even_after_the_first_was_done(bus: Process, fresh: str):
    async with bus.queue.pull(fresh, credit=always(10)) as tickets:
        await bus.queue.send(fresh, "acme", b"first", item="1")
        ticket = await one_of(tickets)
        await ticket.ack()
        await bus.queue.send(fresh, "acme", b"again", item="1")
        await bus.queue.send(fresh, "acme", b"next", item="2")

        assert (await one_of(tickets)).data == b"next"


async def test_the_same_id_of_another_tenant_or_queue_is_another_item(bus: Process, fresh: str):
    await bus.queue.send(fresh, "acme", b"1", item="same")
    await bus.queue.send(fresh, "other", b"2", item="same")
    await bus.queue.send(f"{fresh}-b", "acme", b"3", item="same")
    async with working(bus, fresh) as hands, working(bus, f"{fresh}-b") as others:
        await hands.holds(2)
        await others.holds(1)

    assert sorted(hands.texts) + others.texts == ["1", "2", "3"]


async def test_an_item_whose_worker_is_gone_is_handed_out_again(bus: Process, fresh: str):
    await bus.queue.send(fresh, "acme", b"x", item="1")
    async with bus.queue.pull(fresh, credit=always(1)) as tickets:
        first = await one_of(tickets)
    async with bus.queue.pull(fresh, credit=always(1)) as tickets:
        second = await one_of(tickets)

    assert (first.deliveries, second.deliveries) == (1, 2)


async def test_an_item_that_is_worked_on_is_not_handed_out_again(patient: Process, fresh: str):
    bus = patient
    await bus.queue.send(fresh, "acme", b"x", item="1")
    async with working(bus, fresh) as hands:
        await hands.holds(1)
        for _ in range(6):
            await anyio.sleep(PATIENT.ack_wait_seconds / 4)
            await hands.taken[0][1].in_progress()
        await bus.queue.send(fresh, "acme", b"marker", item="2")
        await until(lambda: "marker" in hands.texts)

    assert hands.texts == ["x", "marker"]


async def test_an_item_given_back_is_handed_out_again_at_once_or_after_a_delay(
    bus: Process, fresh: str
):
    await bus.queue.send(fresh, "acme", b"x", item="1")
    async with bus.queue.pull(fresh, credit=always(1)) as tickets:
        deliveries: list[int] = []
        for delay in (0, 0.05, 0):
            ticket = await one_of(tickets)
            deliveries.append(ticket.deliveries)
            await ticket.nak(delay)

    assert deliveries == [1, 2, 3]


async def test_an_item_that_is_dropped_does_not_come_back(bus: Process, fresh: str):
    await bus.queue.send(fresh, "acme", b"poison", item="1")
    async with bus.queue.pull(fresh, credit=always(1)) as tickets:
        await (await one_of(tickets)).drop("cannot be\nread")
        await anyio.sleep(0.7)
        await bus.queue.send(fresh, "acme", b"next", item="2")

        assert (await one_of(tickets)).data == b"next"


async def test_without_credit_items_wait_for_another_worker(bus: Process, fresh: str):
    async with working(bus, fresh, credit=0) as busy:
        await bus.queue.send(fresh, "acme", b"x", item="1")
        async with working(bus, fresh) as idle:
            await idle.holds(1)

    assert (busy.texts, idle.texts) == ([], ["x"])


async def test_no_more_items_come_than_credit_was_given_and_a_finished_one_makes_room(
    bus: Process, fresh: str
):
    for number in range(6):
        await bus.queue.send(fresh, "acme", str(number).encode(), item=str(number))
    done: list[str] = []
    async with working(bus, fresh, credit=2) as hands:
        while len(done) < 6:
            await hands.holds(1)
            assert len(hands.taken) <= 2
            tenant, ticket = hands.taken.pop(0)
            assert tenant == "acme"
            done.append(ticket.data.decode())
            await ticket.ack()

    assert sorted(done) == [str(number) for number in range(6)]


async def test_credit_that_comes_by_itself_is_noticed(bus: Process, fresh: str):
    await bus.queue.send(fresh, "acme", b"x", item="1")
    async with working(bus, fresh, credit=0) as hands:
        await anyio.sleep(0.2)
        hands.limit = 1
        await hands.holds(1)

    assert hands.texts == ["x"]


async def test_every_item_goes_to_one_of_several_workers(world: World, fresh: str):
    items = {str(number) for number in range(200)}
    async with (
        world.process("one") as one,
        world.process("two") as two,
        working(one, fresh, 300) as first,
        working(two, fresh, 300) as second,
    ):
        for name in items:
            await one.queue.send(fresh, f"tenant{int(name) % 3}", name.encode(), item=name)

        def handed_out() -> list[str]:
            """Leave out what a slow machine was given again before it let go."""
            taken = first.taken + second.taken
            return [ticket.data.decode() for _, ticket in taken if ticket.deliveries == 1]

        await until(lambda: len(handed_out()) >= len(items))
        texts = handed_out()
        await first.let_go()
        await second.let_go()

    assert sorted(texts) == sorted(items)


async def test_one_life_of_a_queue_has_one_name(world: World):
    async with world.process("one") as one, world.process("two") as two:
        assert await one.queue.generation() == await two.queue.generation()


@pytest.mark.single_server
async def test_after_a_restart_of_the_bus_the_queue_has_another_name_and_goes_on(
    mortal_world: World,
):
    async with mortal_world.process() as bus, working(bus, "q") as hands:
        before = await bus.queue.generation()
        await bus.queue.send("q", "acme", b"1", item="1")
        await hands.holds(1)
        await mortal_world.restart()
        await until_sent(bus, b"1", "1")
        await hands.holds(2)
        after = await bus.queue.generation()

    assert before != after
    assert hands.texts == ["1", "1"]


@pytest.mark.single_server
async def test_a_late_acknowledgement_from_an_earlier_life_of_the_bus_removes_nothing(
    mortal_world: World,
):
    async with mortal_world.process() as bus, working(bus, "q") as hands:
        await bus.queue.send("q", "acme", b"1", item="1")
        await hands.holds(1)
        await mortal_world.restart()
        await until_sent(bus, b"2", "2")
        await hands.holds(2)
        await hands.taken[0][1].ack()
        await hands.holds(3)

    assert hands.texts == ["1", "2", "2"]


async def until_sent(bus: Process, data: bytes, item: str) -> None:
    with anyio.fail_after(SECONDS):
        while True:
            try:
                await bus.queue.send("q", "acme", data, item=item)
            except UnavailableError:
                await anyio.sleep(0.02)
            else:
                return


# Only on NATS


async def test_without_a_bus_sending_and_the_generation_are_unavailable(own_nats: NatsWorld):
    async with own_nats.process() as bus:
        await own_nats.server.kill()
        await until(lambda: not bus.nats.connected)
        with pytest.raises(UnavailableError):
            await bus.queue.send("q", "acme", b"", item="1")
        with pytest.raises(UnavailableError):
            await bus.queue.generation()
        await own_nats.server.start()


async def test_a_consumer_that_was_removed_is_made_again(shared_nats: NatsWorld, fresh: str):
    async with shared_nats.process() as bus, working(bus, fresh) as hands:
        await bus.queue.send(fresh, "acme", b"1", item="1")
        await hands.holds(1)
        await bus.jetstream.call(f"CONSUMER.DELETE.WORK.{fresh}:acme")
        await hands.taken.pop()[1].ack()
        await bus.queue.send(fresh, "acme", b"2", item="2")
        await until(lambda: "2" in hands.texts)


async def test_a_worker_that_can_take_no_more_lets_go_of_what_it_had_asked_for(
    shared_nats: NatsWorld, fresh: str
):
    async with (
        shared_nats.process("one") as one,
        shared_nats.process("two") as two,
        working(one, fresh, credit=100) as tired,
    ):
        await one.queue.send(fresh, "acme", b"first", item="first")
        await tired.holds(1)
        await tired.let_go()
        await _until_requests_stand(one, f"{fresh}:acme", some=True)
        tired.limit = 0
        await _until_requests_stand(one, f"{fresh}:acme", some=False)
        async with working(two, fresh) as awake:
            for number in range(20):
                await one.queue.send(fresh, "acme", b"", item=str(number))
            await awake.holds(20)

        assert tired.taken == []


async def test_what_was_under_way_to_a_worker_that_stops_goes_to_another_at_once(
    shared_nats: NatsWorld, fresh: str
):
    async with shared_nats.process("one") as one, shared_nats.process("two") as two:
        async with one.queue.pull(fresh, credit=always(100)):
            for number in range(50):
                await two.queue.send(fresh, "acme", str(number).encode(), item=str(number))
        async with working(two, fresh) as hands:
            await hands.holds(50)

    assert sorted(hands.texts, key=int) == [str(number) for number in range(50)]


async def _until_requests_stand(bus: NatsBus, consumer: str, *, some: bool) -> None:
    with anyio.fail_after(SECONDS):
        while True:
            info = await bus.jetstream.call(f"CONSUMER.INFO.WORK.{consumer}")
            if (info["num_waiting"] > 0) is some:
                return


async def test_a_tenant_without_work_costs_nothing_until_it_has_some_again(
    shared_nats: NatsWorld, fresh: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bus.jetstream.lane.IDLE_SECONDS", 0.5)
    monkeypatch.setattr("bus.jetstream.puller.EXPIRY_SECONDS", 0.4)
    monkeypatch.setattr("bus.jetstream.work_queue.ANNOUNCE_SECONDS", 0.1)
    asked: list[str] = []
    hands = Hands()

    def credit(tenant: str) -> int:
        asked.append(tenant)
        return hands.credit(tenant)

    tenants = {f"t{number}" for number in range(50)}
    async with (
        shared_nats.process() as bus,
        bus.queue.pull(fresh, credit=credit) as tickets,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(hands.take_all, tickets)
        for tenant in tenants:
            await bus.queue.send(fresh, tenant, b"", item="first")
        await hands.holds(len(tenants))
        await hands.let_go()
        assert set(asked) == tenants

        async def is_quiet() -> bool:
            asked.clear()
            await anyio.sleep(0.5)
            return not asked

        with anyio.fail_after(SECONDS):
            while not await is_quiet():
                pass

        await bus.queue.send(fresh, "t7", b"", item="second")
        await hands.holds(1)
        assert set(asked) == {"t7"}
        tasks.cancel_scope.cancel()
