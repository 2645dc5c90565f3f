"""The binary framing of AWS: against its specification, and against botocore's own reader."""

import struct
from contextlib import suppress
from itertools import pairwise
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.aws import event_stream
from actors.streaming.core.aws.event_stream import EventMessage, EventStreamError, EventStreamParser

INT = st.integers
HEADERS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda name: len(name.encode()) < 256),
    st.one_of(
        st.tuples(st.sampled_from([0, 1]), st.none()),
        st.tuples(st.just(2), INT(-(2**7), 2**7 - 1)),
        st.tuples(st.just(3), INT(-(2**15), 2**15 - 1)),
        st.tuples(st.just(4), INT(-(2**31), 2**31 - 1)),
        st.tuples(st.sampled_from([5, 8]), INT(-(2**63), 2**63 - 1)),
        st.tuples(st.just(6), st.binary(max_size=16)),
        st.tuples(st.just(7), st.text(st.characters(codec="utf-8"), max_size=8)),
        st.tuples(st.just(9), st.binary(min_size=16, max_size=16)),
    ),
    max_size=6,
)
FORMS = {2: "!b", 3: "!h", 4: "!i", 5: "!q", 8: "!q"}
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=40)), max_size=5)


def frame(headers: bytes, payload: bytes = b"") -> bytes:
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return body + struct.pack("!I", crc32(body))


def header(name: str, kind: int, value: Any) -> bytes:
    raw = name.encode()
    start = bytes([len(raw)]) + raw + bytes([kind])
    match kind:
        case 0 | 1:
            return start
        case 6:
            return start + struct.pack("!H", len(value)) + value
        case 7:
            text = value.encode()
            return start + struct.pack("!H", len(text)) + text
        case 9:
            return start + value
        case _:
            return start + struct.pack(FORMS[kind], value)


def written(frames: list[Any]) -> bytes:
    return b"".join(
        frame(b"".join(header(name, *typed) for name, typed in headers.items()), payload)
        for headers, payload in frames
    )


def meant(frames: list[Any]) -> list[EventMessage]:
    return [EventMessage(values(headers), payload) for headers, payload in frames]


def values(headers: dict[str, Any]) -> dict[str, Any]:
    """Types 0 and 1 stand for true and false, the others for what follows them."""
    return {name: kind == 0 if kind < 2 else value for name, (kind, value) in headers.items()}


SMALLEST = 16
"""The bytes of a message without headers and payload."""


def parse(*chunks: bytes) -> list[EventMessage]:
    parser = EventStreamParser()
    messages = [message for chunk in chunks for message in parser.feed(chunk)]
    return [*messages, *parser.finish()]


@given(FRAMES, st.data())
def test_any_cut_of_the_bytes_gives_the_same_messages(frames: list[Any], data: st.DataObject):
    stream = written(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]

    assert parse(*chunks) == meant(frames)
    assert parse(*(bytes([byte]) for byte in stream)) == meant(frames)


@given(FRAMES)
def test_messages_are_what_botocore_reads(frames: list[Any]):
    oracle = EventStreamBuffer()
    oracle.add_data(written(frames))

    read = [EventMessage(message.headers, message.payload) for message in oracle]

    assert parse(written(frames)) == read


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_messages_or_the_typed_error(stream: bytes):
    messages = list[EventMessage]()
    with suppress(EventStreamError):
        messages = parse(stream)

    assert SMALLEST * len(messages) <= len(stream)


@given(st.binary(max_size=60), st.binary(max_size=8))
def test_arbitrary_headers_under_sound_checksums_give_messages_or_the_typed_error(
    headers: bytes, payload: bytes
):
    with suppress(EventStreamError):
        assert [message.payload for message in parse(frame(headers, payload))] == [payload]


@given(FRAMES.filter(bool), st.data())
def test_one_flipped_bit_is_never_taken_for_a_message(frames: list[Any], data: st.DataObject):
    stream = bytearray(written(frames))
    place = data.draw(st.integers(0, len(stream) - 1))
    stream[place] ^= 1 << data.draw(st.integers(0, 7))

    read: list[EventMessage] = []
    with pytest.raises(EventStreamError):
        read_each_byte(bytes(stream), read)

    assert read == meant(frames)[: len(read)]


def read_each_byte(stream: bytes, read: list[EventMessage]) -> None:
    parser = EventStreamParser()
    for byte in stream:
        read += parser.feed(bytes([byte]))


def test_a_message_that_is_cut_off_is_no_message():
    whole = frame(header(":event-type", 7, "chunk"), b"{}")

    assert parse(whole + whole[:-1]) == [EventMessage({":event-type": "chunk"}, b"{}")]


def test_a_wrong_checksum_of_a_prelude_is_seen_before_the_message_has_come():
    with pytest.raises(EventStreamError, match="checksum of a prelude"):
        parse(b"\x7f\xff\xff\xff" + frame(b"")[4:12])


def test_a_wrong_checksum_of_a_message_is_refused():
    broken = bytearray(frame(b"", b"text"))
    broken[12] ^= 1

    with pytest.raises(EventStreamError, match="checksum of a message"):
        parse(bytes(broken))


@pytest.mark.parametrize(
    ("length", "headers", "reason"),
    [
        (event_stream.MAX_PAYLOAD_BYTES + 17, 0, "a message is too large"),
        (2**32 - 1, 0, "a message is too large"),
        (2**32 - 1, event_stream.MAX_HEADERS_BYTES + 1, "the headers of a message are too large"),
        (15, 0, "a message is shorter than its headers"),
        (20, 5, "a message is shorter than its headers"),
    ],
)
def test_a_message_beyond_the_bounds_is_refused_by_its_prelude_alone(
    length: int, headers: int, reason: str
):
    prelude = struct.pack("!II", length, headers)

    with pytest.raises(EventStreamError, match=reason):
        parse(prelude + struct.pack("!I", crc32(prelude)))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (header("a", 7, "x") * 2, "a header comes twice"),
        (b"\x01a\x0a", "a header has an unknown type"),
        (b"\x05ab", "the headers are cut short"),
        (b"\x01a", "the headers are cut short"),
        (b"\x01a\x05\x00", "the headers are cut short"),
        (b"\x01a\x07\x00\x09text", "the headers are cut short"),
        (b"\x01a\x09short", "the headers are cut short"),
        (b"\x01a\x07\x00\x01\xff", "a header is no UTF-8"),
    ],
)
def test_headers_that_make_no_sense_are_refused(headers: bytes, reason: str):
    with pytest.raises(EventStreamError, match=reason):
        parse(frame(headers))
