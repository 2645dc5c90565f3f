"""The HTTP listener of a process: ``/metrics``, and ``/livez`` and ``/readyz`` for probes.

It answers GET and HEAD, one request a connection, and holds no more than some connections at once,
so that nobody can make it use memory; the idlest is closed for a new one, so that nobody can keep a
probe out. That it answers at all says that the event loop turns.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple

import anyio
from anyio.abc import SocketAttribute, SocketStream

from bus.errors import ConfigError
from bus.telemetry import metrics

MOST_CONNECTIONS = 64
MOST_REQUEST_BYTES = 8192
HEAD_SECONDS = 2.0
REQUEST_SECONDS = 5.0

_PLAIN = "text/plain; charset=utf-8"
_REQUEST_LINE_WORDS = 3


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str = _PLAIN


class _Call:
    """One connection, and how far its request has come."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.stage = 0
        """0 while nothing has come, 1 while the head is not whole, 2 when it is answered."""


class _Listener:
    """Answers by what the process says it still lacks."""

    def __init__(self, missing: Callable[[], Sequence[str]]) -> None:
        self._missing = missing
        self._open: dict[_Call, None] = {}

    async def serve(self, stream: SocketStream) -> None:
        """Answer one connection, within bounds, and close it whatever came."""
        async with stream:
            self._make_room()
            with anyio.move_on_after(REQUEST_SECONDS) as scope:
                call = _Call(scope)
                self._open[call] = None
                try:
                    await self._exchange(stream, call)
                except (anyio.BrokenResourceError, anyio.EndOfStream, TimeoutError):
                    return
                finally:
                    self._open.pop(call, None)

    def _make_room(self) -> None:
        """Close the oldest of the connections that have come least far, where there are many.

        Otherwise connections on which nothing happens would keep a probe out.
        """
        if len(self._open) >= MOST_CONNECTIONS:
            idlest = min(self._open, key=lambda call: call.stage)
            del self._open[idlest]
            idlest.scope.cancel()

    async def _exchange(self, stream: SocketStream, call: _Call) -> None:
        request = b""
        with anyio.fail_after(HEAD_SECONDS):
            while b"\r\n\r\n" not in request and len(request) < MOST_REQUEST_BYTES:
                request += await stream.receive(MOST_REQUEST_BYTES)
                call.stage = 1
        call.stage = 2
        method, answer = self._answer(request)
        await stream.send(_encode(answer, with_body=method != b"HEAD"))

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
        tasks.start_soon(listener.serve, _Listener(missing).serve)
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
