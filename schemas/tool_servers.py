"""MCP servers: what defines one, how it fares, and what it offers beside tools."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from schemas.base import Command, Internal, Message, Question, StrictValue, Value
from schemas.ids import END, Token
from schemas.providers import BaseUrl, HeaderValue
from schemas.tools import ServerName, ToolContent
from schemas.versioned import Versioned

NamePattern = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\s/]{1,128}" + END,
        description="the name of a tool, in which * stands for any text",
    ),
]

Patterns = Annotated[list[NamePattern], msgspec.Meta(max_length=128)]

TenantName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\*|[A-Za-z0-9_-]{1,64})" + END,
        description="the name of a tenant, or * for every one",
    ),
]

Strategy = Literal["round_robin", "least_connections", "health_based"]

Sharing = Literal["auto", "shared", "agent", "execution"]
"""Who shares a session: ``auto`` is all where the server keeps no session, else each agent."""

Texts = Annotated[dict[str, HeaderValue], msgspec.Meta(max_length=32)]
SecretNames = Annotated[dict[str, Token], msgspec.Meta(max_length=32)]


class ServerTools(StrictValue, omit_defaults=True):
    """Which tools of a server there are, and what is known of their effects.

    Without ``allow`` all are there but those of ``deny``, which goes before it. ``once`` goes
    before ``repeatable``; where neither names a tool, the server's own hints hold. A tool that is
    ``repeatable`` may be called again when it is not known whether a call had its effect.
    """

    allow: Patterns = []
    deny: Patterns = []
    once: Patterns = []
    repeatable: Patterns = []


class ServerLimits(StrictValue, omit_defaults=True):
    """Bounds of a server in one process: calls at once, calls that wait, sessions of a replica.

    A session that nobody uses for ``idle_seconds`` is closed. Opening one, and a sign of life, may
    take ``open_seconds``.
    """

    concurrency: Annotated[int, msgspec.Meta(ge=1, le=512)] = 32
    queue: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 256
    sessions: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    idle_seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 300.0
    open_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=300)] = 30.0


class ServerOauth(StrictValue, omit_defaults=True):
    """How access tokens for a server are obtained: after a person has logged in, or by ourselves.

    ``client_id`` is ours at the authorization server, ``secret`` names the secret that goes with
    it, which goes only to the hosts of its entry. Without an id the client says who it is by the
    document at ``client_metadata``, where that is offered, or is registered. ``scope`` goes before
    what the server asks for; ``issuer`` is the one authorization server that may give tokens.
    """

    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    client_id: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^[\x21-\x7e]{1,1024}" + END, description="printable ASCII without spaces"
            ),
        ]
        | None
    ) = None
    secret: Token | None = None
    client_metadata: BaseUrl | None = None
    scope: Annotated[
        str, msgspec.Meta(pattern=r"^[\x20-\x7e]{0,2048}" + END, description="printable ASCII")
    ] = ""
    issuer: BaseUrl | None = None


class ServerTerms(StrictValue, omit_defaults=True):
    """What is said of a server wherever it runs.

    ``era`` is the revision of the protocol that it speaks: until 2025-11-25 with sessions, from
    2026-07-28 without; ``auto`` finds out. ``secret`` names one that is sent as a bearer token,
    ``secret_headers`` those that are sent in other headers; with ``oauth`` the bearer token is
    obtained from an authorization server instead.
    """

    transport: Literal["http", "sse"] = "http"
    era: Literal["auto", "2025", "2026"] = "auto"
    headers: Texts = {}
    secret: Token | None = None
    secret_headers: SecretNames = {}
    oauth: ServerOauth | None = None
    sharing: Sharing = "auto"
    tools: ServerTools = ServerTools()
    limits: ServerLimits = ServerLimits()


class RemoteServer(ServerTerms, omit_defaults=True):
    """A server that a tenant names by its ``url``. Its headers must not hold credentials."""

    url: BaseUrl


# Definitions


class ToolServer(Versioned):
    """A stored definition: ``version`` grows with each change, ``deleted_at`` marks a deletion."""

    id: ServerName
    server: RemoteServer
    description: str = ""


class ApplyServer(Command):
    """Make an MCP server known, or replace what is said of it. Idempotent."""

    SUBJECT: ClassVar[str] = "mcp.servers.apply"
    REPLY: ClassVar[type[Message]] = ToolServer
    ACTION: ClassVar[str] = "tools:write"

    id: ServerName
    server: RemoteServer
    description: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class GetServer(Question):
    """Read the definition of an MCP server, the newest version unless one is named."""

    SUBJECT: ClassVar[str] = "mcp.servers.get"
    REPLY: ClassVar[type[Message]] = ToolServer
    ACTION: ClassVar[str] = "tools:read"

    id: ServerName
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class DeleteServer(Command):
    """Delete the definition of an MCP server softly; its sessions are closed."""

    SUBJECT: ClassVar[str] = "mcp.servers.delete"
    REPLY: ClassVar[type[Message]] = ToolServer
    ACTION: ClassVar[str] = "tools:write"

    id: ServerName


class ServerSummary(Message):
    """One row of a listing. The operator's servers have no ``version`` and tell no address."""

    id: ServerName
    owner: Literal["operator", "tenant"]
    description: str = ""
    url: str = ""
    version: int | None = None
    updated_at: datetime | None = None


class ServerList(Message):
    """The MCP servers that a tenant may use, by name."""

    servers: list[ServerSummary]


class ListServers(Question):
    """List the MCP servers that this tenant may use: its own, and the operator's."""

    SUBJECT: ClassVar[str] = "mcp.servers.list"
    REPLY: ClassVar[type[Message]] = ServerList
    ACTION: ClassVar[str] = "tools:read"


# How a server fares


class ReplicaState(Value):
    """One place where a server runs. ``errors`` is a share, both figures of the latest calls."""

    replica: int
    circuit: Literal["closed", "open", "half_open"]
    sessions: int = 0
    in_flight: int = 0
    latency_ms: float = 0.0
    errors: float = 0.0


class LeakLedger(Value):
    """How many of each kind are ``open``, and were not closed with what they belong to."""

    open: dict[str, int] = {}
    leaked: dict[str, int] = {}


class ServerState(Message):
    """How an MCP server fares, as one process sees it.

    ``reachable`` says that it has just answered; if not, ``fault`` says why. ``dropped`` are tools
    that are left out, with the reason. ``tools`` and ``digest`` are those of its list of tools.
    """

    server: ServerName
    reachable: bool
    fault: str = ""
    lane: str = ""
    era: str = ""
    protocol: str = ""
    name: str = ""
    tools: int = 0
    digest: str = ""
    dropped: list[str] = []
    latency_ms: float | None = None
    waiting: int = 0
    in_flight: int = 0
    replicas: list[ReplicaState] = []
    ledger: LeakLedger = LeakLedger()


class CheckServer(Question):
    """Ask an MCP server for a sign of life and its tools, and tell how it fares."""

    SUBJECT: ClassVar[str] = "mcp.servers.check"
    REPLY: ClassVar[type[Message]] = ServerState
    ACTION: ClassVar[str] = "tools:read"

    server: ServerName


POOLS_SUBJECT = "_cb.sys.mcp_pools"
"""A question without a body: every pool answers with the servers that it has used."""


class PooledServer(Internal):
    """A server as one process has used it; ``tenant`` is empty for the operator's."""

    server: str
    tenant: str = ""
    circuits: dict[str, int] = {}
    sessions: int = 0
    in_flight: int = 0
    waiting: int = 0


class PoolStates(Internal):
    """The servers that a pool has used, and what it has open."""

    process: str
    servers: list[PooledServer] = []
    ledger: LeakLedger = LeakLedger()


ListedKind = Literal["tools", "resources", "prompts"]


class ToolsChangedEvent(Message, tag="tools.changed"):
    """A server offers others than before of a ``kind``; told to tenants that have used it.

    ``tools`` and ``digest`` are those of its list of tools.
    """

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.tools.changed.{server}"

    server: ServerName
    tools: int
    digest: str
    at: datetime
    kind: ListedKind = "tools"


# Resources and prompts


class ServerResource(Value, omit_defaults=True):
    """A resource as its server lists it."""

    server: ServerName
    uri: str
    name: str
    description: str = ""
    media_type: str = ""


class ServerTemplate(Value, omit_defaults=True):
    """A template (RFC 6570) of the URIs of resources, as its server lists it."""

    server: ServerName
    template: str
    name: str
    description: str = ""
    media_type: str = ""


class ResourceList(Message):
    """The resources of a server, and the templates of such as it does not list."""

    resources: list[ServerResource]
    templates: list[ServerTemplate] = []


class ListResources(Question):
    """List the resources of an MCP server, and their templates."""

    SUBJECT: ClassVar[str] = "resources.list"
    REPLY: ClassVar[type[Message]] = ResourceList
    ACTION: ClassVar[str] = "tools:read"

    server: ServerName


class ResourceContents(Message):
    """What a resource holds, within the bound of a tool's result."""

    contents: list[ToolContent]


class ReadResource(Question):
    """Read a resource of an MCP server."""

    SUBJECT: ClassVar[str] = "resources.read"
    REPLY: ClassVar[type[Message]] = ResourceContents
    ACTION: ClassVar[str] = "tools:use"

    server: ServerName
    uri: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class PromptParameter(Value, omit_defaults=True):
    """What a prompt wants to be told."""

    name: str
    description: str = ""
    required: bool = False


class ServerPrompt(Value, omit_defaults=True):
    """A prompt as its server lists it."""

    server: ServerName
    name: str
    description: str = ""
    parameters: list[PromptParameter] = []


class PromptList(Message):
    """The prompts of a server."""

    prompts: list[ServerPrompt]


class ListPrompts(Question):
    """List the prompts of an MCP server."""

    SUBJECT: ClassVar[str] = "prompts.list"
    REPLY: ClassVar[type[Message]] = PromptList
    ACTION: ClassVar[str] = "tools:read"

    server: ServerName


class FilledTurn(Value):
    """A message of a prompt."""

    role: str
    content: ToolContent


class FilledPrompt(Message):
    """The messages of a prompt with its values in them."""

    messages: list[FilledTurn]


class GetPrompt(Question):
    """Fill in a prompt of an MCP server."""

    SUBJECT: ClassVar[str] = "prompts.get"
    REPLY: ClassVar[type[Message]] = FilledPrompt
    ACTION: ClassVar[str] = "tools:use"

    server: ServerName
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    arguments: Annotated[
        dict[str, Annotated[str, msgspec.Meta(max_length=65_536)]], msgspec.Meta(max_length=64)
    ] = {}


class CompletedArgument(Message):
    """Values that an argument may have, the likeliest first; of ``total`` where that is known."""

    values: list[str]
    total: int | None = None
    more: bool = False


class CompleteArgument(Question):
    """Ask an MCP server for values of an argument of a prompt, or of a template of resources.

    ``value`` is what is written so far, ``given`` are the values of other arguments.
    """

    SUBJECT: ClassVar[str] = "prompts.complete"
    REPLY: ClassVar[type[Message]] = CompletedArgument
    ACTION: ClassVar[str] = "tools:read"

    server: ServerName
    argument: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    value: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    template: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    given: Annotated[
        dict[str, Annotated[str, msgspec.Meta(max_length=4096)]], msgspec.Meta(max_length=64)
    ] = {}


class OperatorServer(ServerTerms, omit_defaults=True):
    """A server in the operator's file: at ``urls``, or a ``command`` run in so many ``replicas``.

    ``env`` is what a command's process gets beside PATH and HOME, ``env_from`` names variables of
    the pool's own environment that it gets as well. ``tenants`` may use the server.
    """

    url: BaseUrl | None = None
    urls: Annotated[list[BaseUrl], msgspec.Meta(max_length=64)] = []
    command: Annotated[list[str], msgspec.Meta(max_length=256)] = []
    env: Texts = {}
    env_from: Annotated[list[str], msgspec.Meta(max_length=64)] = []
    replicas: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    strategy: Strategy = "least_connections"
    tenants: Annotated[tuple[TenantName, ...], msgspec.Meta(min_length=1)] = ("*",)
    description: str = ""
