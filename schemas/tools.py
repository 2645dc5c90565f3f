"""Tools: what servers offer, what an execution calls, and what became of each call.

A tool is named by its server and its own name there. The model knows it under a name that every
provider takes (``OfferedTool``). A call is a piece of work in the queue ``tool``, in the lane of
its server, so that a server that hangs stops no other. Protocol: the Model Context Protocol,
revisions 2024-11-05 to 2026-07-28 (https://modelcontextprotocol.io/specification).
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from schemas.base import Internal, Message, Question, Value
from schemas.bodies import BodyReference
from schemas.identity import KeptPrincipal
from schemas.ids import END, AgentId, ExecutionId, TenantId, Token
from schemas.ledger import Charge
from schemas.llm import ChatMessage, Name
from schemas.work import Done, WorkFailure

TOOL_QUEUE = "tool"

MOST_RESULT_BYTES = 256 * 1024
"""What a call may bring back; the rest is cut off and marked."""

INLINE_RESULT_BYTES = 16 * 1024
"""A larger result is stored by its worker before it is reported, and goes by reference: what it
says beside that is no more than its beginning."""

AGENTS_SERVER = "agents"
EXECUTE_TOOL = "agents.execute"
"""The built-in server, whose tool runs another agent; no other server can have its name."""

ServerName = Token

ToolName = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
"""A tool's name on its server; it stands in no subject."""


class ToolHints(Value, omit_defaults=True):
    """What a server says of a tool's effects; the defaults are the protocol's, so the worst case.

    Nobody vouches for a hint. An operator's word of a server goes before it.
    """

    read_only: bool = False
    destructive: bool = True
    idempotent: bool = False
    open_world: bool = True

    @property
    def may_repeat(self) -> bool:
        """Whether a call may be sent twice without harm."""
        return self.read_only or self.idempotent


class ServerTool(Value, omit_defaults=True):
    """A tool as its server lists it: ``parameters`` and ``output`` are JSON Schemas."""

    server: ServerName
    tool: ToolName
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object"})
    output: dict[str, Any] | None = None
    title: str = ""
    hints: ToolHints = ToolHints()


ToolPattern = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{1,64}(/[^\s]{1,128})?" + END,
        description="a server, or server/tool in which * stands for any text",
    ),
]
"""Some tools of a server: ``notion`` and ``notion/*`` are all, ``notion/search_*`` a few."""


class ToolList(Message, tag="tools"):
    """The tools that match, by server and name; ``unreachable`` are servers that were not heard."""

    tools: list[ServerTool]
    unreachable: list[ServerName] = []


class ListTools(Question):
    """List tools of the servers that this tenant may use; without patterns all of them."""

    SUBJECT: ClassVar[str] = "tools.list"
    REPLY: ClassVar[type[Message]] = ToolList
    ACTION: ClassVar[str] = "tools:read"

    patterns: Annotated[list[ToolPattern], msgspec.Meta(max_length=128)] = []


class OfferedTool(Value, omit_defaults=True):
    """Where a call of the tool that the model knows as ``name`` goes, decided at the start.

    ``once``: it may have its effect only once. ``needs_approval``: a person is asked before. With
    ``agents`` a call runs one of these, as an execution of its own.
    """

    name: Name
    server: ServerName
    tool: ToolName
    once: bool = True
    needs_approval: bool = False
    seconds: float = 60.0
    agents: list[AgentId] = []


class ToolLimits(Value, omit_defaults=True):
    """How much an execution may do with tools.

    After so many ``rounds``, or ``calls`` in all, further calls are refused: the model is told, and
    asked for its answer once more. Where it calls again the execution fails (``tool_limit``). Of
    the calls of one answer ``parallel`` run side by side, the others after them.
    """

    rounds: int = 16
    calls: int = 64
    parallel: int = 8
    result_bytes: int = MOST_RESULT_BYTES


class ToolPlan(Value, omit_defaults=True):
    """Which tools the model is offered. Those of ``callers`` no server has: who asked runs them.

    Other agents are run in the name of ``by``.
    """

    offered: list[OfferedTool]
    callers: list[str] = []
    limits: ToolLimits = ToolLimits()
    by: KeptPrincipal | None = None


# What a call brings back


class ToolText(Value, tag="text"):
    """A text for the model."""

    text: str


class ToolMedia(Value, tag="media", omit_defaults=True):
    """An image or a sound, in base64; a large one is stored apart."""

    media_type: str
    data: str = ""
    reference: BodyReference | None = None


class ToolResource(Value, tag="resource", omit_defaults=True):
    """A resource by its URI, with its text or bytes where the server has sent them."""

    uri: str
    media_type: str = ""
    text: str = ""
    reference: BodyReference | None = None


ToolContent = ToolText | ToolMedia | ToolResource


class ToolResult(Value, omit_defaults=True):
    """What a tool has answered. ``is_error``: it says that it has failed.

    ``structured`` is its JSON value, verified against the tool's output schema. ``truncated`` says
    that the rest was cut off at the bound, of so many bytes in all. A large result lies whole
    under ``reference``.
    """

    content: list[ToolContent] = []
    structured: Any = None
    is_error: bool = False
    truncated: bool = False
    bytes: int = 0
    reference: BodyReference | None = None


ToolOutcome = Literal[
    "not_sent",
    "rejected",
    "protocol_error",
    "deadline",
    "circuit_open",
    "overloaded",
    "cancelled",
    "outcome_unknown",
]
"""Why a call brought no result.

``not_sent`` and ``rejected`` (the server refused before it began), ``circuit_open`` and
``overloaded`` leave no doubt that nothing was done. After the others something may have been.
"""

UNSENT: frozenset[ToolOutcome] = frozenset(("not_sent", "rejected", "circuit_open", "overloaded"))


CallOutcome = Literal["ok", "tool_error", "unknown_tool", "tool_limit", "declined", "expired"] | (
    ToolOutcome
)
"""What became of a call: it brought a result, the tool's own error, or none, and why.

``declined`` and ``expired``: a person did not approve of it. Neither was sent then, nor was an
``unknown_tool`` or what was beyond a limit.
"""


class CalledTool(Value, omit_defaults=True):
    """A call of a tool as the record tells it, at its ``place`` among those of its step's answer.

    Without ``outcome`` it has not ended. ``by`` is who approved of it, or did not. ``server`` and
    ``tool`` are empty where the model has called what it was not offered. ``learned`` tells of a
    call whose outcome was unknown whether it was carried out after all. A call that runs an agent
    has the ``execution_id`` of that, and its ``cost`` in pico-dollars, which is no part of the
    record's own.
    """

    call_id: str
    name: str
    step: int
    place: int
    server: str = ""
    tool: str = ""
    outcome: CallOutcome | None = None
    attempts: int = 0
    started_at: datetime | None = None
    duration_ms: int | None = None
    by: str | None = None
    learned: bool | None = None
    execution_id: ExecutionId | None = None
    cost: int | None = None


class Turn(Value, omit_defaults=True):
    """A message of the conversation that an execution has with its model and its tools.

    That of a tool has its ``result``, which becomes the message's content when a model is asked.
    """

    message: ChatMessage
    result: ToolResult | None = None


# The work


class ToolWork(Internal, tag="tool"):
    """The body of a work item: one call of a tool.

    ``name`` is the one that the model knows, ``arguments`` the JSON text as the model wrote it.
    ``segment`` and ``sequence`` are the place in the stream of its first ``ToolProgressed``, of
    which it may tell as many as ``schemas.streams.MOST_PROGRESS``; without a segment it tells
    nothing. A call that is ``once`` carries the work's id, without its attempt, as its idempotency
    key to servers that take one.
    """

    execution_id: ExecutionId
    tenant: TenantId
    call_id: str
    server: ServerName
    tool: ToolName
    arguments: str
    attempt: int
    deadline: datetime
    once: bool = True
    agent_id: AgentId | None = None
    name: str = ""
    segment: int | None = None
    sequence: int = 0
    most_bytes: int = MOST_RESULT_BYTES


class FinishTool(Done, tag="finish_tool"):
    """A tool has answered, also with an error of its own. ``charges`` where calls have a price."""

    result: ToolResult
    started_at: datetime
    charges: list[Charge] | None = None


class FailTool(WorkFailure, tag="fail_tool"):
    """A call has brought no result."""

    outcome: ToolOutcome
    started_at: datetime
