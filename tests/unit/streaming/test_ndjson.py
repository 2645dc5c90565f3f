from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.framing.ndjson import LineTooLargeError, NdjsonParser


def parse(*chunks: bytes) -> list[bytes]:
    parser = NdjsonParser()
    return [*feed_all(parser, list(chunks)), *parser.finish()]


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}', [b'{"a":1}']),
        (b"\n\n \r\n1\n", [b"1"]),
        (b"", []),
        ('{"a":"\u2028\u2029\u0085\r"}\n'.encode(), ['{"a":"\u2028\u2029\u0085\r"}'.encode()]),
    ],
)
def test_a_line_ends_at_a_line_feed_and_nowhere_else(stream: bytes, lines: list[bytes]):
    assert parse(stream) == lines


@given(
    st.lists(st.sampled_from([b"{}", b"\n", b"\r", b" ", "é😀\u2028".encode(), b"\xff"])), st.data()
)
def test_any_cut_of_the_bytes_gives_the_same_lines(parts: list[bytes], data: st.DataObject):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]

    assert parse(*chunks) == parse(stream)
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)


@pytest.mark.parametrize(
    "chunks", [[b"x" * 81], [b"x" * 81 + b"\n"], [b"x"] * 81, [b"a\n" + b"x" * 40, b"x" * 41]]
)
def test_a_line_beyond_the_limit_is_refused_however_it_comes(chunks: list[bytes]):
    with pytest.raises(LineTooLargeError, match="80 bytes"):
        feed_all(NdjsonParser(limit=80), chunks)


def feed_all(parser: NdjsonParser, chunks: list[bytes]) -> list[bytes]:
    return [line for chunk in chunks for line in parser.feed(chunk)]


def test_many_lines_may_together_exceed_the_limit():
    assert feed_all(NdjsonParser(limit=10), [b"0123456789\n" * 50]) == [b"0123456789"] * 50
