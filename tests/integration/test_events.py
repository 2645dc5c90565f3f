"""Stored facts are followed from a moment on by several processes together."""

from datetime import datetime

import anyio

from bus.config import Timing
from bus.requests.events import EventReader, StoredEvent
from bus.streams.spec import EVENTS
from bus.testing import NatsWorld
from tests.integration.waiting import until


async def test_facts_come_from_a_moment_on_to_one_of_many_until_they_are_done_with(
    shared_nats: NatsWorld, fresh: str
):
    taken: list[tuple[str, StoredEvent]] = []
    subject = f"cb.{fresh}.events.lead.scored"

    async with shared_nats.process("a") as one, shared_nats.process("b") as other:

        async def post(number: int) -> None:
            await one.outbox.post(subject, str(number).encode(), message_id=f"{fresh}.{number}")
            await one.outbox.flush(timeout=10)

        def reader(name: str, since: datetime) -> EventReader:
            async def take(event: StoredEvent) -> float | None:
                taken.append((name, event))
                return 0.1 if event.data == b"3" and event.delivered == 1 else None

            # Another moment than that of the first one changes nothing: they read as one.
            bus = one if name == "a" else other
            return EventReader(EVENTS, f"t-{fresh}", subject, take, bus, Timing(), since)

        await post(1)
        await anyio.sleep(0.05)
        since = one.clock()
        await anyio.sleep(0.05)
        await post(2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader("a", since).run)
            await until(lambda: len(taken) == 1)
            tasks.start_soon(reader("b", one.clock()).run)
            for number in range(3, 30):
                await post(number)
            await until(lambda: len(taken) == 29)
            tasks.cancel_scope.cancel()

    numbers = sorted(int(event.data) for _, event in taken)
    assert numbers == sorted([*range(2, 30), 3])
    assert [event.delivered for _, event in taken if event.data == b"3"] == [1, 2]
    (_, first), *_ = taken
    assert first.headers["Nats-Msg-Id"] == f"{fresh}.2"
    assert since <= first.time <= one.clock()
