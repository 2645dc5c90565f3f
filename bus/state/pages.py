"""How a state at rest lies in messages: a head, and pages where it is too large for one. Pure.

The head begins with a line that says how many pages follow on subjects of their own. They are
written with it in one atomic batch; its digest tells who reads them one by one whether they belong
together.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from bus.codec import decode, encode

PAGE_BYTES = 512 * 1024
"""Half of a server's default limit for one message."""

_LINE = b"\n"


class StateHead(msgspec.Struct, omit_defaults=True):
    """The first line. ``n`` counts the entries that led to the state."""

    n: int
    pages: int = 0
    digest: str = ""


class OpenedState(NamedTuple):
    """A head and what follows its line: the whole state, where there are no pages."""

    head: StateHead
    data: bytes


def laid_out(n: int, data: bytes) -> list[bytes]:
    """Return the messages of a state, the head first."""
    if len(data) <= PAGE_BYTES:
        return [encode(StateHead(n=n)) + _LINE + data]
    pages = [data[start : start + PAGE_BYTES] for start in range(0, len(data), PAGE_BYTES)]
    head = StateHead(n=n, pages=len(pages), digest=sha256(data).hexdigest())
    return [encode(head) + _LINE, *pages]


def opened(message: bytes) -> OpenedState:
    """Read a head.

    Raises:
        ProblemError: ``validation``: it is none.
    """
    line, _, data = message.partition(_LINE)
    return OpenedState(decode(StateHead, line), data)


def joined(head: StateHead, pages: Sequence[bytes]) -> bytes | None:
    """Return the state of a head from its pages; None where these are of another one."""
    data = b"".join(pages)
    return data if sha256(data).hexdigest() == head.digest else None


def page_subject(subject: str, page: int) -> str:
    """Return where a page lies of the state whose head lies at ``subject``."""
    return f"{subject}.{page}"
