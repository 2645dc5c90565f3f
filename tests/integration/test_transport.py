"""Plain messages and requests, on both transports."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import pytest

from bus.errors import CallboardError, DeadlineError, ProblemError, UnavailableError, problem
from bus.ports import Delivery
from bus.testing import NatsWorld, Process, World
from tests.integration.waiting import SECONDS, Inbox, until


async def test_messages_arrive_in_the_order_in_which_they_were_sent(bus: Process, fresh: str):
    inbox = Inbox()

    async with bus.transport.subscription(f"t.{fresh}", inbox.take):
        for number in range(100):
            await bus.transport.publish(f"t.{fresh}", str(number).encode())
        await inbox.holds(100)

    assert inbox.texts == [str(number) for number in range(100)]


async def test_a_message_carries_its_subject_reply_and_headers(bus: Process, fresh: str):
    inbox = Inbox()

    async with bus.transport.subscription(f"t.{fresh}.>", inbox.take):
        await bus.transport.publish(
            f"t.{fresh}.a.b", b"x", reply=f"r.{fresh}", headers={"traceparent": "00-1"}
        )
        await inbox.holds(1)

    assert inbox.deliveries == [
        Delivery(f"t.{fresh}.a.b", b"x", f"r.{fresh}", {"traceparent": "00-1"})
    ]


async def test_every_subscriber_gets_a_message_but_of_a_queue_group_only_one(
    bus: Process, fresh: str
):
    alone, one, other = Inbox(), Inbox(), Inbox()
    transport, subject = bus.transport, f"t.{fresh}"

    async with (
        transport.subscription(subject, alone.take),
        transport.subscription(subject, one.take, queue="group"),
        transport.subscription("t.*", other.take, queue="group"),
    ):
        for number in range(40):
            await transport.publish(subject, str(number).encode())
        await alone.holds(40)
        await until(lambda: len(one.deliveries) + len(other.deliveries) == 40)

    shared = sorted(one.texts + other.texts, key=int)
    assert shared == alone.texts


async def test_a_request_is_answered(bus: Process, fresh: str):
    async def answer(delivery: Delivery) -> None:
        await bus.transport.publish(delivery.reply, b"hello " + delivery.data)

    async with bus.transport.subscription(f"t.{fresh}", answer, queue="q"):
        replies = [
            await bus.transport.request(f"t.{fresh}", name, timeout=5) for name in (b"a", b"b")
        ]

    assert [reply.data for reply in replies] == [b"hello a", b"hello b"]


async def test_a_request_to_nobody_fails_at_once(bus: Process, fresh: str):
    with anyio.fail_after(5), pytest.raises(UnavailableError):
        await bus.transport.request(f"t.{fresh}", b"", timeout=60)


async def test_a_request_without_an_answer_ends_at_its_deadline(bus: Process, fresh: str):
    async with bus.transport.subscription(f"t.{fresh}", Inbox().take):
        with pytest.raises(DeadlineError) as caught:
            await bus.transport.request(f"t.{fresh}", b"", timeout=0.05)

    assert (caught.value.subject, caught.value.seconds) == (f"t.{fresh}", 0.05)


async def test_the_answer_may_be_an_empty_message(bus: Process, fresh: str):
    async def answer(delivery: Delivery) -> None:
        await bus.transport.publish(delivery.reply, b"")

    async with bus.transport.subscription(f"t.{fresh}", answer):
        reply = await bus.transport.request(f"t.{fresh}", b"x", timeout=5)

    assert reply.data == b""


async def test_a_handler_takes_one_message_after_the_other(bus: Process, fresh: str):
    running, most, done = 0, 0, Inbox()

    async def handle(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.001)
        running -= 1
        await done.take(delivery)

    async with bus.transport.subscription(f"t.{fresh}", handle):
        for number in range(20):
            await bus.transport.publish(f"t.{fresh}", str(number).encode())
        await done.holds(20)

    assert (most, done.texts) == (1, [str(number) for number in range(20)])


async def test_a_handler_that_refuses_a_message_gets_the_next_one(bus: Process, fresh: str):
    inbox = Inbox()

    async def handle(delivery: Delivery) -> None:
        if delivery.data == b"bad":
            raise problem("validation", "bad")
        await inbox.take(delivery)

    async with bus.transport.subscription(f"t.{fresh}", handle):
        for data in (b"1", b"bad", b"2"):
            await bus.transport.publish(f"t.{fresh}", data)
        await inbox.holds(2)

    assert inbox.texts == ["1", "2"]


async def test_what_has_arrived_is_handled_before_a_subscription_ends(bus: Process, fresh: str):
    inbox, gate = Inbox(), anyio.Event()

    async def handle(delivery: Delivery) -> None:
        await gate.wait()
        await inbox.take(delivery)

    async with anyio.create_task_group() as tasks:
        async with bus.transport.subscription(f"t.{fresh}", handle):
            for number in range(10):
                await bus.transport.publish(f"t.{fresh}", str(number).encode())
            tasks.start_soon(_open_soon, gate)

        assert inbox.texts == [str(number) for number in range(10)]


async def _open_soon(gate: anyio.Event) -> None:
    await anyio.lowlevel.checkpoint()
    gate.set()


async def test_after_a_subscription_has_ended_nobody_listens(bus: Process, fresh: str):
    async with bus.transport.subscription(f"t.{fresh}", Inbox().take):
        pass

    with pytest.raises(UnavailableError):
        await bus.transport.request(f"t.{fresh}", b"", timeout=5)


async def test_a_subscription_that_is_cancelled_stops_its_handler(bus: Process, fresh: str):
    started, ended = anyio.Event(), anyio.Event()

    async def handle(_: Delivery) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with (
        anyio.create_task_group() as tasks,
        bus.transport.subscription(f"t.{fresh}", handle),
    ):
        await bus.transport.publish(f"t.{fresh}", b"")
        with anyio.fail_after(5):
            await started.wait()
        tasks.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()

    with anyio.move_on_after(5):
        await ended.wait()
    assert (started.is_set(), ended.is_set()) == (True, True)


async def test_two_processes_hear_each_other(world: World, fresh: str):
    inbox = Inbox()

    async with (
        world.process("one") as one,
        world.process("two") as two,
        two.transport.subscription(f"t.{fresh}", inbox.take),
    ):
        # In a cluster another server learns of a subscription a moment later.
        with anyio.fail_after(SECONDS):
            while not inbox.deliveries:
                await one.transport.publish(f"t.{fresh}", b"x")
                await anyio.sleep(0.005)

    assert set(inbox.texts) == {"x"}


# Loss and return of the bus


async def test_subscriptions_survive_a_restart_of_the_bus(mortal_world: World):
    inbox, back = Inbox(), anyio.Event()

    async def note() -> None:
        back.set()

    async with mortal_world.process() as bus:
        bus.transport.on_reconnect(note)
        async with bus.transport.subscription("t.x", inbox.take):
            await mortal_world.restart()
            with anyio.fail_after(10):
                await back.wait()
            await bus.transport.publish("t.x", b"again")
            await inbox.holds(1)

    assert inbox.texts == ["again"]


async def test_reconnection_is_told_in_order_even_if_one_callback_fails(mortal_world: World):
    told: list[str] = []
    last = anyio.Event()

    async def first() -> None:
        told.append("first")

    async def forgotten() -> None:
        told.append("forgotten")

    async def third() -> None:
        told.append("third")
        last.set()

    async with mortal_world.process() as bus:
        bus.transport.on_reconnect(first)
        forget = bus.transport.on_reconnect(forgotten)
        bus.transport.on_reconnect(third)
        forget()
        await mortal_world.restart()
        with anyio.fail_after(10):
            await last.wait()

    assert told == ["first", "third"]


async def test_a_failing_reconnect_callback_does_not_keep_the_others_from_being_told(
    own_nats: NatsWorld,
):
    told = anyio.Event()

    async def fail() -> None:
        raise UnavailableError("x", "not yet")

    async def note() -> None:
        told.set()

    async with own_nats.process() as bus:
        bus.transport.on_reconnect(fail)
        bus.transport.on_reconnect(note)
        await own_nats.restart()
        with anyio.move_on_after(10):
            await told.wait()

    assert told.is_set()


async def test_a_request_whose_connection_is_lost_does_not_wait_for_its_deadline(
    own_nats: NatsWorld,
):
    asked = Inbox()

    async with own_nats.process() as bus:
        with anyio.fail_after(10):
            async with bus.transport.subscription("t.x", asked.take):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_expect_unavailable, bus, "t.x")
                    await asked.holds(1)
                    await own_nats.server.kill()
                await _expect_unavailable(bus, "t.x")
        await own_nats.server.start()


async def _expect_unavailable(bus: Process, subject: str) -> None:
    with pytest.raises(UnavailableError):
        await bus.transport.request(subject, b"", timeout=60)


async def test_while_the_bus_is_away_a_bounded_amount_waits_and_more_is_refused(
    own_nats: NatsWorld,
):
    async with own_nats.process() as bus:
        await own_nats.server.kill()
        await until(lambda: not bus.nats.connected)
        refused = 0
        for _ in range(64):
            try:
                await bus.transport.publish("t.x", bytes(64 * 1024))
            except UnavailableError:
                refused += 1
        await own_nats.server.start()

    assert 30 <= refused <= 40


async def test_a_message_beyond_the_limit_of_the_bus_is_refused(shared_nats: NatsWorld):
    async with shared_nats.process() as bus:
        with pytest.raises(ProblemError) as caught:
            await bus.transport.publish("t.x", bytes(17 * 1024**2))

    assert caught.value.problem.code == "validation"


async def test_a_closed_connection_is_unavailable(shared_nats: NatsWorld):
    async with shared_nats.process() as bus:
        pass

    with pytest.raises(UnavailableError):
        await bus.transport.publish("t.x", b"")


async def test_an_error_of_the_body_comes_out_as_it_was_raised(shared_nats: NatsWorld):
    with pytest.raises(CallboardError) as caught:
        async with shared_nats.process():
            raise problem("conflict", "mine")

    assert str(caught.value) == "conflict: mine"


async def test_a_generator_may_stay_subscribed_while_its_reader_sets_deadlines(bus: Process):
    async def numbers() -> AsyncGenerator[int]:
        async with bus.transport.subscription("s", Inbox().take):
            yield 1
            yield 2

    async with aclosing(numbers()) as found:
        for number in (1, 2):
            with anyio.fail_after(5):
                assert await anext(found) == number
