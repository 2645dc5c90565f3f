"""The bounds of an HTTP client."""

from typing import NamedTuple

PIECE_BYTES = 32 * 1024
"""What is parsed, and handed out, at a time."""

BRIEF_BYTES = 4 * 1024
"""A piece that a reader may take at any time; for a larger one it waits for its turn."""

UNREAD_BYTES = 64 * 1024
"""What lies parsed and unread before a connection is not read any further."""

OVERHEAD_BYTES = 256 * 1024
OVERHEAD_RATIO = 16
"""A connection is cut that brings more than so many bytes, and so many for each byte of a body."""


class HttpLimits(NamedTuple):
    """Seconds, bytes and counts. The defaults suit calls of an API.

    ``connections`` and ``waiting`` are per origin (scheme, host and port); ``kept`` bounds the
    connections of all origins that wait for another request. ``read_seconds`` bounds the wait for
    the next piece of a body; None stands for no bound. The wait for the head is bounded by the
    caller. With ``decodes`` the client asks for gzip and deflate and undoes them.
    """

    connect_seconds: float = 10.0
    read_seconds: float | None = 60.0
    keep_alive_seconds: float = 30.0
    connections: int = 256
    waiting: int = 10_000
    kept: int = 1024
    head_bytes: int = 64 * 1024
    headers: int = 200
    interim: int = 16
    body_bytes: int = 256 * 1024 * 1024
    decodes: bool = True
    """Off where the caller has to see a body as it was sent."""
