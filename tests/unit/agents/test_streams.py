"""What is read of stored streams."""

from actors.agents.adapters.streams import Streams
from bus.codec import encode
from bus.ports import Stored
from schemas.streams import ReadStream
from tests.stream_events import chunk


async def test_an_event_of_which_the_server_kept_nothing_is_one_that_was_lost() -> None:
    events = [
        encode(chunk(1, 0, "a")),
        b"",
        encode(chunk(1, 2, "c"))[:20],
        encode(chunk(1, 3, "d")),
    ]
    stored = [Stored(sequence, data) for sequence, data in enumerate(events, start=1)]

    async def read(stream: str, subject: str, *, start: int = 1, limit: int) -> list[Stored]:
        assert (stream, subject) == ("STREAMS", "cb.local.stream.e")
        return [each for each in stored if each.sequence >= start][:limit]

    page = await Streams(read).page("local", ReadStream(execution_id="e"))

    assert encode(page.events) == encode([chunk(1, 0, "a"), chunk(1, 3, "d")])
    assert page.next == "1.3"
