"""A model provider that costs little: chunks as OpenAI sends them, whose text is their time.

The ``model`` of a request says what comes: ``<how>:<chunks>:<seconds>``. ``paced`` sends a chunk
every so many seconds, the second after a random part of them, so that streams are not in step;
``full`` sends as fast as the reader takes; ``cut``, ``stall`` and ``broken`` are ``paced`` and
break the connection, fall silent or send one event that is none after half of the chunks. The text
of a chunk is the time at which it is written, by the clock that all processes of a machine share.

The port comes on the standard output, then a line for each connection that was left in mid-answer:
the time at which that was seen.
"""

import asyncio
import random
import sys
import time
from typing import cast

import anyio
import msgspec

STAMP_WIDTH = 16
AT_ONCE = 50
"""Chunks of an unpaced answer that are written together, each in an HTTP chunk of its own."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK = (
    'data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk",'
    '"created":1741570283,"model":"fake-1","system_fingerprint":"fp_50cad350e4","choices":'
    '[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}],"usage":null}\n\n'
)
_USAGE = (
    'data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk",'
    '"created":1741570283,"model":"fake-1","choices":[],"usage":'
    '{"prompt_tokens":7,"completion_tokens":%d,"total_tokens":%d}}\n\n'
)
_GARBAGE = b"data: {not a chunk\n\n"


def framed(data: bytes) -> bytes:
    """Put bytes into one chunk of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stamped() -> bytes:
    """Write one chunk that says when it was written, in seconds."""
    delta = f'{{"content":"{time.monotonic():{STAMP_WIDTH}.6f}"}}'
    return framed((_CHUNK % (delta, "null")).encode())


def ending(chunks: int) -> bytes:
    """Write what follows the last text: the finish reason, the usage and the end."""
    finish, usage = (_CHUNK % ("{}", '"stop"')).encode(), (_USAGE % (chunks, chunks + 7)).encode()
    return b"".join(map(framed, (finish, usage, b"data: [DONE]\n\n", b"")))


class Connection(asyncio.Protocol):
    """One connection, and the answer that it carries at present."""

    def __init__(self) -> None:
        self._pending = b""
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._answering = False
        self._paused = False
        self._goes_on = self._nothing

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back, and few bytes waiting on it."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=64 * 1024)

    def data_received(self, data: bytes) -> None:
        """Answer a whole request."""
        self._pending += data
        head, end, body = self._pending.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        if not end or len(body) < int(fields[b"content-length"]):
            return
        self._pending = b""
        how, chunks, seconds = msgspec.json.decode(body)["model"].split(":")
        self._answering = True
        self._transport.write(HEAD)
        if how == "full":
            self._full(int(chunks))
        else:
            began = self._loop.time() + (random.random() - 1) * float(seconds)
            self._paced(how, int(chunks), 0, began, float(seconds))

    def pause_writing(self) -> None:
        """Write no more until the reader has taken some."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        go_on, self._goes_on = self._goes_on, self._nothing
        go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of an answer that was not heard to its end."""
        del exc
        if self._answering:
            self._answering = False
            print(f"{time.monotonic():.6f}", flush=True)

    # Answers

    def _paced(self, how: str, chunks: int, sent: int, began: float, seconds: float) -> None:
        if not self._answering:
            return
        if how != "paced" and sent == chunks // 2:
            if how == "stall":
                return
            if how == "cut":
                self._answering = False
                self._transport.abort()
                return
            self._transport.write(framed(_GARBAGE))
        if sent == chunks:
            self._end(chunks)
            return
        self._transport.write(stamped())
        due, sent = began + (sent + 1) * seconds, sent + 1
        self._loop.call_at(due, self._paced, how, chunks, sent, began, seconds)

    def _full(self, left: int) -> None:
        if not self._answering:
            return
        if self._paused:
            self._goes_on = lambda: self._full(left)
            return
        if left == 0:
            self._end(0)
            return
        now = min(left, AT_ONCE)
        self._transport.write(b"".join([stamped() for _ in range(now)]))
        self._loop.call_soon(self._full, left - now)

    def _end(self, chunks: int) -> None:
        self._answering = False
        self._transport.write(ending(chunks))

    def _nothing(self) -> None:
        """Nobody waits to go on."""


async def serve() -> None:
    """Serve on a free port and print it."""
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", 0, backlog=2048
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(serve, backend_options={"use_uvloop": sys.platform != "win32"})
