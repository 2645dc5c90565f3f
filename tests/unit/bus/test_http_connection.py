"""A connection on a transport of the test: any cut of the bytes, and what it holds back."""

import asyncio
from typing import Any, Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.http.connection import HttpConnection
from bus.http.errors import HttpBrokenError, HttpNotSentError, HttpTooLargeError
from bus.http.intake import TURN_BYTES, Intake
from bus.http.limits import PIECE_BYTES, UNREAD_BYTES, HttpLimits
from bus.http.reading import Reading

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Wire:
    """A transport that notes what is done with it."""

    def __init__(self) -> None:
        self.written = b""
        self.reads = True
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


class Line:
    """A connection in a loop that runs as far as it is told."""

    def __init__(self, limits: HttpLimits | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self.heard: list[str] = []
        self.wire = Wire()
        heard: Any = (lambda _: self.heard.append("made"), lambda _: self.heard.append("lost"))
        self.intake = Intake(self.loop)
        limits = limits or HttpLimits()
        self.connection = HttpConnection(self.loop, self.intake, limits, heard)
        self.connection.connection_made(cast("Any", self.wire))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.turn(20)
        self.loop.close()

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def ask(self) -> "asyncio.Task[Reading]":
        asked = self.connection.ask(b"head", b"body", bodiless=False, patience=None)
        task = self.loop.create_task(asked)
        self.turn()
        return task

    def read(self, reading: Reading) -> bytes:
        """Read the body to its end, or to where it fails."""
        body = b""
        for _ in range(10_000):
            if not reading.pieces and (reading.done or reading.failure):
                return body
            self.turn()
            body += reading.take()
            if self.connection.read_paused:
                self.connection.go_on_reading()
        raise AssertionError("there is no end")


@given(
    st.lists(st.binary(min_size=1, max_size=400) | st.integers(1, 90_000).map(bytes), max_size=6),
    st.lists(st.integers(1, 200_000), max_size=8),
    st.booleans(),
)
def test_pieces_cut_anywhere_give_the_same_body(
    chunks: list[bytes], sizes: list[int], closes: bool
):
    data = HEAD + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data += b"0\r\n\r\n"
    with Line() as line:
        task = line.ask()
        for size in [*sizes, len(data)]:
            if data:
                line.connection.data_received(data[:size])
                data = data[size:]
        if closes:
            line.connection.connection_lost(None)
        line.turn(20)
        reading = task.result()

        assert line.wire.written == b"headbody"
        assert line.read(reading) == b"".join(chunks)
        assert reading.failure is None
        assert line.wire.reads or closes
        line.turn(20)
        assert line.connection.release() is (not closes)


def test_what_is_not_read_stops_the_socket_at_a_bound():
    chunk = b"%x\r\n%b\r\n" % (PIECE_BYTES, bytes(PIECE_BYTES))
    with Line() as line:
        task = line.ask()
        line.connection.data_received(HEAD)
        line.turn()
        sent = 0
        while line.wire.reads:
            line.connection.data_received(chunk)
            sent += PIECE_BYTES
            line.turn(5)
            assert sent < 10 * UNREAD_BYTES
        assert task.result().unread <= UNREAD_BYTES + PIECE_BYTES
        line.connection.data_received(b"0\r\n\r\n")
        assert len(line.read(task.result())) == sent
        assert line.wire.reads


def test_in_one_turn_all_connections_together_parse_so_much():
    data = HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (64_000, bytes(64_000))
    heard: Any = (lambda _: None, lambda _: None)
    with Line() as line:
        connections = [
            HttpConnection(line.loop, line.intake, HttpLimits(), heard) for _ in range(10)
        ]
        for connection in connections:
            connection.connection_made(cast("Any", Wire()))
            asked = connection.ask(b"", b"", bodiless=False, patience=None)
            line.loop.create_task(asked)
        line.turn()
        for connection in connections:
            connection.data_received(data)
        line.turn()
        parsed = sum(_body(connection) for connection in connections)
        line.turn(40)

        assert 0 < parsed <= 2 * TURN_BYTES
        assert sum(_body(connection) for connection in connections) == 640_000


def _body(connection: HttpConnection) -> int:
    return connection._reading.body if connection._reading else 0


@pytest.mark.parametrize("data", [b"x", HEAD])
def test_bytes_without_a_question_close_the_connection(data: bytes):
    with Line() as line:
        line.connection.data_received(data)
        assert line.wire.closed


def test_on_a_closed_connection_nothing_is_sent():
    with Line() as line:
        line.connection.connection_lost(None)
        line.connection.connection_lost(None)
        with pytest.raises(HttpNotSentError):
            line.ask().result()
        assert line.wire.written == b""
        assert line.heard == ["made", "lost"]


@pytest.mark.parametrize("come", [b"", b"HTTP/1.1 1", b"HTTP/1.1 100 C\r\n\r\n"])
def test_a_loss_before_the_head_is_a_broken_exchange(come: bytes):
    with Line() as line:
        task = line.ask()
        if come:
            line.connection.data_received(come)
        line.connection.connection_lost(OSError())
        line.turn(3)
        assert line.connection.is_answered is bool(come)
        with pytest.raises(HttpBrokenError):
            task.result()


def test_what_breaks_a_bound_closes_the_connection():
    with Line(HttpLimits(head_bytes=100)) as line:
        task = line.ask()
        line.connection.data_received(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100)
        line.turn(3)
        assert line.wire.closed
        with pytest.raises(HttpTooLargeError):
            task.result()
