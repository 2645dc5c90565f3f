"""What the pool knows of a server: where it runs, by whose word, and which tools it may offer."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from actors.mcp_pool.core.upstream import Lane
from schemas.addresses import header_fault, url_fault
from schemas.problems import Problem
from schemas.tool_servers import (
    ApplyServer,
    OperatorServer,
    RemoteServer,
    ServerSummary,
    ServerTerms,
    ServerTools,
    Strategy,
    ToolServer,
)
from schemas.tools import AGENTS_SERVER, ServerTool, ToolHints
from schemas.versioned import changed

OPERATOR = ""
"""Whose servers those are that the operator has named."""

_RESERVED_HEADERS = re.compile(
    r"(mcp-.*|accept|content-type|traceparent|tracestate)\Z", re.IGNORECASE
)
_INSTEAD = "looks like a credential: name a secret in server.secret or server.secret_headers"
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class ServerPlace(NamedTuple):
    """Where one replica of a server runs."""

    lane: Lane
    url: str = ""
    command: tuple[str, ...] = ()


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A server that calls can go to. ``owner`` is a tenant, or ``OPERATOR``."""

    name: str
    owner: str
    version: int
    places: tuple[ServerPlace, ...]
    terms: ServerTerms
    strategy: Strategy = "least_connections"
    env: dict[str, str] = {}
    env_from: tuple[str, ...] = ()

    @property
    def is_operators(self) -> bool:
        """Whether the operator has named it, who may let it be anywhere."""
        return self.owner == OPERATOR


_BUILT_IN = "is the name of the built-in server that runs agents"


def spec_of(definition: ToolServer, tenant: str) -> ServerSpec:
    """Return the server that a tenant has defined."""
    server = definition.server
    return ServerSpec(
        name=definition.id,
        owner=tenant,
        version=definition.version,
        places=(ServerPlace(server.transport, url=server.url),),
        terms=server,
    )


def operators_spec(name: str, server: OperatorServer) -> ServerSpec | str:
    """Return a server of the operator's file, or what is wrong with it."""
    if name == AGENTS_SERVER:
        return f"{name}: {_BUILT_IN}"
    urls = [*([server.url] if server.url else []), *server.urls]
    if bool(urls) == bool(server.command):
        return f"{name}: needs either a url or a command"
    if any(url_fault(url) for url in urls):
        return f"{name}: a url {next(filter(None, map(url_fault, urls)))}"
    strange = [each for each in server.env_from if not _ENVIRONMENT.match(each)]
    if strange:
        return f"{name}: env_from holds what is no name of a variable"
    if server.command and server.oauth is not None:
        return f"{name}: oauth is for servers with a url"
    if (fault := _oauth_fault(server)) is not None:
        return f"{name}: {fault[0]} {fault[1]}"
    if urls:
        places = tuple(ServerPlace(server.transport, url=url) for url in urls)
    else:
        places = (ServerPlace("stdio", command=tuple(server.command)),) * server.replicas
    return ServerSpec(
        name=name,
        owner=OPERATOR,
        version=0,
        places=places,
        terms=server,
        strategy=server.strategy,
        env=server.env,
        env_from=tuple(server.env_from),
    )


# Definitions of tenants


def create(wanted: ApplyServer, now: datetime, *, version: int) -> ToolServer | Problem:
    """Build a new definition."""
    if wanted.id == AGENTS_SERVER:
        return _wrong("id", _BUILT_IN)
    return _fault(wanted.server) or ToolServer(
        id=wanted.id,
        version=version,
        created_at=now,
        updated_at=now,
        server=wanted.server,
        description=wanted.description,
    )


def update(standing: ToolServer, wanted: ApplyServer, now: datetime) -> ToolServer | Problem:
    """Replace all that is said of a server."""
    fault = _fault(wanted.server)
    return fault or changed(standing, now, server=wanted.server, description=wanted.description)


def summary(server: ToolServer) -> ServerSummary:
    """Return the row of a tenant's server."""
    return ServerSummary(
        id=server.id,
        owner="tenant",
        description=server.description,
        url=server.server.url,
        version=server.version,
        updated_at=server.updated_at,
    )


def operators_summary(name: str, description: str) -> ServerSummary:
    """Return the row of a server of the operator; where it is, is nobody's business."""
    return ServerSummary(id=name, owner="operator", description=description)


def _fault(server: RemoteServer) -> Problem | None:
    reason = url_fault(server.url)
    if reason is not None:
        return _wrong("server.url", reason)
    for name, value in server.headers.items():
        reason = header_fault(name, value, _INSTEAD) or _reserved(name)
        if reason is not None:
            return _wrong(f"server.headers.{name[:64]}", reason)
    for name in server.secret_headers:
        # Here a name may say that a credential is sent.
        if header_fault(name, "", "") or _reserved(name):
            return _wrong(f"server.secret_headers.{name[:64]}", "is not the name of such a header")
    fault = _oauth_fault(server)
    return _wrong(f"server.{fault[0]}", fault[1]) if fault is not None else None


def _oauth_fault(terms: ServerTerms) -> tuple[str, str] | None:
    """Return which field of the terms of OAuth is wrong, and why."""
    oauth = terms.oauth
    if oauth is None:
        return None
    if terms.secret is not None:
        return "oauth", "and a secret cannot both give the bearer token"
    if oauth.grant == "client_credentials" and None in (oauth.client_id, oauth.secret):
        return "oauth.client_id", "and secret are what client_credentials are"
    if oauth.secret is not None and oauth.client_id is None:
        return "oauth.secret", "is none without the client_id it belongs to"
    if oauth.client_metadata is not None and not oauth.client_metadata.startswith("https://"):
        return "oauth.client_metadata", "must be an https URL"
    return None


def _reserved(name: str) -> str | None:
    return "is set by the client alone" if _RESERVED_HEADERS.match(name) else None


def _wrong(field: str, reason: str) -> Problem:
    return Problem(code="validation", message=reason, field=field)


# Tools


def is_offered(tools: ServerTools, name: str) -> bool:
    """Say whether a server's tool is there by the word of who has defined the server."""
    return (not tools.allow or _any(tools.allow, name)) and not _any(tools.deny, name)


def offered(tools: ServerTools, tool: ServerTool) -> ServerTool | None:
    """Return a tool with the hints that hold, None if it is not to be there."""
    if not is_offered(tools, tool.tool):
        return None
    if _any(tools.once, tool.tool):
        hints = msgspec.structs.replace(tool.hints, read_only=False, idempotent=False)
    elif _any(tools.repeatable, tool.tool):
        hints = msgspec.structs.replace(tool.hints, idempotent=True)
    else:
        return tool
    return msgspec.structs.replace(tool, hints=hints)


def may_repeat(tools: ServerTools, name: str, hints: ToolHints) -> bool:
    """Say whether a call may be sent twice: as whoever defined the server says, or the server."""
    if _any(tools.once, name):
        return False
    return _any(tools.repeatable, name) or hints.may_repeat


def is_wanted(patterns: Sequence[str], server: str, tool: str) -> bool:
    """Say whether patterns ``server`` or ``server/tool`` mean a tool; without any all are meant."""
    if not patterns:
        return True
    parts = (pattern.partition("/") for pattern in patterns)
    return any(name == server and fnmatch_plain(tool, inner or "*") for name, _, inner in parts)


def servers_of(patterns: Iterable[str]) -> set[str]:
    """Return the servers that patterns name."""
    return {pattern.partition("/")[0] for pattern in patterns}


def fnmatch_plain(name: str, pattern: str) -> bool:
    """Match a name against a pattern in which ``*`` alone is special."""
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatch_plain(name, pattern) for pattern in patterns)
