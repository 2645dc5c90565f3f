"""What must hold for every framing, whatever the bytes: the laws that are fuzzed.

Only the typed error comes out; the events before it, and whether it comes, do not depend on how the
bytes are cut; and no more is kept than the bound allows.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from actors.streaming.core.aws.event_stream import MAX_HEADERS_BYTES, EventStreamParser
from actors.streaming.core.framing.json_values import JsonValues
from actors.streaming.core.framing.ndjson import NdjsonParser
from actors.streaming.core.framing.protocol import Framing
from actors.streaming.core.framing.wrapping import event_framing
from schemas.sse import FramingError, SseParser
from tests.frames import frame

LIMIT = 64
"""Bytes of an event: so few that the bound is met often."""

_MESSAGE_BYTES = LIMIT + MAX_HEADERS_BYTES + 16


def plain(data: bytes) -> bytes:
    """Leave nonsense as it is."""
    return data


def framed(data: bytes) -> bytes:
    """Put nonsense behind sound checksums, or it would never get past them: a message a byte says.

    An even number begins a message of so many bytes, half of them headers; an odd one stays bare.
    """
    stream, place = b"", 0
    while place < len(data):
        size = data[place]
        piece = data[place + 1 : place + 1 + size]
        half = len(piece) // 2
        stream += piece if size % 2 else frame(piece[:half], piece[half:])
        place += 1 + size
    return stream


class Kind(NamedTuple):
    """A framing, what it keeps at the moment, the most it may keep, and how to dress nonsense."""

    parser: Callable[[], Framing[Any]]
    held: Callable[[Any], int]
    most: int
    dressed: Callable[[bytes], bytes] = plain


KINDS: dict[str, Kind] = {
    "sse": Kind(
        lambda: SseParser(limit=LIMIT), lambda parser: len(parser._partial) + parser._size, LIMIT
    ),
    "ndjson": Kind(lambda: NdjsonParser(limit=LIMIT), lambda parser: len(parser._partial), LIMIT),
    "json": Kind(lambda: JsonValues(limit=LIMIT), lambda parser: parser.held, LIMIT),
    "either": Kind(
        lambda: event_framing(limit=LIMIT),
        lambda either: either._values.held + len(either._usual._partial) + either._usual._size,
        2 * LIMIT,
    ),
    "event stream": Kind(
        lambda: EventStreamParser(limit=LIMIT),
        lambda parser: len(parser._buffer),
        _MESSAGE_BYTES,
        framed,
    ),
}


class Outcome(NamedTuple):
    """The events of a stream, and whether it broke off with the typed error."""

    events: list[Any]
    is_broken: bool


def outcome(kind: Kind, chunks: Iterable[bytes]) -> Outcome:
    """Read a stream to its end or to the typed error. Any other exception is a find."""
    parser, events = kind.parser(), list[Any]()
    try:
        for chunk in chunks:
            events.extend(parser.feed(chunk))
            assert kind.held(parser) <= kind.most
        events.extend(parser.finish())
    except FramingError:
        return Outcome(events, is_broken=True)
    return Outcome(events, is_broken=False)


def demand_laws(kind: Kind, stream: bytes, cuts: Iterable[int]) -> Outcome:
    """Check that a stream reads the same whole, cut at these places, and byte by byte."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    whole = outcome(kind, [stream])
    assert outcome(kind, [stream[a:b] for a, b in pairwise(places)]) == whole
    assert outcome(kind, [stream[at : at + 1] for at in range(len(stream))]) == whole
    return whole
