"""The HTTP listener of a process: ``/metrics``, and ``/livez`` and ``/readyz`` for probes.

It answers GET and HEAD, one request a connection. That it answers at all says that the event loop
turns. Nobody can make it use memory, or keep a probe out by opening many connections:

- A connection whose request is there when it is accepted is answered at once, without a task.
- Connections that wait for their request are bounded. For a new one, the peer with most of them
  loses the one that has been silent longest.
- It accepts some connections in one turn of the loop, so that everything else goes on.
"""

import selectors
import socket
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, NamedTuple

import anyio
from anyio.abc import SocketAttribute, TaskGroup

from bus.errors import ConfigError
from bus.tasks import loop_time
from bus.telemetry import metrics

MOST_CONNECTIONS = 512
MOST_ANSWERS = 32
"""Answers that a peer is slow to take; the largest are metrics, some 100 KB."""

MOST_REQUEST_BYTES = 8192
HEAD_SECONDS = 2.0
REQUEST_SECONDS = 5.0

AT_ONCE = 32
"""Connections accepted in one turn of the loop: one or two milliseconds."""

LOOK_SECONDS = 0.005
"""How often connections that wait for their request are looked at."""

PAUSE_SECONDS = 0.1
"""Until the next try where the system has no descriptor left for a connection."""

_READ_BYTES = 65_536

_PLAIN = "text/plain; charset=utf-8"
_REQUEST_LINE_WORDS = 3


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str = _PLAIN


class _Call:
    """One connection, and what has come of its request."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        self.since = loop_time()
        self.request = b""

    def is_whole(self) -> bool:
        """Read what is there. Say whether that is a request, or too much for one.

        Raises:
            OSError: the peer has gone, or says nothing (``BlockingIOError``).
        """
        data = self.connection.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError
        self.request += data
        return b"\r\n\r\n" in self.request or len(self.request) >= MOST_REQUEST_BYTES


class _Waiting:
    """Connections that wait for their request; of each peer the one silent longest comes first."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._of_peers: defaultdict[str, dict[_Call, None]] = defaultdict(dict)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, call: _Call) -> None:
        """Let a connection wait, and close another one for it where there are too many."""
        if self._count >= MOST_CONNECTIONS:
            crowd = max(self._of_peers.values(), key=len)
            self.close(next(iter(crowd)))
        self._of_peers[call.peer][call] = None
        self._selector.register(call.connection, selectors.EVENT_READ, call)
        self._count += 1

    def close(self, call: _Call) -> None:
        """Close a connection that waits."""
        self.remove(call)
        call.connection.close()

    def remove(self, call: _Call) -> None:
        """Let a connection wait no more."""
        self._selector.unregister(call.connection)
        of_peer = self._of_peers[call.peer]
        del of_peer[call]
        if not of_peer:
            del self._of_peers[call.peer]
        self._count -= 1

    def heard(self) -> list[_Call]:
        """Return the connections on which something has come."""
        return [key.data for key, _ in self._selector.select(0)]

    def overdue(self, now: float) -> list[_Call]:
        """Return the connections that have waited for too long."""
        oldest = now - min(HEAD_SECONDS, REQUEST_SECONDS)
        calls = (call for of_peer in self._of_peers.values() for call in of_peer)
        return [call for call in calls if call.since <= oldest]

    def finish(self) -> None:
        """Close them all."""
        for call in [call for of_peer in self._of_peers.values() for call in of_peer]:
            self.close(call)
        self._selector.close()


class _Listener:
    """Answers by what the process says it still lacks."""

    def __init__(self, missing: Callable[[], Sequence[str]]) -> None:
        self._missing = missing
        self._sending = 0

    async def serve(self, listener: socket.socket) -> None:
        """Accept and answer until cancelled."""
        waiting, looked_at = _Waiting(), loop_time()
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    with anyio.move_on_after(LOOK_SECONDS if len(waiting) else None):
                        await anyio.wait_readable(listener)
                    # First what came first: a new connection may cost the most silent one.
                    self._read(waiting, tasks)
                    if not self._accept(listener, waiting, tasks):
                        await anyio.sleep(PAUSE_SECONDS)
                    if (now := loop_time()) - looked_at >= LOOK_SECONDS:
                        looked_at = now
                        for call in waiting.overdue(now):
                            waiting.close(call)
        finally:
            waiting.finish()

    def _accept(self, listener: socket.socket, waiting: _Waiting, tasks: TaskGroup) -> bool:
        """Accept some connections; return False where the system lets us have no more."""
        for _ in range(AT_ONCE):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return True
            except OSError:
                return False
            connection.settimeout(0)
            call = _Call(connection, str(address[0]))
            if not self._is_answered(call, tasks):
                waiting.add(call)
        return True

    def _read(self, waiting: _Waiting, tasks: TaskGroup) -> None:
        for call in waiting.heard() if len(waiting) else ():
            waiting.remove(call)
            if not self._is_answered(call, tasks):
                # Behind all that have been silent for longer.
                waiting.add(call)

    def _is_answered(self, call: _Call, tasks: TaskGroup) -> bool:
        """Answer a connection if its request is there, or close it if its peer has gone."""
        try:
            if not call.is_whole():
                return False
            method, answer = self._answer(call.request)
            data = _encode(answer, with_body=method != b"HEAD")
            self._send(call.connection, memoryview(data), tasks)
        except BlockingIOError:
            return False
        except OSError:
            call.connection.close()
        return True

    def _send(self, connection: socket.socket, data: memoryview, tasks: TaskGroup) -> None:
        """Send an answer; what the peer does not take at once is sent while it takes it."""
        with suppress(BlockingIOError):
            data = data[connection.send(data) :]
        if data and self._sending < MOST_ANSWERS:
            self._sending += 1
            tasks.start_soon(self._send_rest, connection, data)
        else:
            connection.close()

    async def _send_rest(self, connection: socket.socket, data: memoryview) -> None:
        try:
            with anyio.move_on_after(REQUEST_SECONDS), suppress(OSError):
                while data:
                    await anyio.wait_writable(connection)
                    data = data[connection.send(data) :]
        finally:
            self._sending -= 1
            connection.close()

    def _answer(self, request: bytes) -> tuple[bytes, _Answer]:
        words = request.partition(b"\r\n")[0].split(b" ")
        if len(words) != _REQUEST_LINE_WORDS or not words[2].startswith(b"HTTP/1."):
            return b"", _plain(HTTPStatus.BAD_REQUEST)
        method, target, _ = words
        if method not in (b"GET", b"HEAD"):
            return method, _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        return method, self._page(target.partition(b"?")[0])

    def _page(self, path: bytes) -> _Answer:
        match path:
            case b"/metrics":
                return _Answer(HTTPStatus.OK, metrics.render(), metrics.CONTENT_TYPE)
            case b"/livez":
                return _plain(HTTPStatus.OK)
            case b"/readyz":
                return self._readiness()
            case _:
                return _plain(HTTPStatus.NOT_FOUND)

    def _readiness(self) -> _Answer:
        reasons = self._missing()
        if not reasons:
            return _plain(HTTPStatus.OK)
        return _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "".join(f"{r}\n" for r in reasons).encode())


@asynccontextmanager
async def listening(
    missing: Callable[[], Sequence[str]], *, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[int]:
    """Answer while the context is open, and yield the port; 0 takes a free one.

    ``missing`` returns what the process still lacks to be ready, nothing when it is ready.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise ConfigError("CALLBOARD_METRICS_PORT", f"{host}:{port}: {error.strerror}") from None
    async with listener, anyio.create_task_group() as tasks:
        for each in listener.listeners:
            accepting: Any = each.extra(SocketAttribute.raw_socket)  # noqa: S610  no database here
            tasks.start_soon(_Listener(missing).serve, accepting)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610  no database here
        tasks.cancel_scope.cancel()


def _plain(status: HTTPStatus) -> _Answer:
    return _Answer(status, f"{status.phrase.lower()}\n".encode())


def _encode(answer: _Answer, *, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (answer.body if with_body else b"")
