"""HTTP requests that a workflow makes: the item of work, and what is reported of it. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from schemas.base import Internal
from schemas.callbacks import EndOutcome
from schemas.nets import HttpAction
from schemas.work import Done

HTTP_QUEUE = "http"

NO_BODY = msgspec.Raw(b"null")
"""Stands for no body: an empty ``Raw`` cannot be written where it is not left out."""

_BODILESS = frozenset({"GET", "DELETE"})
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
"""What these ask for is the same after a second request (RFC 9110, section 9.2.2)."""


class HttpWork(Internal):
    """The body of an item: one request. ``secret`` is the name of the one that it bears."""

    url: str
    method: str
    deadline: datetime
    headers: dict[str, str] = {}
    query: list[tuple[str, str]] = []
    body: msgspec.Raw = NO_BODY
    secret: str | None = None
    expect: list[int] = []

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return b"" if self.body == NO_BODY else bytes(self.body)


class HttpDone(Done, tag="http_done"):
    """The server has answered: the outcome's value has ``status`` and ``body``."""

    outcome: EndOutcome


def http_work(action: HttpAction, values: Mapping[str, Any], deadline: datetime) -> HttpWork:
    """Return the request of an action with these values: its JSON body, or its query."""
    is_bodiless = action.method in _BODILESS
    return HttpWork(
        url=action.url,
        method=action.method,
        deadline=deadline,
        headers=action.headers,
        query=list(_query(values)) if is_bodiless else [],
        body=NO_BODY if is_bodiless else msgspec.Raw(msgspec.json.encode(values)),
        secret=action.secret,
        expect=action.expect,
    )


def is_once(method: str) -> bool:
    """Say whether a request of this method may have its effect only once."""
    return method not in _REPEATABLE


def lane_of(url: str) -> str:
    """Return the lane of an item: a server that hangs holds up no requests to others."""
    try:
        return (urlsplit(url).hostname or "").replace("/", "")[:253]
    except ValueError:
        return ""


def _query(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a query: a list gives one for each element, and null none."""
    for name, value in values.items():
        several = cast("list[Any]", value) if isinstance(value, list) else [value]
        for each in several:
            if each is not None:
                yield name, each if isinstance(each, str) else msgspec.json.encode(each).decode()
