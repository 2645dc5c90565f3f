"""Executions as users see them: the commands, their replies and the stored record."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from schemas.agents import AgentLimits
from schemas.base import LARGE_REQUEST_BYTES, Command, Cursor, Message, Offset, Question, Value
from schemas.ids import AgentId, ExecutionId, Label, LabelName, SessionId
from schemas.llm import (
    AnswerWarning,
    ChatMessage,
    FinishReason,
    ImageData,
    ImageUrl,
    Kind,
    ModelConfig,
    ResponseFormat,
    StoredVectors,
    ToolCall,
    ToolDefinition,
)
from schemas.patches import Patch
from schemas.policy import Choice, Detour, Policy
from schemas.problems import Problem, ProblemCode
from schemas.providers import ModelName, Provider
from schemas.safety import Finding
from schemas.tools import CalledTool, ServerName, ToolName, ToolResult
from schemas.usage import Usage

ExecutionStatus = Literal[
    "PENDING", "RUNNING", "WAITING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"
]
ENDED: frozenset[ExecutionStatus] = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})

RECORD_SUBJECT = "cb.{tenant}.record.{execution_id}"

MAX_TASK_CHARACTERS = 1_000_000

MAX_IMAGES = 100
"""With one task; no provider takes more in a request of the size that is let in."""


Labels = Annotated[dict[LabelName, Label], msgspec.Meta(max_length=16)]
"""Names and values of one's own by which executions are found again."""

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class ExecutionHandle(Message):
    """An execution that is journalled, and the subject on which its events arrive.

    ``warnings`` say what of the request had no effect.
    """

    execution_id: ExecutionId
    stream: str
    status: ExecutionStatus
    warnings: list[AnswerWarning] = []


class ExecuteAgent(Command):
    """Run an agent on a task. The same ``id`` is the same run, however often it is asked.

    ``context`` fills the variables of the agent's user template. ``model``, ``provider`` and
    ``config`` count for this run in place of the agent's; ``config`` is merged into its settings.
    ``images`` go along with the task.
    """

    SUBJECT: ClassVar[str] = "agents.execute"
    REPLY: ClassVar[type[Message]] = ExecutionHandle
    ACTION: ClassVar[str] = "executions:write"
    MAX_BYTES: ClassVar[int] = LARGE_REQUEST_BYTES
    BULK: ClassVar[str | None] = "task"

    agent_id: AgentId
    task: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TASK_CHARACTERS)]
    context: dict[str, Any] = {}
    id: ExecutionId | None = None
    user: Label | None = None
    project: Label | None = None
    session: SessionId | None = None
    labels: Labels = {}
    model: ModelName | None = None
    provider: Provider | None = None
    config: Patch = {}
    images: Annotated[list[ImageUrl | ImageData], msgspec.Meta(max_length=MAX_IMAGES)] = []
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None


class Generate(Command):
    """Ask a model without an agent. It runs, streams and is stored as an execution like any other.

    The same ``id`` is the same run. With ``batch`` it goes by the provider's batch API: half the
    price, an answer within a day, all of it at once (OpenAI and Anthropic).
    """

    SUBJECT: ClassVar[str] = "llm.generate"
    REPLY: ClassVar[type[Message]] = ExecutionHandle
    ACTION: ClassVar[str] = "executions:write"
    MAX_BYTES: ClassVar[int] = LARGE_REQUEST_BYTES
    BULK: ClassVar[str | None] = "messages"

    provider: Provider
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1, max_length=10_000)]
    tools: Annotated[list[ToolDefinition], msgspec.Meta(max_length=128)] = []
    config: ModelConfig = msgspec.field(default_factory=ModelConfig)
    response_format: ResponseFormat | None = None
    policy: Policy = msgspec.field(default_factory=Policy)
    limits: AgentLimits = msgspec.field(default_factory=AgentLimits)
    id: ExecutionId | None = None
    user: Label | None = None
    project: Label | None = None
    labels: Labels = {}
    batch: bool = False


class LogEntry(Value):
    """One thing that happened to an execution, without its texts."""

    at: datetime
    message: str


class ModelCost(Value):
    """What an execution has used of one model, failed calls as well. ``cost`` is in pico-dollars.

    It is None where no call has a price; ``unpriced`` counts those that have none.
    """

    provider: str
    model: str
    calls: int
    tokens: int
    cost: int | None
    unpriced: int = 0


class AttemptName(Value):
    """Which attempt of which step."""

    step: int
    attempt: int


class ExecutionRecord(Message):
    """The stored execution. ``revision`` grows with each change; ``cost`` is in pico-dollars.

    ``duration_ms`` runs from acceptance to the end and is None before it. ``segment`` is the newest
    segment of the stream that the journal has allotted. A plain generation has no agent; its
    ``task`` is its last user message, and its ``text`` the ``output`` under another name.
    ``provider`` and ``model`` were asked for the answer, ``choices`` say which rules wanted that,
    ``detours`` which calls failed before. ``usage_at_end`` is what the end has told, where more
    ``usage`` was reported after it, and ``cost_at_end`` its cost. ``costs`` are those of each
    model. ``settled`` names the attempts whose usage is counted. That of ``llm.embed`` is kept for
    an hour, and has no texts; ``vectors`` says where the answer lies. At ``expires_at`` it is
    forgotten, where that is sooner than after 90 days.
    """

    SUBJECT: ClassVar[str | None] = RECORD_SUBJECT

    execution_id: ExecutionId
    agent_id: AgentId | None = None
    agent_version: int | None = None
    status: ExecutionStatus
    task: str
    revision: int
    digest: str
    stream: str
    created_at: datetime
    deadline: datetime
    max_attempts: int
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None
    output: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] = []
    finish_reason: FinishReason | None = None
    model_served: str | None = None
    usage: Usage | None = None
    usage_at_end: Usage | None = None
    tokens_used: int | None = None
    cost: int | None = None
    cost_at_end: int | None = None
    costs: list[ModelCost] = []
    error: Problem | None = None
    attempts: int = 0
    settled: list[AttemptName] = []
    user: str | None = None
    project: str | None = None
    session: str | None = None
    segment: int = 0
    logs: list[LogEntry] = []
    provider: str | None = None
    model: str | None = None
    cached: bool = False
    choices: list[Choice] = []
    detours: list[Detour] = []
    findings: list[Finding] = []
    warnings: list[AnswerWarning] = []
    text: str | None = None
    kind: Kind = "generate"
    vectors: StoredVectors | None = None
    labels: dict[LabelName, Label] = {}
    expires_at: datetime | None = None
    tools: list[CalledTool] = []
    result: ToolResult | None = None


class CallTool(Command):
    """Call a tool of a server without an agent, as an execution: durable, streamed and listed.

    It completes with the tool's result, also where that is an error of the tool's own; where there
    is none it fails. The same ``id`` is the same call. It may take ``seconds``.
    """

    SUBJECT: ClassVar[str] = "tools.call"
    REPLY: ClassVar[type[Message]] = ExecutionHandle
    ACTION: ClassVar[str] = "executions:write"

    server: ServerName
    tool: ToolName
    arguments: dict[str, Any] = {}
    id: ExecutionId | None = None
    user: Label | None = None
    project: Label | None = None
    labels: Labels = {}
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0


class GetExecution(Question):
    """Read one execution as it stands."""

    SUBJECT: ClassVar[str] = "executions.get"
    REPLY: ClassVar[type[Message]] = ExecutionRecord
    ACTION: ClassVar[str] = "executions:content"

    execution_id: ExecutionId


class AwaitedExecution(Message):
    """An execution that has ``ended``, or as it stands after the time that was to be waited."""

    ended: bool
    execution: ExecutionRecord


class AwaitExecution(Question):
    """Wait for the end of an execution. Where it has not come in time, ask again."""

    SUBJECT: ClassVar[str] = "executions.await"
    REPLY: ClassVar[type[Message]] = AwaitedExecution
    ACTION: ClassVar[str] = "executions:read"

    execution_id: ExecutionId
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0, le=30)] = 30

    def held_back(self) -> float:
        """Return the seconds that are to be waited."""
        return self.timeout_seconds


class CancelExecution(Command):
    """End an execution now. An execution that has ended already stays as it is."""

    SUBJECT: ClassVar[str] = "executions.cancel"
    REPLY: ClassVar[type[Message]] = ExecutionHandle
    ACTION: ClassVar[str] = "executions:write"

    execution_id: ExecutionId
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = "cancelled by user"


class ApproveCall(Command):
    """Let a call of a tool be made that waits for approval."""

    SUBJECT: ClassVar[str] = "executions.approve"
    REPLY: ClassVar[type[Message]] = ExecutionHandle
    ACTION: ClassVar[str] = "executions:approve"

    execution_id: ExecutionId
    call_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class RejectCall(Command):
    """Refuse a call of a tool that waits for approval. The model is told, with the reason."""

    SUBJECT: ClassVar[str] = "executions.reject"
    REPLY: ClassVar[type[Message]] = ExecutionHandle
    ACTION: ClassVar[str] = "executions:approve"

    execution_id: ExecutionId
    call_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class DeletedExecution(Message):
    """An execution that is forgotten."""

    execution_id: ExecutionId


class DeleteExecution(Command):
    """Forget an execution that has ended: its texts, its stream, its turn. Its costs stay booked.

    The journal's copy goes with the next snapshot. Its id is not free for another one.
    """

    SUBJECT: ClassVar[str] = "executions.delete"
    REPLY: ClassVar[type[Message]] = DeletedExecution
    ACTION: ClassVar[str] = "executions:write"

    execution_id: ExecutionId


class ExecutionSummary(Message):
    """One row of a listing. ``code`` is that of the problem for which no answer came."""

    execution_id: ExecutionId
    agent_id: AgentId | None
    status: ExecutionStatus
    created_at: datetime
    completed_at: datetime | None
    duration_ms: int | None
    tokens_used: int | None
    cost: int | None
    attempts: int
    session: str | None
    user: str | None = None
    project: str | None = None
    labels: dict[LabelName, Label] = {}
    code: ProblemCode | None = None


class ExecutionList(Message):
    """A page of executions, newest first; ``next`` is the cursor of the page after it, if any.

    It knows all that was committed before it was asked for. ``total`` counts all that match; it is
    None where they are too many to be counted for a page.
    """

    executions: list[ExecutionSummary]
    total: int | None
    limit: int
    offset: int
    next: str | None = None


class ListExecutions(Question):
    """List executions by filter, newest first, in pages.

    They have all ``labels`` that are named, and were accepted at ``since`` or later and before
    ``until``. ``cursor`` is the ``next`` of the page before; pages by ``offset`` move when
    executions begin.
    """

    SUBJECT: ClassVar[str] = "executions.list"
    REPLY: ClassVar[type[Message]] = ExecutionList
    ACTION: ClassVar[str] = "executions:read"

    status: ExecutionStatus | None = None
    agent_id: AgentId | None = None
    session: SessionId | None = None
    user: Label | None = None
    project: Label | None = None
    labels: Labels = {}
    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Offset = 0
    cursor: Cursor | None = None
