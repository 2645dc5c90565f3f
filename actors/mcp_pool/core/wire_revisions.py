"""The revisions of MCP: how each opens, and what each says with every request."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.mcp_pool.core import wire
from actors.mcp_pool.core.upstream import Opened
from actors.mcp_pool.core.wire_content import told_line
from actors.mcp_pool.core.wire_headers import routing
from schemas import bounds
from schemas.base import Value

STATELESS = ("2026-07-28",)
"""Revisions that have no sessions, newest first."""

HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions that begin with ``initialize``, newest first."""

CLIENT = {"name": "callboard", "version": "0.1.0"}

MAX_SERVER_NAME = 100

_META = "io.modelcontextprotocol/"
_LISTS = ("tools", "resources", "prompts")


class UnknownRevisionError(ValueError):
    """The server speaks none of our revisions."""


class Introduced(Value):
    """Who somebody is: a server, by its own word."""

    name: str = ""


class Agreed(Value):
    """The result of ``initialize``, and of ``server/discover``."""

    version: str = msgspec.field(default="", name="protocolVersion")
    supported: list[str] = msgspec.field(default_factory=list[str], name="supportedVersions")
    capabilities: dict[str, Any] = {}
    server: Introduced = msgspec.field(default=Introduced(), name="serverInfo")
    meta: dict[str, Any] = msgspec.field(default_factory=dict[str, Any], name="_meta")


class Revision:
    """How requests of a revision look. ``offers``: what this client declares that it can do.

    ``stateless`` ones say with every request all that an opening would have said; ``headers`` is
    what every HTTP request carries. Both are written once, since every call has them.
    """

    __slots__ = ("_meta", "_written", "headers", "offers", "stateless", "version")

    def __init__(self, version: str, offers: Mapping[str, Any] = {}) -> None:
        self.version = version
        self.offers = offers
        self.stateless = version in STATELESS
        self.headers = {"MCP-Protocol-Version": version}
        self._meta = {
            f"{_META}protocolVersion": version,
            f"{_META}clientInfo": CLIENT,
            f"{_META}clientCapabilities": offers,
        }
        self._written = msgspec.Raw(msgspec.json.encode(self._meta))

    def request(
        self, number: int, method: str, params: Mapping[str, Any], headers: Mapping[str, str] = {}
    ) -> wire.RpcRequest:
        """Return a request in the form of the revision."""
        if not self.stateless:
            return wire.request(number, method, params, headers)
        own = params.get("_meta")
        params = {**params, "_meta": {**own, **self._meta} if own else self._written}
        headers = {**self.headers, **routing(method, params), **headers}
        return wire.request(number, method, params, headers)

    def hello(self) -> dict[str, Any]:
        """Return the parameters of ``initialize``."""
        return {
            "protocolVersion": self.version,
            "capabilities": self.offers,
            "clientInfo": CLIENT,
        }


def agreed(raw: msgspec.Raw) -> Agreed:
    """Read what a server says when it is asked how it speaks.

    Raises:
        wire.MalformedFrameError: it is nothing of the kind.
    """
    try:
        return bounds.decode(raw, type=Agreed)
    except msgspec.DecodeError:
        raise wire.MalformedFrameError("the server does not say what it can do") from None


def common(theirs: Iterable[str], ours: Iterable[str]) -> str | None:
    """Return the newest revision of ``ours`` that the other side speaks, None without one."""
    known = set(theirs)
    return next((version for version in ours if version in known), None)


def opened(version: str, known: Iterable[str], found: Agreed) -> Opened:
    """Return what is known of a server.

    Raises:
        UnknownRevisionError: it has chosen a revision that is none of the ``known`` ones.
    """
    if version not in known:
        raise UnknownRevisionError(f"it speaks revision {told_line(version, 20)!r}")
    stateless = version in STATELESS
    able = found.capabilities
    changing = any(
        isinstance(able.get(each), dict) and able[each].get("listChanged") is True
        for each in _LISTS
    )
    return Opened(
        era="2026" if stateless else "2025",
        version=version,
        server=told_line(_name(found), MAX_SERVER_NAME),
        tools="tools" in able,
        resources="resources" in able,
        prompts="prompts" in able,
        list_changed=changing,
        stateless=stateless,
    )


def _name(found: Agreed) -> str:
    told = found.meta.get(f"{_META}serverInfo")
    name = told.get("name") if isinstance(told, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  JSON
    return name if isinstance(name, str) else found.server.name
