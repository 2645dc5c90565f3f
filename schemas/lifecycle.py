"""The execution entity's own language: the commands its owner takes and the events it journals.

Each step of an execution is a piece of work, named by its number. So is each call of a tool, named
by its step and its place (from 1) among the calls of that step's answer: ``2.1``.
"""

from datetime import datetime

from schemas.attempts import (
    OutcomeLearned,
    WorkClaimed,
    WorkDone,
    WorkFailed,
    WorkStarted,
)
from schemas.base import Internal, Value
from schemas.beginnings import HasBegun
from schemas.bills import AccountAnswered, BillSlices, Spending
from schemas.bodies import BodyReference
from schemas.callbacks import (
    CallbackAnswered,
    CalledBack,
    Ended,
    Inquire,
    WaitAnswered,
    WaitChange,
)
from schemas.executions import ExecutionRecord
from schemas.ids import AgentId, ExecutionId, Label, LabelName, SessionId, TenantId
from schemas.ledger import Charge
from schemas.llm import Answer, EmbedRequest, GenerateRequest, Kind, ModelRequest
from schemas.policy import Choice, Detour, Policy
from schemas.problems import Problem
from schemas.safety import Finding
from schemas.spend import SpendEvent
from schemas.tools import (
    CallOutcome,
    FailTool,
    FinishTool,
    ToolPlan,
    ToolResult,
    Turn,
)
from schemas.usage import Usage
from schemas.work import Claim, Done, Lost, ReplyTo, Stopped, WorkFailure

EXECUTION_ENTITY = "execution"

NO_POLICY = Policy()
"""One attempt at a time at the one provider that is named, with its one key."""


class Deltas(Value):
    """What a worker published under its segment: how many events, the SHA-256 of their text."""

    count: int
    sha256: str


NOTHING_SENT = Deltas(count=0, sha256="")


class Origin(Internal):
    """Who asked for what: the part of an execution that never changes.

    A plain generation has no agent. ``choices`` are what the rules decided about its model.
    ``kept`` is for how many seconds it is stored after its end; None is as long as any can be.
    ``depth`` counts the beginnings that it lies in, ``scope`` is that of who has begun it: see
    ``schemas.beginnings``.
    """

    kind: Kind = "generate"

    tenant: TenantId
    execution_id: ExecutionId
    agent_id: AgentId | None = None
    agent_version: int | None = None
    task: str
    digest: str
    max_attempts: int
    user: str | None = None
    project: str | None = None
    session: SessionId | None = None
    trace: str | None = None
    choices: list[Choice] = []
    labels: dict[LabelName, Label] = {}
    kept: int | None = None
    depth: int = 0
    scope: str | None = None


class TaskPlace(Value):
    """Where the task stands in the request: in the text of a message, in characters."""

    message: int
    start: int
    length: int


class Prompt(Internal):
    """The body of an execution whose request is too large to travel in its commands and events.

    It is stored before the execution is accepted, and never changes, so that every attempt asks the
    same. ``task`` is the task where that does not stand in the request; ``task_at`` says where it
    does. A short task is in the origin, as ever.

    A conversation that has grown large with calls of tools is stored anew, as the prompt of the
    next step: the messages from ``own_from`` on are those that the execution has added itself.
    """

    request: ModelRequest
    policy: Policy = NO_POLICY
    task: str = ""
    task_at: TaskPlace | None = None
    own_from: int | None = None


# Commands


class Accept(Internal, tag="accept"):
    """Begin an execution. ``digest`` in the origin tells a repeat from a conflict.

    With ``prompt`` request and policy have no more than their providers: the rest is in the
    ``Prompt`` that was stored before, and so is a long task.

    ``reply_to`` is the entity that is told of the end. No public request can name one.
    """

    origin: Origin
    request: ModelRequest
    timeout_seconds: float
    policy: Policy = NO_POLICY
    spending: Spending | None = None
    reply_to: ReplyTo | None = None
    prompt: BodyReference | None = None
    tools: ToolPlan | None = None


class FinishGeneration(Done, tag="finish_generation"):
    """A provider answered to the end: the alternative at ``place``, after ``detours``.

    ``charges`` are the prices of all calls; None where nothing is known of prices. ``decided_at``
    is that of the work item. ``prompt`` is the conversation with this answer, where it asks for
    tools and is so large that it was stored.
    """

    answer: Answer
    deltas: Deltas
    started_at: datetime
    place: int = 0
    detours: list[Detour] = []
    findings: list[Finding] = []
    charges: list[Charge] | None = None
    decided_at: datetime | None = None
    prompt: BodyReference | None = None


class FailGeneration(WorkFailure, tag="fail_generation"):
    """The providers refused, broke off or fell silent. ``usage`` is what all calls have spent.

    ``next_place`` is where another attempt can begin at once: the alternatives before it have been
    tried, but what this attempt has published already cannot be taken back within it. After what is
    ``final`` there is no other attempt: the worker has repeated its calls as often as makes sense.
    """

    deltas: Deltas
    started_at: datetime
    usage: Usage | None = None
    next_place: int | None = None
    final: bool = False
    detours: list[Detour] = []
    findings: list[Finding] = []
    charges: list[Charge] | None = None
    decided_at: datetime | None = None


class Decide(Internal, tag="decide"):
    """A person approves of a call of a tool that waits for that, or does not. ``by`` says who."""

    call_id: str
    approved: bool
    by: str
    reason: str = ""


class Cancel(Internal, tag="cancel"):
    """A user asks for the end."""

    reason: str


class Delete(Internal, tag="delete"):
    """A user wants an execution that has ended to be forgotten."""


class Forgotten(Internal):
    """The answer to ``Delete``: whose the execution was."""

    agent_id: AgentId | None = None
    session: SessionId | None = None


class Look(Internal, tag="look"):
    """Read the execution as it stands."""


class Looked(Internal):
    """The answer to ``Look``: the record, which lacks a long task where that is in ``prompt``."""

    record: ExecutionRecord
    prompt: BodyReference | None = None


class Tick(Internal, tag="tick"):
    """A timer of this execution is due."""


ExecutionCommand = (
    Accept
    | Claim
    | Lost
    | FinishGeneration
    | FailGeneration
    | FinishTool
    | FailTool
    | WorkFailure
    | Stopped
    | AccountAnswered
    | CallbackAnswered
    | HasBegun
    | Ended
    | WaitAnswered
    | Inquire
    | Decide
    | Cancel
    | Delete
    | Look
    | Tick
)


# Events


class Accepted(Internal, tag="accepted"):
    """The execution exists and must end by ``deadline``.

    A long task that stands in the request is not in the origin as well: ``task_at`` says where.
    ``prompt`` and ``tools`` are those of ``Accept``.
    """

    origin: Origin
    request: ModelRequest
    at: datetime
    deadline: datetime
    policy: Policy = NO_POLICY
    spending: Spending | None = None
    task_at: TaskPlace | None = None
    reply_to: ReplyTo | None = None
    prompt: BodyReference | None = None
    tools: ToolPlan | None = None


class AttemptStarted(WorkStarted, tag="attempt_started"):
    """An attempt of a step is handed out, with its segment of the stream.

    A repeated attempt names the segment it makes void and the one in which the owner says so.
    ``place`` is the alternative to begin with. ``held`` says that the account holds what it may
    cost.
    """

    segment: int
    dropped_segment: int | None = None
    notice_segment: int | None = None
    place: int = 0
    held: bool = False


class AttemptFailed(WorkFailed, tag="attempt_failed"):
    """An attempt ended without an answer.

    Where another one is waited for, ``notice_segment`` is that in which the stream says so.
    """

    notice_segment: int | None = None
    usage: Usage | None = None
    detours: list[Detour] = []
    findings: list[Finding] = []
    charges: list[Charge] | None = None
    started_at: datetime | None = None


class GenerationFinished(WorkDone, tag="generation_finished"):
    """The answer of a step: the one place where its text is stored."""

    answer: Answer
    deltas: Deltas
    started_at: datetime
    place: int = 0
    detours: list[Detour] = []
    findings: list[Finding] = []
    charges: list[Charge] | None = None
    prompt: BodyReference | None = None


class ToolsCalled(Internal, tag="tools_called"):
    """The answer of a step asks for tools: a round begins.

    Those that need approval are told on the stream, from ``notice_segment`` on, each in a segment
    of its own; they wait for it until ``until``.
    """

    step: str
    at: datetime
    notice_segment: int | None = None
    until: datetime | None = None


class ToolStarted(WorkStarted, tag="tool_started"):
    """An attempt at a call is handed out: from now on it may have its effect.

    ``child`` is the execution that it begins, where it runs an agent.
    """

    child: ExecutionId | None = None


class ToolBegan(WorkDone, tag="tool_began"):
    """The execution that a call runs has begun; it is looked at by ``look_at`` at the latest."""

    look_at: datetime


class ToolFinished(WorkDone, tag="tool_finished"):
    """A tool has answered. ``notice_segment`` is that in which the stream says so.

    ``cost`` is that of the execution that the call has run, in pico-dollars.
    """

    result: ToolResult
    started_at: datetime
    notice_segment: int
    charges: list[Charge] | None = None
    cost: int | None = None


class ToolFailed(WorkFailed, tag="tool_failed"):
    """An attempt at a call brought no result; the last one says so in its ``notice_segment``."""

    outcome: CallOutcome
    notice_segment: int | None = None


class ToolRefused(Internal, tag="tool_refused"):
    """A call is never made. ``message`` says why, to the model."""

    work: str
    at: datetime
    outcome: CallOutcome
    message: str
    notice_segment: int


class ToolDecided(Internal, tag="tool_decided"):
    """A person has approved of a call, or not; where ``by`` is empty, nobody has in time."""

    work: str
    at: datetime
    approved: bool
    by: str = ""
    reason: str = ""


ToolEvent = (
    ToolsCalled
    | ToolStarted
    | ToolBegan
    | ToolFinished
    | ToolFailed
    | ToolRefused
    | ToolDecided
    | OutcomeLearned
)


class UsageSettled(Internal, tag="usage_settled"):
    """A superseded attempt reported what it had spent, and in which calls that failed.

    ``decided_at`` is when the attempt was decided, ``started_at`` when a worker began it.
    """

    work: str
    attempt: int
    usage: Usage
    detours: list[Detour] = []
    charges: list[Charge] | None = None
    decided_at: datetime | None = None
    started_at: datetime | None = None


class ExecutionCompleted(Internal, tag="completed"):
    """The end, in success."""

    segment: int
    at: datetime


class ExecutionFailed(Internal, tag="failed"):
    """The end, in failure."""

    segment: int
    at: datetime
    problem: Problem


class ExecutionCancelled(Internal, tag="cancelled"):
    """The end, by request."""

    segment: int
    at: datetime
    reason: str


class ExecutionTimedOut(Internal, tag="timed_out"):
    """The end, because its time was over."""

    segment: int
    at: datetime


class ExecutionDeleted(Internal, tag="deleted"):
    """What was asked and answered is forgotten. What is still to be paid is not."""

    at: datetime


ChangeEvent = (
    AttemptStarted
    | WorkClaimed
    | AttemptFailed
    | GenerationFinished
    | ToolEvent
    | WaitChange
    | UsageSettled
    | SpendEvent
    | CalledBack
    | ExecutionCompleted
    | ExecutionFailed
    | ExecutionCancelled
    | ExecutionTimedOut
    | ExecutionDeleted
)
ExecutionEvent = Accepted | ChangeEvent


class EmbedWork(Internal, tag="embed"):
    """The body of a work item: turn texts into vectors, with the best of the policy's keys.

    With ``held`` each call may be paid once: that is what money is held for. ``prompt`` is that of
    ``GenerateWork``.
    """

    execution_id: ExecutionId
    tenant: TenantId
    step: int
    attempt: int
    deadline: datetime
    request: EmbedRequest
    policy: Policy = NO_POLICY
    held: bool = False
    decided_at: datetime | None = None
    prompt: BodyReference | None = None


class GenerateWork(Internal, tag="generate"):
    """The body of a work item: generate one answer, and stream it under ``segment``.

    With ``prompt`` the worker reads request and policy from there before it begins. ``turns`` go
    behind the messages of the request. With ``tools`` the execution calls them by itself, so that
    the answer need not be the last.
    """

    execution_id: ExecutionId
    tenant: TenantId
    step: int
    attempt: int
    segment: int
    deadline: datetime
    request: GenerateRequest
    policy: Policy = NO_POLICY
    place: int = 0
    decided_at: datetime | None = None
    slices: BillSlices | None = None
    prompt: BodyReference | None = None
    turns: list[Turn] = []
    tools: bool = False
