"""Answers read from bytes: cut anywhere they are the same, and what is not sound is refused."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.http.errors import HttpBrokenError, HttpTooLargeError
from bus.http.limits import OVERHEAD_BYTES, PIECE_BYTES, HttpLimits
from bus.http.reading import Reading

LIMITS = HttpLimits()
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


class Told(NamedTuple):
    """What a reader of an answer learns."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    done: bool
    keeps: bool
    failed: bool


def read(parts: list[bytes], *, closed: bool = False, limits: HttpLimits = LIMITS) -> Told:
    reading = Reading(limits)
    body = b""
    for part in parts:
        reading.feed(part)
        while piece := reading.take():
            assert len(piece) <= PIECE_BYTES
            body += piece
    if closed:
        reading.end()
    failed = reading.failure is not None
    headers = list(reading.headers)
    return Told(reading.status, headers, body, reading.done, reading.keeps, failed)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes, bool]:
    """Draw an answer, its body, and whether its end is that of the connection."""
    body = draw(st.binary(max_size=200))
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n"]))
    head = interim + b"HTTP/1.1 %d Any\r\nx-one: 1\r\nX-Two: a: b\r\n" % draw(st.integers(200, 203))
    match draw(st.sampled_from(["length", "chunks", "closed"])):
        case "length":
            return head + b"content-length: %d\r\n\r\n%b" % (len(body), body), body, False
        case "chunks":
            size = draw(st.integers(1, 64))
            parts = [body[at : at + size] for at in range(0, len(body), size)]
            framed = b"".join(b"%x;e=1\r\n%b\r\n" % (len(part), part) for part in parts)
            end = b"0\r\nx-trailer: late\r\n\r\n"
            return head + b"transfer-encoding: chunked\r\n\r\n" + framed + end, body, False
        case _:
            return head + b"\r\n" + body, body, True


@given(answers(), st.lists(st.integers(0, 600)))
def test_cut_anywhere_an_answer_is_the_same(answer: tuple[bytes, bytes, bool], cuts: list[int]):
    data, body, closed = answer
    ends = [*sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    told = read([part for part in parts if part], closed=closed)

    assert told == read([data], closed=closed)
    assert (told.body, told.done, told.keeps, told.failed) == (body, True, not closed, False)
    assert ("x-two", "a: b") in told.headers
    assert "x-trailer" not in dict(told.headers)
    assert "link" not in dict(told.headers)


@given(answers())
def test_cut_off_anywhere_an_answer_is_broken_or_shorter(answer: tuple[bytes, bytes, bool]):
    data, body, closed = answer
    for end in range(len(data)):
        told = read([data[:end]], closed=True)
        assert told.failed or (closed and body.startswith(told.body))
        assert not told.keeps


REFUSED = {
    "a length beside chunks": b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
    "chunks beside a length": b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
    "two lengths": b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
    "a list of lengths": b"content-length: 3, 3\r\n\r\nabc",
    "a length with a sign": b"content-length: +3\r\n\r\nabc",
    "a length below zero": b"content-length: -3\r\n\r\nabc",
    "a length beyond all": b"content-length: 99999999999999999999\r\n\r\nabc",
    "another coding": b"transfer-encoding: gzip\r\n\r\nabc",
    "chunks in a coding": b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding around chunks": b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "almost chunks": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a continued header": b"x: 1\r\n content-length: 3\r\ncontent-length: 0\r\n\r\n",
    "a space before the colon": b"content-length : 3\r\n\r\nabc",
    "a null": b"x: \0\r\ncontent-length: 0\r\n\r\n",
    "a bare return": b"x: a\rcontent-length: 3\r\ncontent-length: 0\r\n\r\n",
    "a bare line feed": b"x: a\ncontent-length: 0\r\n\r\n",
    "no chunk size": b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "a chunk beyond all": b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a chunk longer than it says": b"transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(name: str):
    reading = Reading(LIMITS)
    reading.feed(OK + REFUSED[name])
    reading.end()

    assert isinstance(reading.failure, HttpBrokenError)
    assert not reading.keeps


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nbytes",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\xa5",
        b"",
    ],
)
def test_what_is_no_answer_is_refused(start: bytes):
    reading = Reading(LIMITS)
    reading.feed(start)
    reading.end()

    assert isinstance(reading.failure, HttpBrokenError)


TOO_LARGE = {
    "a header": (OK + b"x: ", b"a" * 4096, HttpLimits(head_bytes=16_000)),
    "the headers": (OK, b"x: 1\r\n", HttpLimits(headers=20)),
    "the status": (b"HTTP/1.1 200 ", b"O" * 4096, HttpLimits(head_bytes=16_000)),
    "interim answers": (b"", b"HTTP/1.1 100 C\r\n\r\n", HttpLimits(interim=5)),
    "the body": (OK + b"\r\n", b"a" * 4096, HttpLimits(body_bytes=16_000)),
    "the chunks": (CHUNKED, b"4\r\nabcd\r\n", HttpLimits(body_bytes=16_000)),
    "extensions": (CHUNKED, b"1;" + b"e" * 400 + b"\r\na\r\n", HttpLimits()),
    "an extension": (CHUNKED + b"1;", b"e" * 4096, HttpLimits()),
    "trailers": (CHUNKED + b"0\r\n", b"x: 1\r\n" * 500, HttpLimits()),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_each_part_of_an_answer_has_a_bound(name: str):
    start, data, limits = TOO_LARGE[name]
    reading = Reading(limits)
    reading.feed(start)
    brought = 0
    while reading.failure is None and brought < 3 * OVERHEAD_BYTES:
        reading.feed(data)
        reading.take()
        brought += len(data)

    assert isinstance(reading.failure, HttpTooLargeError)


def test_a_failure_drops_what_comes_behind_it_and_keeps_what_came_before():
    reading = Reading(LIMITS)
    reading.feed(CHUNKED + b"2\r\nab\r\nzz\r\n")
    reading.feed(b"2\r\ncd\r\n")

    assert reading.take() == b"ab"
    assert isinstance(reading.failure, HttpBrokenError)


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 204 No\r\n\r\n", True),
        (b"HTTP/1.1 304 Same\r\ncontent-length: 3\r\n\r\n", True),
    ],
)
def test_both_sides_must_want_to_keep_a_connection(head: bytes, keeps: bool):
    assert read([head])[3:] == (True, keeps, False)


@pytest.mark.parametrize("behind", [OK + b"content-length: 1\r\n\r\nx", b"\r\nx", b"abc", b"\0"])
@pytest.mark.parametrize("cut", [True, False])
def test_what_comes_behind_an_answer_belongs_to_nobody(behind: bytes, cut: bool):
    answer = OK + b"content-length: 2\r\n\r\nok"
    told = read([answer, behind] if cut else [answer + behind])

    assert (told.status, told.body, told.done) == (200, b"ok", True)
    assert not told.keeps
    assert not told.failed


def test_an_answer_to_head_has_no_body():
    reading = Reading(LIMITS, bodiless=True)
    reading.feed(OK + b"content-length: 1000\r\n\r\n")

    assert (reading.done, reading.status, reading.take()) == (True, 200, b"")
    assert not reading.keeps


def test_interim_answers_are_counted():
    reading = Reading(HttpLimits(interim=5))
    reading.feed(b"HTTP/1.1 100 C\r\n\r\n" * 5)
    assert reading.failure is None

    reading.feed(b"HTTP/1.1 100 C\r\n\r\n")
    assert isinstance(reading.failure, HttpTooLargeError)
