"""What is read of stored streams."""

from collections.abc import Sequence

import pytest

from actors.agents.adapters.conversations import ReadSubject
from actors.agents.adapters.streams import Streams
from bus.codec import encode
from bus.errors import ProblemError, problem
from bus.ports import StoredMessage
from schemas.executions import ExecutionRecord
from schemas.streams import ReadStream
from schemas.usage import Usage
from tests.stream_events import AT, chunk, completed


async def test_an_event_of_which_the_server_kept_nothing_is_one_that_was_lost() -> None:
    events = [
        encode(chunk(1, 0, "a")),
        b"",
        encode(chunk(1, 2, "c"))[:20],
        encode(chunk(1, 3, "d")),
    ]
    stored = [StoredMessage(sequence, data) for sequence, data in enumerate(events, start=1)]

    async def read(stream: str, subject: str, *, start: int = 1, limit: int) -> list[StoredMessage]:
        assert (stream, subject) == ("STREAMS", "cb.local.stream.e")
        return [each for each in stored if each.sequence >= start][:limit]

    page = await Streams(read).page("local", ReadStream(execution_id="e"))

    assert encode(page.events) == encode([chunk(1, 0, "a"), chunk(1, 3, "d")])
    assert page.next == "1.3"


ENDED = ExecutionRecord(
    execution_id="e",
    status="COMPLETED",
    task="t",
    revision=3,
    digest="d",
    stream="cb.local.stream.e",
    created_at=AT,
    completed_at=AT,
    deadline=AT,
    max_attempts=1,
    output="a",
    finish_reason="stop",
    usage=Usage(),
    segment=2,
)
END = completed(2, "a")


def growing(*looks: Sequence[bytes]) -> ReadSubject:
    """Read a stream that has grown by each look at it."""
    left = list(looks)

    async def read(stream: str, subject: str, *, start: int = 1, limit: int) -> list[StoredMessage]:
        del stream, subject
        stored = [StoredMessage(sequence, data) for sequence, data in enumerate(left[0], start=1)]
        found = [each for each in stored if each.sequence >= start][:limit]
        if not found and len(left) > 1:
            left.pop(0)
        return found

    return read


@pytest.mark.parametrize(
    ("after", "looks", "told"),
    [
        (None, [[], [encode(chunk(1, 0, "a")), encode(END)]], [chunk(1, 0, "a"), END]),
        (
            "1.0",
            [[encode(chunk(1, 0, "a"))], [encode(chunk(1, 0, "a")), encode(chunk(1, 1, "b"))]],
            [chunk(1, 1, "b")],
        ),
        (None, [[]], [END]),
    ],
    ids=["it ends meanwhile", "it goes on meanwhile", "it has expired"],
)
async def test_only_what_is_empty_after_its_end_has_expired(
    after: str | None, looks: list[list[bytes]], told: list[object]
):
    async def record() -> ExecutionRecord:
        return ENDED

    wanted = ReadStream(execution_id="e", after=after)
    page = await Streams(growing(*looks)).read("local", wanted, record)

    assert encode(page.events) == encode(told)


@pytest.mark.parametrize("stored", [True, False])
async def test_what_has_a_stream_and_no_record_is_read_to_its_end_and_not_refused(
    stored: bool,
) -> None:
    events = [StoredMessage(1, encode(chunk(1, 0, "a")))] if stored else []

    async def read(stream: str, subject: str, *, start: int = 1, limit: int) -> list[StoredMessage]:
        del stream, subject
        return [each for each in events if each.sequence >= start][:limit]

    async def record() -> ExecutionRecord:
        raise problem("not_found", "there is no such execution")

    reading = Streams(read).read("local", ReadStream(execution_id="e", after="1.0"), record)
    if stored:
        assert not (await reading).events
    else:
        with pytest.raises(ProblemError):
            await reading
