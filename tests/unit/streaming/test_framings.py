"""The framings under nonsense: raw bytes, and honest streams with something done to them."""

import struct
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import frame, text_header
from tests.fuzz.framings import KINDS, LIMIT, demand_laws

CUTS = st.lists(st.integers(0, 10_000), max_size=8)
TEXTS = st.binary(max_size=LIMIT + 8) | st.sampled_from([b"", b"{}", "é😀\u2028".encode(), b"\r"])
HEADERS = st.sampled_from(
    [b"", text_header(":event-type", "chunk"), text_header("a", "b") * 2, b"\x01a\x0b", b"\x09"]
)
SSE = st.tuples(
    st.sampled_from(
        [b"data: ", b"data", b"event:", b"id:", b"retry: 9", b": ", b"\xef\xbb\xbf", b""]
    ),
    TEXTS,
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"]),
).map(b"".join)
JSON = st.tuples(
    st.sampled_from([b"{", b"[", b"", b",", b'{"a":', b"data: "]),
    st.sampled_from([b'"x"', b"{}", b"[1]", b'"\\"', b'"}', b"1", b"{", b"}"]) | TEXTS,
    st.sampled_from([b"}", b"]", b"}\n", b"}\n\n", b"\r\n", b"", b"},"]),
).map(b"".join)
PIECES: dict[str, st.SearchStrategy[bytes]] = {
    "sse": SSE,
    "json": JSON,
    "either": SSE | JSON,
    "ndjson": st.tuples(TEXTS, st.sampled_from([b"\n", b"\r\n", b"\n\n", b""])).map(b"".join),
    "event stream": st.tuples(HEADERS, TEXTS).map(lambda parts: frame(*parts)),
}
MUTATIONS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=2)


def mutated(stream: bytes, mutations: list[tuple[int, int]]) -> bytes:
    changed = bytearray(stream)
    for place, mask in mutations:
        if changed:
            changed[place % len(changed)] ^= mask
    return bytes(changed)


@pytest.mark.parametrize("name", KINDS)
@given(stream=st.binary(max_size=300), cuts=CUTS)
def test_arbitrary_bytes_break_no_law(name: str, stream: bytes, cuts: list[int]):
    demand_laws(KINDS[name], stream, cuts)
    demand_laws(KINDS[name], KINDS[name].dressed(stream), cuts)


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_honest_streams_with_something_done_to_them_break_no_law(name: str, data: st.DataObject):
    stream = b"".join(data.draw(st.lists(PIECES[name], max_size=6)))

    demand_laws(KINDS[name], mutated(stream, data.draw(MUTATIONS)), data.draw(CUTS))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=100), CUTS)
def test_lengths_that_lie_under_sound_checksums_break_no_law(
    length: int, headers: int, rest: bytes, cuts: list[int]
):
    prelude = struct.pack("!II", length, headers)

    demand_laws(KINDS["event stream"], prelude + struct.pack("!I", crc32(prelude)) + rest, cuts)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("sse", b"data: a\n\n", b"data: " + b"x" * LIMIT),
        ("sse", b"data: a\n\n", b": " + b"x" * LIMIT + b"\n\n"),
        ("ndjson", b"{}\n", b"x" * (LIMIT + 1) + b"\n"),
        ("event stream", frame(b"", b"{}"), frame(b"", b"x" * (LIMIT + 1))),
        ("event stream", frame(b"", b"{}"), b"x" * 16),
    ],
)
def test_what_came_before_the_trouble_counts(name: str, good: bytes, bad: bytes):
    found: Any = demand_laws(KINDS[name], good * 3 + bad, [])

    assert (len(found.events), found.is_broken) == (3, True)
