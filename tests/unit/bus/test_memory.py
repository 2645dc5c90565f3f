"""What only the bus in memory can do: faults by design, and a killed server without a server."""

import anyio
import pytest

from bus.config import Timing
from bus.errors import DeadlineError
from bus.memory import memory_bus
from bus.ports import Delivery
from bus.streams.spec import DEAD, EVENTS, LIVE

SECONDS = 5.0


async def test_fate_says_how_often_and_when_a_message_arrives():
    arrived: list[str] = []
    complete = anyio.Event()
    fates = {"t.lost": (), "t.twice": (0.0, 1.0), "t.late": (0.5,)}

    async def take(delivery: Delivery) -> None:
        arrived.append(delivery.subject)
        if len(arrived) == 3:
            complete.set()

    async with (
        memory_bus(fate=lambda subject, _sender, _receiver: fates[subject]) as bus,
        bus.transport.subscription("t.*", take),
    ):
        for subject in fates:
            await bus.transport.publish(subject, b"")
        with anyio.fail_after(SECONDS):
            await complete.wait()

    assert arrived == ["t.twice", "t.late", "t.twice"]


async def test_a_lost_answer_ends_a_request_at_its_deadline():
    async def answer(delivery: Delivery) -> None:
        await bus.transport.publish(delivery.reply, b"")

    async with (
        memory_bus(fate=lambda subject, *_: () if "INBOX" in subject else (0.0,)) as bus,
        bus.transport.subscription("t.a", answer),
    ):
        with pytest.raises(DeadlineError):
            await bus.transport.request("t.a", b"", timeout=0.05)


async def test_a_restart_loses_the_newest_lazy_messages_and_keeps_what_is_synced():
    async with memory_bus(Timing(resend_window_seconds=0.0)) as bus, bus.process() as process:
        for subject in ("cb.t.stream.e1", "_cb.dead.t.submit"):
            await process.outbox.post(subject, b"x")
        await bus.restart(lost_seconds=60)

        kept = {
            name: await process.stored(name).last(subject) is not None
            for name, subject in (
                (LIVE, "cb.t.stream.e1"),
                (DEAD, "_cb.dead.t.submit"),
            )
        }

    assert kept == {LIVE: False, DEAD: True}


async def test_a_process_that_is_gone_sends_nothing_again():
    async with memory_bus() as bus:
        async with bus.process() as process:
            await process.outbox.post("cb.t.events.a.b.c", b"x")
        await bus.restart(lost_seconds=60)

        async with bus.process() as process:
            assert await process.stored(EVENTS).last("cb.t.events.a.b.c") is None


async def test_a_defect_in_a_handler_ends_the_bus():
    async def fail(_: Delivery) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with memory_bus() as bus, bus.transport.subscription("t.a", fail):
            await bus.transport.publish("t.a", b"")
            await anyio.sleep(SECONDS)

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run()
