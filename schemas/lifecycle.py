"""The execution entity's own language: the commands its owner takes and the events it journals.

Each step of an execution is a piece of work, named by its number.
"""

from datetime import datetime

from schemas.attempts import (
    WorkClaimed,
    WorkDone,
    WorkFailed,
    WorkPlanned,
    WorkPutOff,
    WorkStarted,
)
from schemas.base import Internal, Value
from schemas.bodies import Reference
from schemas.callbacks import CallbackAnswered, CalledBack, Inquire
from schemas.executions import ExecutionRecord
from schemas.ids import AgentId, ExecutionId, SessionId, TenantId
from schemas.ledger import Charge
from schemas.llm import Answer, GenerateRequest
from schemas.policy import Choice, Detour, Policy
from schemas.problems import Problem
from schemas.safety import Finding
from schemas.usage import Usage
from schemas.work import Claim, Done, Failed, Lost, ReplyTo, Stopped

EXECUTION_ENTITY = "execution"

NO_POLICY = Policy()
"""One attempt at a time at the one provider that is named, with its one key."""


class Deltas(Value):
    """What a worker published under its segment: how many events, the SHA-256 of their text."""

    count: int
    sha256: str


class Origin(Internal):
    """Who asked for what: the part of an execution that never changes.

    A plain generation has no agent. ``choices`` are what the rules decided about its model.
    """

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


class Slices(Value):
    """How a stream that goes on asks for more: ``slice_pico`` at a time.

    ``input_pico`` is what its prompt costs at most, ``output_pico`` a token of its answer.
    ``lent_pico`` of a slice must be the platform's; None is all of it.
    """

    slice_pico: int
    input_pico: int
    output_pico: int
    lent_pico: int | None = None


class Spending(Value, omit_defaults=True):
    """What each attempt needs the account's leave for, as it was reckoned at acceptance.

    ``amount_pico`` and ``tokens`` are upper bounds of one attempt; with ``slices`` the amount is
    that of the prompt and a first slice. One that ``waits`` asks again when it may be granted,
    others fail when they are refused. ``platform`` is set where a budget of the platform holds:
    ``lent_pico`` of the amount must be its money, all of it where that is None. ``chunk_pico`` is
    what may be spent before a provider that says too much is noticed.
    """

    amount_pico: int
    tokens: int
    waits: bool = False
    platform: bool = False
    slices: Slices | None = None
    lent_pico: int | None = None
    chunk_pico: int = 0


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
    """

    request: GenerateRequest
    policy: Policy = NO_POLICY
    task: str = ""
    task_at: TaskPlace | None = None


# Commands


class Accept(Internal, tag="accept"):
    """Begin an execution. ``digest`` in the origin tells a repeat from a conflict.

    With ``prompt`` request and policy have no more than their providers: the rest is in the
    ``Prompt`` that was stored before, and so is a long task.

    ``reply_to`` is the entity that is told of the end. No public request can name one.
    """

    origin: Origin
    request: GenerateRequest
    timeout_seconds: float
    policy: Policy = NO_POLICY
    spending: Spending | None = None
    reply_to: ReplyTo | None = None
    prompt: Reference | None = None


class FinishGeneration(Done, tag="finish_generation"):
    """A provider answered to the end: the alternative at ``place``, after ``detours``.

    ``charges`` are the prices of all calls; None where nothing is known of prices. ``decided_at``
    is that of the work item.
    """

    answer: Answer
    deltas: Deltas
    started_at: datetime
    place: int = 0
    detours: list[Detour] = []
    findings: list[Finding] = []
    charges: list[Charge] | None = None
    decided_at: datetime | None = None


class FailGeneration(Failed, tag="fail_generation"):
    """The providers refused, broke off or fell silent. ``usage`` is what all calls have spent.

    ``next_place`` is where another attempt can begin at once: the alternatives before it have been
    tried, but what this attempt has published already cannot be taken back within it.
    """

    deltas: Deltas
    started_at: datetime
    usage: Usage | None = None
    next_place: int | None = None
    detours: list[Detour] = []
    findings: list[Finding] = []
    charges: list[Charge] | None = None
    decided_at: datetime | None = None


class ReserveAnswered(Internal, tag="reserve_answered"):
    """The account holds the money for an attempt, or refuses. ``asked`` counts how often it was."""

    work: str
    attempt: int
    asked: int
    problem: Problem | None = None


class DueAnswered(Internal, tag="due_answered"):
    """The account has booked what an attempt has cost, or let go of its hold."""

    ask: str
    problem: Problem | None = None


class Cancel(Internal, tag="cancel"):
    """A user asks for the end."""

    reason: str


class Look(Internal, tag="look"):
    """Read the execution as it stands."""


class Looked(Internal):
    """The answer to ``Look``: the record, which lacks a long task where that is in ``prompt``."""

    record: ExecutionRecord
    prompt: Reference | None = None


class Tick(Internal, tag="tick"):
    """A timer of this execution is due."""


ExecutionCommand = (
    Accept
    | Claim
    | Lost
    | FinishGeneration
    | FailGeneration
    | Failed
    | Stopped
    | ReserveAnswered
    | DueAnswered
    | CallbackAnswered
    | Inquire
    | Cancel
    | Look
    | Tick
)


# Events


class Accepted(Internal, tag="accepted"):
    """The execution exists and must end by ``deadline``.

    A long task that stands in the request is not in the origin as well: ``task_at`` says where.
    ``prompt`` is that of ``Accept``.
    """

    origin: Origin
    request: GenerateRequest
    at: datetime
    deadline: datetime
    policy: Policy = NO_POLICY
    spending: Spending | None = None
    task_at: TaskPlace | None = None
    reply_to: ReplyTo | None = None
    prompt: Reference | None = None


class ReserveAsked(WorkPlanned, tag="reserve_asked"):
    """An attempt waits for the account to hold what it may cost.

    ``asked`` counts how often, ``place`` is that of the attempt. ``reason`` is why there is another
    attempt than the first.
    """

    asked: int
    reason: str | None = None
    place: int = 0


class ReserveRefused(WorkPutOff, tag="reserve_refused"):
    """The account does not hold the money. It is asked again at ``retry_at``, if that is set."""

    problem: Problem


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
    """An attempt ended without an answer."""

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


class HoldReleased(Internal, tag="hold_released"):
    """A superseded attempt reported that it had spent nothing, of what is held for it."""

    work: str
    attempt: int
    at: datetime


class DueMet(Internal, tag="due_met"):
    """The account has answered to what was due for an attempt.

    ``handed_over`` is set where it has not, for long: the bill is then stored on ``BILL_SUBJECT``,
    for the first pricing process that there is.
    """

    ask: str
    handed_over: bool = False


class DueRefused(Internal, tag="due_refused"):
    """The account could not book what is due. It is asked again at ``retry_at``; None gives it up.

    What is given up is told to everybody, and laid aside for an operator.
    """

    ask: str
    problem: Problem
    at: datetime
    retry_at: datetime | None = None


class DueAskedAgain(Internal, tag="due_asked_again"):
    """The account is asked once more to book what it could not."""

    ask: str


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


ChangeEvent = (
    ReserveAsked
    | ReserveRefused
    | AttemptStarted
    | WorkClaimed
    | AttemptFailed
    | GenerationFinished
    | UsageSettled
    | HoldReleased
    | DueMet
    | DueRefused
    | DueAskedAgain
    | CalledBack
    | ExecutionCompleted
    | ExecutionFailed
    | ExecutionCancelled
    | ExecutionTimedOut
)
ExecutionEvent = Accepted | ChangeEvent


class GenerateWork(Internal, tag="generate"):
    """The body of a work item: generate one answer, and stream it under ``segment``.

    With ``prompt`` the worker reads request and policy from there before it begins.
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
    slices: Slices | None = None
    prompt: Reference | None = None
