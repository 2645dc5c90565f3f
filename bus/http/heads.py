"""Heads of requests written, and headers of answers found (RFC 9110, RFC 9112)."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from bus.errors import problem
from bus.http.urls import HttpTarget

Fields = Mapping[str, str] | Sequence[tuple[str, str]]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}\Z")
_OURS = frozenset(
    {"host", "connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "proxy-connection", "proxy-authorization"}
)
"""What the client says itself; a caller's are left out."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class HttpHeaders:
    """Headers in the order in which they came; names in any case, several values of one name."""

    __slots__ = ("raw",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self.raw = raw

    def get(self, name: str, default: str = "") -> str:
        """Return the value of a header; several values are joined with a comma."""
        return ", ".join(self.all(name)) or default

    def all(self, name: str) -> list[str]:
        """Return each value of a header."""
        wanted = name.lower().encode()
        return [text.decode("latin-1") for each, text in self.raw if each.lower() == wanted]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, text in self.raw:
            yield name.decode("latin-1").lower(), text.decode("latin-1")

    def __contains__(self, name: str) -> bool:
        wanted = name.lower().encode()
        return any(each.lower() == wanted for each, _ in self.raw)

    def __len__(self) -> int:
        return len(self.raw)


class Extra(NamedTuple):
    """What a client says besides: the form of the URL for a proxy, and headers of its own.

    ``accept_encoding`` is said where the caller does not say it.
    """

    absolute: bool = False
    proxy_credentials: str = ""
    accept_encoding: str = ""


def request_head(method: str, target: HttpTarget, fields: Fields, size: int, extra: Extra) -> bytes:
    """Write the head of a request whose body has ``size`` bytes.

    Names in ``fields`` that only the client can say are left out.

    Raises:
        ProblemError: ``validation``: a method, name or value that would not stay one.
    """
    if not _lowered(method):
        raise problem("validation", "This is no HTTP method.", field="method")
    where = target.absolute if extra.absolute else target.path
    lines = [f"{method} {where} HTTP/1.1", f"host: {target.host}"]
    accept = extra.accept_encoding
    pairs: Iterable[tuple[str, str]] = fields.items() if isinstance(fields, Mapping) else fields
    for name, text in pairs:
        lowered = _lowered(name)
        if not lowered:
            raise problem("validation", "This is no name of a header.", field="headers")
        if lowered == "accept-encoding":
            accept = ""
        if lowered not in _OURS:
            lines.append(f"{lowered}: {text}")
    if accept:
        lines.append(f"accept-encoding: {accept}")
    if extra.proxy_credentials:
        lines.append(f"proxy-authorization: {extra.proxy_credentials}")
    if size or method in _WITH_BODY:
        lines.append(f"content-length: {size}")
    return _encoded(lines)


def _encoded(lines: list[str]) -> bytes:
    head = "\r\n".join(lines)
    # One search of the whole head in place of one of each value.
    if not head.count("\n") == head.count("\r") == len(lines) - 1 or "\0" in head:
        reason = "The value of a header holds a line break or a null character."
        raise problem("validation", reason, field="headers")
    try:
        return f"{head}\r\n\r\n".encode("latin-1")
    except UnicodeEncodeError:
        reason = "The value of a header holds a character outside Latin-1."
        raise problem("validation", reason, field="headers") from None


@lru_cache(maxsize=1024)
def _lowered(name: str) -> str:
    """Return a token in lower case; "" where a text is none."""
    return name.lower() if _TOKEN.match(name) else ""
