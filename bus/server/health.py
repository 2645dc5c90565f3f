"""Asking a server for its health, on the monitoring port that it opens for this machine."""

import anyio
import msgspec

from bus.codec import decode
from bus.errors import ProblemError

REQUEST = b"GET /healthz?details=true HTTP/1.0\r\n\r\n"
HEALTHY = b"200"
WRITE_ERROR = "write error"
"""What the server calls it when it could not store a message, and will not try again."""

ANSWER_SECONDS = 2.0
MOST_BYTES = 1024**2


class _Fault(msgspec.Struct):
    error: str = ""


class _Health(msgspec.Struct):
    errors: list[_Fault] = []


async def write_error(port: int) -> str | None:
    """Return why a stream of the server stores nothing more; None if all do or it does not say."""
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            _, _, body = (await _asked(port)).partition(b"\r\n\r\n")
        faults = decode(_Health, body).errors
    except (OSError, TimeoutError, ProblemError):
        return None
    return next((fault.error for fault in faults if WRITE_ERROR in fault.error), None)


async def is_healthy(port: int) -> bool:
    """Say whether the server is at one with its cluster about all streams that it holds."""
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            status, _, _ = (await _asked(port)).partition(b"\r\n")
    except (OSError, TimeoutError):
        return False
    return HEALTHY in status.split()


async def _asked(port: int) -> bytes:
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(REQUEST)
        try:
            while len(answer) < MOST_BYTES:
                answer += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return answer
    return answer
