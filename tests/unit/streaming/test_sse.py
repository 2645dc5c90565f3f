from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sse import EventTooLargeError, SseEvent, SseParser


def parse(*chunks: bytes) -> list[SseEvent]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [*events, *parser.finish()]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [SseEvent("a")]),
        (b"data:a\n\n", [SseEvent("a")]),
        (b"data:  a\n\n", [SseEvent(" a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [SseEvent("a"), SseEvent("b")]),
        (b"data: a\r\rdata: b\r\r", [SseEvent("a"), SseEvent("b")]),
        (b"data: a\ndata: b\n\n", [SseEvent("a\nb")]),
        (b"data\n\n", [SseEvent("")]),
        (b"data:\ndata:\n\n", [SseEvent("\n")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SseEvent("a")]),
        (b": ping\n\ndata: a\n: pong\n\n", [SseEvent("a")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [SseEvent("a", "error"), SseEvent("b")]),
        (b"event: error\n\ndata: b\n\n", [SseEvent("b")]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [SseEvent("a", id="7"), SseEvent("b", id="7")]),
        (b"id: 7\0\ndata: a\n\n", [SseEvent("a")]),
        (b"other: x\ndata: a\n\n", [SseEvent("a")]),
        (b"data: a", [SseEvent("a")]),
        (b"data: a\n", [SseEvent("a")]),
        (b"", []),
        (b"\n\n\n", []),
        (
            "data: a\u2028b\u2029c\u0085d\x0b\x0c\x1c\n\n".encode(),
            [SseEvent("a\u2028b\u2029c\u0085d\x0b\x0c\x1c")],
        ),
        (b"data: \xff\n\n", [SseEvent("\ufffd")]),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, events: list[SseEvent]):
    assert parse(stream) == events


def test_an_event_ends_with_the_carriage_return_that_completes_its_blank_line():
    parser = SseParser()

    assert list(parser.feed(b"data: a\r\n\r")) == [SseEvent("a")]
    assert list(parser.feed(b"\ndata: b\r")) == []
    assert list(parser.feed(b"\n\r\n")) == [SseEvent("b")]
    assert list(parser.finish()) == []


def test_a_byte_order_mark_counts_only_at_the_very_start():
    assert parse(b"\n\xef\xbb\xbfdata: a\n\n") == []


def test_the_reconnection_time_is_kept_where_it_is_a_number():
    parser = SseParser()

    feed_all(parser, [b"retry: 1500\nretry: soon\nretry: " + b"9" * 5000 + b"\n"])

    assert parser.retry_ms == 1500


FIELDS = st.sampled_from(
    [b"data", b"data: ", b"data:", b"event: x", b"id: 1", b": c", b"retry: 3", b"\xef\xbb\xbf"]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n"])
TEXTS = st.one_of(
    st.text(max_size=8).map(str.encode), st.binary(max_size=8), st.just("é日\u2028😀".encode())
)
STREAMS = st.lists(st.tuples(FIELDS, TEXTS, ENDS)).map(
    lambda lines: b"".join(part for line in lines for part in line)
)


@given(STREAMS, st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(stream: bytes, data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    places = [0, *cuts, len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(places)]

    assert parse(*chunks) == parse(stream)
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 100],
        [b"data: " + b"x" * 100 + b"\n\n"],
        [b"data: " + b"x" * 40 + b"\n", b"data: " + b"x" * 40 + b"\n"],
        [b"data:\n"] * 30,
        [b"x"] * 101,
        [b": " + b"x" * 100],
    ],
)
def test_an_event_beyond_the_limit_is_refused_however_it_comes(chunks: list[bytes]):
    with pytest.raises(EventTooLargeError, match="80 bytes"):
        feed_all(SseParser(limit=80), chunks)


def feed_all(parser: SseParser, chunks: list[bytes]) -> list[SseEvent]:
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_many_events_may_together_exceed_the_limit():
    events = feed_all(SseParser(limit=20), [b"data: 0123456789\n\n"] * 50)

    assert events == [SseEvent("0123456789")] * 50
