"""Publishing into streams without waiting, on both outboxes."""

import anyio
import pytest

from bus.config import Timing
from bus.errors import DeadlineError, ProblemError
from bus.jetstream import outbox as jetstream_outbox
from bus.jetstream import ring
from bus.streams.spec import EVENTS, LIVE
from bus.testing import NatsWorld, Process, World
from tests.integration.waiting import Inbox, until

WINDOW = Timing().delta_window


async def _stored(bus: Process, stream: str, subject: str) -> list[str]:
    return [stored.data.decode() async for stored in bus.stored(stream).read(subject, start=1)]


async def test_what_is_posted_is_stored_in_order_and_delivered_to_those_who_listen(
    bus: Process, fresh: str
):
    subject, inbox = f"cb.{fresh}.stream.e1", Inbox()

    async with bus.transport.subscription(subject, inbox.take):
        for number in range(2000):
            await bus.outbox.post(subject, str(number).encode())
        await bus.outbox.flush(timeout=10)
        await inbox.holds(2000)

    texts = [str(number) for number in range(2000)]
    assert inbox.texts == texts
    assert await _stored(bus, LIVE, subject) == texts


async def test_frequent_messages_are_stored_in_order_and_become_safe(bus: Process, fresh: str):
    subject = f"cb.{fresh}.stream.e1"

    for number in range(500):
        await bus.outbox.post(subject, str(number).encode(), frequent=True)
    await bus.outbox.flush(timeout=10)
    await until(lambda: bus.outbox.safe == bus.outbox.posted)

    assert await _stored(bus, LIVE, subject) == [str(number) for number in range(500)]


async def test_offered_messages_are_taken_at_once_or_posted_and_stored_in_order(
    bus: Process, fresh: str
):
    subject = f"cb.{fresh}.stream.e1"

    for number in range(500):
        data = str(number).encode()
        if not bus.outbox.offer(subject, data):
            await bus.outbox.post(subject, data, frequent=True)
    await bus.outbox.flush(timeout=10)

    assert await _stored(bus, LIVE, subject) == [str(number) for number in range(500)]


async def test_a_repeated_message_id_is_stored_once(bus: Process, fresh: str):
    subject = f"cb.{fresh}.events.execution.completed.e1"

    for message_id in ("a", "a", "b", None, None):
        name = f"{fresh}.{message_id}" if message_id else None
        await bus.outbox.post(subject, str(message_id).encode(), message_id=name)
    await bus.outbox.flush(timeout=5)

    assert await _stored(bus, EVENTS, subject) == ["a", "b", "None", "None"]


async def test_marks_count_what_was_posted_and_follow_with_what_is_safe(bus: Process, fresh: str):
    assert (bus.outbox.posted, bus.outbox.safe) == (0, 0)

    for number in range(3):
        await bus.outbox.post(f"cb.{fresh}.record.e{number}", b"")
    posted, safe = bus.outbox.posted, bus.outbox.safe
    await until(lambda: bus.outbox.safe == 3)

    assert (posted, safe) == (3, 0)


async def test_nothing_to_flush_is_flushed(bus: Process):
    await bus.outbox.flush(timeout=5)

    assert (bus.outbox.posted, bus.outbox.safe) == (0, 0)


async def test_the_newest_messages_are_stored_again_after_the_bus_was_killed(
    mortal_world: World,
):
    async with mortal_world.process() as bus:
        for number in range(50):
            await bus.outbox.post("cb.t.stream.e1", str(number).encode())
        await bus.outbox.flush(timeout=5)
        await mortal_world.restart()
        await until(lambda: bus.outbox.safe == 50)
        texts = await _stored(bus, LIVE, "cb.t.stream.e1")

    assert set(texts) == {str(number) for number in range(50)}
    assert texts[-50:] == [str(number) for number in range(50)]


# Only on NATS


async def test_nothing_is_taken_at_once_that_is_too_large_or_while_the_bus_is_away(
    own_nats: NatsWorld,
):
    async with own_nats.process() as bus:
        outbox, subject = bus.outbox, "cb.t.stream.e1"
        taken = [
            outbox.offer(subject, b"0"),
            outbox.offer(subject, bytes(1 + bus.nats.client.max_payload)),
        ]
        await own_nats.server.kill()
        await until(lambda: not bus.nats.connected)
        taken.append(outbox.offer(subject, b"1"))
        await outbox.post(subject, b"1", frequent=True)
        await own_nats.server.start()
        await outbox.flush(timeout=10)
        texts = await _stored(bus, LIVE, subject)

    assert taken == [True, False, False]
    assert texts[-2:] == ["0", "1"]


async def test_what_is_posted_while_the_bus_is_away_follows_what_was_posted_before(
    own_nats: NatsWorld,
):
    async with own_nats.process() as bus:
        for number in range(10):
            await bus.outbox.post("cb.t.stream.e1", str(number).encode())
        await own_nats.server.kill()
        await until(lambda: not bus.nats.connected)
        for number in range(10, 20):
            await bus.outbox.post("cb.t.stream.e1", str(number).encode())
        with pytest.raises(DeadlineError):
            await bus.outbox.flush(timeout=0.05)
        await own_nats.server.start()
        await bus.outbox.flush(timeout=10)
        texts = await _stored(bus, LIVE, "cb.t.stream.e1")

    assert texts[-20:] == [str(number) for number in range(20)]


async def test_nothing_becomes_safe_while_the_bus_is_away(own_nats: NatsWorld):
    async with own_nats.process() as bus:
        await bus.outbox.post("cb.t.stream.e1", b"")
        await bus.outbox.flush(timeout=5)
        await own_nats.server.kill()
        await until(lambda: not bus.nats.connected)
        await anyio.sleep(0.6)
        safe = bus.outbox.safe
        await own_nats.server.start()
        await until(lambda: bus.outbox.safe == 1)

    assert safe == 0


async def test_who_posts_while_the_window_is_full_waits_in_line(own_nats: NatsWorld):
    async with own_nats.process() as bus:
        await own_nats.server.kill()
        await until(lambda: not bus.nats.connected)
        for _ in range(WINDOW):
            await bus.outbox.post("cb.t.stream.e1", b"")
        posted = -1
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(bus.outbox.post, "cb.t.stream.e2", str(number).encode())
            await anyio.wait_all_tasks_blocked()
            posted = bus.outbox.posted
            await own_nats.server.start()
        await bus.outbox.flush(timeout=10)
        stored = await _stored(bus, LIVE, "cb.t.stream.e2")

    assert posted == WINDOW
    assert stored == [str(number) for number in range(50)]


async def test_what_is_not_safe_is_bounded(
    shared_nats: NatsWorld, fresh: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ring, "MAX_MESSAGES", 10)
    async with shared_nats.process() as bus:
        most = 0
        for number in range(25):
            await bus.outbox.post(f"cb.{fresh}.stream.e1", str(number).encode())
            most = max(most, bus.outbox.posted - bus.outbox.safe)
        await bus.outbox.flush(timeout=5)

        assert most == 10
        assert len(await _stored(bus, LIVE, f"cb.{fresh}.stream.e1")) == 25


async def test_a_message_that_no_stream_takes_is_given_up_and_the_others_go_on(
    shared_nats: NatsWorld, fresh: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jetstream_outbox, "MAX_REFUSALS", 2)
    async with shared_nats.process() as bus:
        await bus.outbox.post(f"nowhere.{fresh}", b"lost")
        await bus.outbox.post(f"cb.{fresh}.stream.e1", b"kept")
        await bus.outbox.flush(timeout=5)
        await until(lambda: bus.outbox.safe == 2)

        assert await _stored(bus, LIVE, f"cb.{fresh}.stream.e1") == ["kept"]


async def test_a_message_that_is_too_large_is_refused_and_the_others_go_on(
    shared_nats: NatsWorld, fresh: str
):
    async with shared_nats.process() as bus:
        with pytest.raises(ProblemError):
            await bus.outbox.post(f"cb.{fresh}.stream.e1", bytes(17 * 1024**2))
        await bus.outbox.post(f"cb.{fresh}.stream.e1", b"kept")
        await bus.outbox.flush(timeout=5)

        assert await _stored(bus, LIVE, f"cb.{fresh}.stream.e1") == ["kept"]


async def test_a_receipt_speaks_for_many_frequent_messages(own_nats: NatsWorld):
    async with own_nats.process() as bus:
        received = bus.nats.client.stats["in_msgs"]
        for number in range(500):
            await bus.outbox.post("cb.t.stream.e1", str(number).encode(), frequent=True)
        await bus.outbox.flush(timeout=10)

        assert bus.nats.client.stats["in_msgs"] - received < 50


async def test_frequent_messages_that_were_refused_unasked_are_sent_again(own_nats: NatsWorld):
    async with own_nats.process() as bus:
        await bus.jetstream.call(f"STREAM.DELETE.{LIVE}")
        texts = [str(number) for number in range(200)]
        for text in texts:
            await bus.outbox.post("cb.t.stream.e1", text.encode(), frequent=True)
        async with own_nats.process():
            await bus.outbox.flush(timeout=10)

        assert sorted(await _stored(bus, LIVE, "cb.t.stream.e1"), key=int) == texts


async def test_a_message_whose_receipt_does_not_come_is_sent_again(
    own_nats: NatsWorld, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jetstream_outbox, "RESEND_SECONDS", 0.1)
    async with own_nats.process() as bus:
        await bus.jetstream.call(f"STREAM.DELETE.{LIVE}")
        async with bus.transport.subscription("cb.t.stream.e1", Inbox().take):
            sent = bus.nats.client.stats["out_msgs"]
            await bus.outbox.post("cb.t.stream.e1", b"x")
            await until(lambda: bus.nats.client.stats["out_msgs"] > sent + 2)
            async with own_nats.process():
                await bus.outbox.flush(timeout=5)

        assert set(await _stored(bus, LIVE, "cb.t.stream.e1")) == {"x"}
