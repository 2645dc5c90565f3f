"""Fenced appends and complete reads, on both journals."""

from datetime import datetime, timedelta

import anyio
import pytest

from bus.connection import NatsAddress
from bus.errors import FencedError, FullError, UnavailableError
from bus.jetstream import JetStreamJournal, open_bus
from bus.jetstream.direct_get import PAGE_MESSAGES
from bus.ports import Journal, StoredMessage
from bus.streams.spec import journal_stream
from bus.testing import NatsWorld, Process, World
from tests.integration.conftest import QUICK
from tests.integration.waiting import until
from tests.servers import local_server


def _subject(fresh: str) -> str:
    return f"_cb.journal.execution.{fresh}"


async def _all(journal: Journal, subject: str, start: int = 1) -> list[StoredMessage]:
    return [_plain(stored) async for stored in journal.read(subject, start=start)]


async def _last(journal: Journal, subject: str) -> StoredMessage | None:
    stored = await journal.last(subject)
    return _plain(stored) if stored else None


def _plain(stored: StoredMessage) -> StoredMessage:
    """Return a message without the moment at which it was stored."""
    return stored._replace(time="")


async def _filled(journal: Journal, subject: str, count: int) -> list[StoredMessage]:
    stored: list[StoredMessage] = []
    sequence = 0
    for number in range(count):
        data = str(number).encode()
        sequence = await journal.append(subject, data, expected=sequence)
        stored.append(StoredMessage(sequence, data))
    return stored


async def test_an_empty_subject_has_no_last_message_and_nothing_to_read(bus: Process, fresh: str):
    journal, subject = bus.journal("execution"), _subject(fresh)

    assert await _last(journal, subject) is None
    assert await _all(journal, subject) == []


async def test_what_was_appended_is_read_in_order(bus: Process, fresh: str):
    journal, subject = bus.journal("execution"), _subject(fresh)

    appended = await _filled(journal, subject, 5)

    assert await _all(journal, subject) == appended
    assert await _all(journal, subject, start=appended[3].sequence) == appended[3:]
    assert await _last(journal, subject) == appended[-1]


async def test_the_server_says_when_a_message_was_stored(bus: Process, fresh: str):
    journal, subject = bus.journal("execution"), _subject(fresh)
    before = bus.clock()
    await _filled(journal, subject, 1)
    after = bus.clock()

    newest = await journal.last(subject)
    async for stored in journal.read(subject, start=1):
        assert newest == stored
    assert newest is not None
    second = timedelta(seconds=1)
    assert before - second <= datetime.fromisoformat(newest.time) <= after + second


async def test_an_append_after_another_sequence_is_refused_and_stores_nothing(
    bus: Process, fresh: str
):
    journal, subject = bus.journal("execution"), _subject(fresh)
    appended = await _filled(journal, subject, 2)

    for expected in (0, appended[0].sequence, appended[1].sequence + 1):
        with pytest.raises(FencedError):
            await journal.append(subject, b"late", expected=expected)

    assert await _all(journal, subject) == appended


async def test_of_many_who_append_after_the_same_message_exactly_one_succeeds(
    bus: Process, fresh: str
):
    journal, subject = bus.journal("execution"), _subject(fresh)
    outcomes: list[str] = []

    async def append(name: str) -> None:
        try:
            await journal.append(subject, name.encode(), expected=0)
        except FencedError:
            outcomes.append("fenced")
        else:
            outcomes.append(name)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(append, str(number))

    winners = [outcome for outcome in outcomes if outcome != "fenced"]
    assert len(winners) == 1
    assert [stored.data.decode() for stored in await _all(journal, subject)] == winners


async def test_subjects_are_fenced_each_by_itself(bus: Process, fresh: str):
    journal = bus.journal("execution")
    one, other = _subject(f"{fresh}-1"), _subject(f"{fresh}-2")

    first = await journal.append(one, b"1", expected=0)
    second = await journal.append(other, b"2", expected=0)
    third = await journal.append(one, b"3", expected=first)

    assert await _all(journal, one) == [StoredMessage(first, b"1"), StoredMessage(third, b"3")]
    assert await _all(journal, other) == [StoredMessage(second, b"2")]


async def test_a_purge_removes_what_lies_below_and_keeps_the_fence(bus: Process, fresh: str):
    journal, subject = bus.journal("execution"), _subject(fresh)
    appended = await _filled(journal, subject, 5)

    await journal.purge(subject, below=appended[3].sequence)

    assert await _all(journal, subject) == appended[3:]
    with pytest.raises(FencedError):
        await journal.append(subject, b"", expected=0)
    await journal.append(subject, b"", expected=appended[-1].sequence)


async def test_the_oldest_message_is_found_and_the_oldest_since_a_moment(bus: Process, fresh: str):
    journal, subject = bus.journal("execution"), _subject(fresh)
    assert await journal.first(subject) is None
    early = await _filled(journal, subject, 2)
    await anyio.sleep(0.02)
    sequence = await journal.append(f"{subject}-other", b"", expected=0)
    late = await journal.append(subject, b"late", expected=early[-1].sequence)
    newest = await journal.last(subject)
    assert newest is not None
    moment = datetime.fromisoformat(newest.time)

    oldest = await journal.first(subject)
    assert oldest is not None
    assert _plain(oldest) == early[0]
    young = await journal.first(subject, since=moment - timedelta(milliseconds=10))
    assert young is not None
    assert (young.sequence, young.data) == (late, b"late")
    assert late > sequence
    assert await journal.first(subject, since=moment + timedelta(minutes=1)) is None


async def test_a_journal_tells_how_full_it_is_and_shrinks_with_a_purge(bus: Process, fresh: str):
    journal, subject = bus.journal("execution"), _subject(fresh)
    before = await journal.fill()
    first = await journal.append(subject, bytes(10_000), expected=0)
    second = await journal.append(subject, bytes(10_000), expected=first)
    filled = await journal.fill()
    await journal.purge(subject, below=second)
    after = await journal.fill()

    assert filled.most == QUICK.journal_max_bytes
    assert 20_000 <= filled.used - before.used < 21_000
    assert 10_000 <= after.used - before.used < 10_500


async def test_journals_of_entity_types_are_apart(bus: Process, fresh: str):
    await bus.journal("account").append(f"_cb.journal.account.{fresh}", b"a", expected=0)

    assert await bus.journal("execution").last(_subject(fresh)) is None


async def test_records_are_read_like_a_journal(bus: Process, fresh: str):
    for text in (b"old", b"new"):
        await bus.outbox.post(f"cb.{fresh}.record.e1", text)
    await bus.outbox.flush(timeout=5)

    newest = await bus.records.last(f"cb.{fresh}.record.e1")

    assert newest is not None
    assert newest.data == b"new"
    assert await _all(bus.records, f"cb.{fresh}.record.e1") == [_plain(newest)]


async def test_commits_outlive_a_killed_bus(mortal_world: World):
    async with mortal_world.process() as bus:
        journal = bus.journal("execution")
        appended = await _filled(journal, _subject("0"), 20)
        await mortal_world.restart()

    async with mortal_world.process() as bus:
        assert await _all(bus.journal("execution"), _subject("0")) == appended


# Only on NATS


async def test_more_than_one_page_is_read_whole_beside_other_subjects(
    shared_nats: NatsWorld, fresh: str
):
    async with shared_nats.process() as bus:
        journal = bus.journal("execution")
        subject, other = _subject(f"{fresh}-1"), _subject(f"{fresh}-2")
        count = 2 * PAGE_MESSAGES + 3
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_filled, journal, other, count)
            tasks.start_soon(_filled, journal, subject, count)

        read = await _all(journal, subject)
        assert [stored.data for stored in read] == [str(n).encode() for n in range(count)]


async def test_large_commits_are_read_whole(shared_nats: NatsWorld, fresh: str):
    async with shared_nats.process() as bus:
        journal, subject = bus.journal("execution"), _subject(fresh)
        sequence, commits = 0, [bytes([number]) * 3 * 1024**2 for number in range(4)]
        for commit in commits:
            sequence = await journal.append(subject, commit, expected=sequence)

        assert [stored.data for stored in await _all(journal, subject)] == commits


async def test_an_append_while_the_bus_is_away_fails_at_once_and_is_never_sent(
    own_nats: NatsWorld,
):
    async with own_nats.process() as bus:
        journal = bus.journal("execution")
        await own_nats.server.kill()
        await until(lambda: not bus.nats.connected)
        with anyio.fail_after(3), pytest.raises(UnavailableError):
            await journal.append(_subject("0"), b"x", expected=0)
        await own_nats.server.start()
        await until(lambda: bus.nats.connected)

        assert await journal.last(_subject("0")) is None


async def test_an_append_to_a_stream_that_does_not_stand_is_unavailable(
    shared_nats: NatsWorld, fresh: str
):
    async with shared_nats.process() as bus:
        nowhere = JetStreamJournal(bus.nats, bus.jetstream, "JOURNAL_NOTHING")
        for call in (
            nowhere.append(f"_cb.journal.nothing.{fresh}", b"", expected=0),
            nowhere.last(f"_cb.journal.nothing.{fresh}"),
            nowhere.purge(f"_cb.journal.nothing.{fresh}", below=1),
        ):
            with pytest.raises(UnavailableError):
                await call


async def test_a_full_journal_refuses_and_loses_nothing(tmp_path_factory: pytest.TempPathFactory):
    async with (
        local_server(tmp_path_factory.mktemp("full")) as server,
        open_bus(
            NatsAddress(urls=server.urls, name="full"),
            entities=("execution",),
            durability=server.durability,
        ) as bus,
    ):
        name = journal_stream("execution")
        config = (await bus.jetstream.stream_info(name))["config"] | {"max_bytes": 4096}
        await bus.jetstream.call(f"STREAM.UPDATE.{name}", config)
        journal, subject = bus.journal("execution"), _subject("0")
        for sequence in range(3):
            await journal.append(subject, bytes(1000), expected=sequence)
        for _ in range(2):
            with pytest.raises(FullError):
                await journal.append(subject, bytes(1000), expected=3)
        with pytest.raises(FencedError):
            await journal.append(subject, bytes(1000), expected=2)

        assert [stored.sequence for stored in await _all(journal, subject)] == [1, 2, 3]
