"""Instances of workflows as users see them: the commands, their replies, the stored record.

An instance changes by turns. A turn is what one command has led to: transitions that fired, actions
that began and ended. ``revision`` is the number of the newest turn.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from schemas.base import Command, Cursor, Message, Offset, Question, Value
from schemas.executions import ExecutionStatus, Instant, Labels
from schemas.ids import END, Label, Token
from schemas.nets import PlaceId, TransitionId
from schemas.patches import Patch
from schemas.problems import Problem
from schemas.usage import Usage

RUN_SUBJECT = "cb.{tenant}.record.workflow.{instance_id}"
TURN_SUBJECT = "cb.{tenant}.record.workflow.{instance_id}.{turn}"

TokenId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(?![\s\S])", description="a number")]
FiringId = TokenId

Revision = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

Names = Annotated[dict[str, Any], msgspec.Meta(max_length=256)]

FiringPhase = Literal["beginning", "running", "waiting", "backing_off", "paused"]


class WorkflowHandle(Message):
    """An instance, and the subject on which its events arrive. ``revision`` is that of its turn."""

    instance_id: Token
    workflow_id: Token
    version: int
    status: ExecutionStatus
    stream: str
    revision: int


class _Act(Command):
    """What is done to an instance. With ``expected_version`` only at that revision of it."""

    instance_id: Token
    expected_version: Revision | None = None


class StartWorkflow(Command):
    """Start an instance of a workflow with one token. The same ``id`` is the same instance.

    It keeps the version of the definition that it starts with.
    """

    SUBJECT: ClassVar[str] = "workflows.start"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    workflow_id: Token
    id: Token | None = None
    data: Names = {}
    metadata: Names = {}
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: Label | None = None
    labels: Labels = {}


class FireTransition(_Act):
    """Fire a transition now, with the token that is named or the oldest that it can take.

    Where it is not enabled the ``conflict`` has the verdict of each guard in its details.
    """

    SUBJECT: ClassVar[str] = "workflows.fire"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    transition: TransitionId
    token: TokenId | None = None


class PutToken(_Act):
    """Put a token into a place. With ``id`` it is put once, however often it is asked."""

    SUBJECT: ClassVar[str] = "workflows.put_token"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    place: PlaceId
    data: Names = {}
    metadata: Names = {}
    id: Token | None = None


class UpdateToken(_Act):
    """Merge fields into a token's data and metadata (RFC 7396)."""

    SUBJECT: ClassVar[str] = "workflows.update_token"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    token: TokenId
    data: Patch = {}
    metadata: Patch = {}


class SignalWorkflow(_Act):
    """Tell an instance of an event: an action that waits for such a one ends with its data.

    ``subject`` is below the tenant's own. An event that nothing waits for changes nothing.
    """

    SUBJECT: ClassVar[str] = "workflows.signal"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    subject: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^\s.*>]{1,128}(\.[^\s.*>]{1,128}){0,15}" + END,
            description="a subject without wildcards",
        ),
    ]
    data: Any = None
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None


class AnswerWorkflow(_Act):
    """Answer what an instance asks a person: with one of its choices, and its form filled in."""

    SUBJECT: ClassVar[str] = "workflows.answer"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    firing: FiringId
    choice: Label | None = None
    values: Names = {}


class CancelWorkflow(_Act):
    """End an instance now. What it has begun is cancelled, unless its action says ``leave``."""

    SUBJECT: ClassVar[str] = "workflows.cancel"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    reason: Annotated[str, msgspec.Meta(max_length=1000)] = "cancelled"


class SuspendWorkflow(_Act):
    """Let nothing fire until ``workflows.resume``. What runs goes on, and its end is noted."""

    SUBJECT: ClassVar[str] = "workflows.suspend"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"


class ResumeWorkflow(_Act):
    """Let a suspended instance go on."""

    SUBJECT: ClassVar[str] = "workflows.resume"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"


class MigrateWorkflow(_Act):
    """Put a running instance on another version of its workflow.

    ``places`` says where the tokens of a place go that is not there any more. Refused, with the
    tokens and actions that have nowhere to go, unless all have.
    """

    SUBJECT: ClassVar[str] = "workflows.migrate"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    version: Annotated[int, msgspec.Meta(ge=1)] | None = None
    places: Annotated[dict[PlaceId, PlaceId], msgspec.Meta(max_length=256)] = {}


class RetryFiring(_Act):
    """Begin an action anew that is paused after its failure."""

    SUBJECT: ClassVar[str] = "workflows.retry"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    firing: FiringId


class SkipFiring(_Act):
    """Let the token of a paused action pass, as if the action were not required."""

    SUBJECT: ClassVar[str] = "workflows.skip"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    firing: FiringId


# What is read


class RunToken(Value, omit_defaults=True):
    """A token; ``moves`` counts how often it has moved."""

    id: str
    place: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    since: datetime
    moves: int = 0
    counters: dict[str, int] = {}


class RunFiring(Value, omit_defaults=True):
    """An action that runs, or waits for something, until ``until``.

    It is that of a transition or of a place's agent; with kind ``undo`` it is a compensation. It
    holds ``token`` meanwhile. ``began`` is the execution or instance that it has begun. A person is
    asked with ``title``, a ``form`` (JSON Schema) and ``choices``.
    """

    id: str
    kind: str
    action: str
    phase: FiringPhase
    since: datetime
    transition: str | None = None
    place: str | None = None
    token: RunToken | None = None
    attempt: int = 1
    until: datetime | None = None
    began: str | None = None
    problem: Problem | None = None
    title: str = ""
    assignee: str | None = None
    form: dict[str, Any] | None = None
    choices: list[str] = []


class WorkflowRun(Message, omit_defaults=True):
    """An instance as it is stored and shown. ``revision`` is the number of its newest turn.

    ``cost`` (in pico-dollars) and ``usage`` are those of all executions and instances that it has
    begun and that have ended; None is not known. ``data`` is that of the token that came to its end
    last.
    """

    SUBJECT: ClassVar[str | None] = RUN_SUBJECT

    instance_id: str
    workflow_id: str
    version: int
    status: ExecutionStatus
    revision: int
    digest: str
    stream: str
    created_at: datetime
    deadline: datetime | None = None
    completed_at: datetime | None = None
    tokens: list[RunToken] = []
    firings: list[RunFiring] = []
    data: dict[str, Any] = {}
    cost: int | None = None
    limit: int | None = None
    usage: Usage | None = None
    executions: int = 0
    suspended: bool = False
    wrap_up: bool = False
    error: Problem | None = None
    forked_from: str | None = None
    user: str | None = None
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    segment: int = 0


class GetWorkflowRun(Question):
    """Read an instance: its tokens, what runs, what it has cost."""

    SUBJECT: ClassVar[str] = "workflows.get_run"
    REPLY: ClassVar[type[Message]] = WorkflowRun
    ACTION: ClassVar[str] = "workflows:read"

    instance_id: Token


class WorkflowRunSummary(Message):
    """A row of a list of instances. ``places`` are those in which tokens lie."""

    instance_id: str
    workflow_id: str
    version: int
    status: ExecutionStatus
    revision: int
    created_at: datetime
    completed_at: datetime | None = None
    places: list[str] = []
    cost: int | None = None
    user: str | None = None
    labels: dict[str, str] = {}


class WorkflowRunList(Message):
    """A page of instances, newest first; ``next`` is the cursor of the page after it."""

    runs: list[WorkflowRunSummary]
    total: int | None
    limit: int
    offset: int
    next: str | None = None


class ListWorkflowRuns(Question):
    """List instances by filter, newest first, in pages.

    ``metadata`` are fields that the metadata had at the start. Those with a token in ``place`` are
    filtered by workflow and status only.
    """

    SUBJECT: ClassVar[str] = "workflows.list_runs"
    REPLY: ClassVar[type[Message]] = WorkflowRunList
    ACTION: ClassVar[str] = "workflows:read"

    workflow_id: Token | None = None
    status: ExecutionStatus | None = None
    place: PlaceId | None = None
    metadata: Labels = {}
    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Offset = 0
    cursor: Cursor | None = None


class ListedOrigin(Value, omit_defaults=True):
    """What lists show of who has started an instance; ``metadata`` are texts of its first token."""

    workflow_id: str
    user: str | None = None
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}


class RunGlance(Value, omit_defaults=True):
    """What lists show of an instance after a turn, so that they need not know its state.

    ``places`` are those in which tokens lie. ``origin`` is told by the first turn alone.
    """

    status: ExecutionStatus
    turn: int
    version: int
    places: list[str] = []
    cost: int | None = None
    origin: ListedOrigin | None = None


class WorkflowTurn(Message):
    """A turn of an instance, as it is stored: the command that caused it, and all its steps.

    ``glance`` is how the instance stood after it, with what it had cost by then.
    """

    SUBJECT: ClassVar[str | None] = TURN_SUBJECT

    instance_id: str
    turn: int
    at: datetime
    cause: Any
    steps: list[Any]
    glance: RunGlance


class WorkflowHistory(Message):
    """Turns of an instance in their order; ``next`` is where to go on.

    ``tokens`` is the marking after the last of them, where ``at`` or ``token`` was asked for.
    """

    instance_id: str
    turns: list[WorkflowTurn]
    next: int | None = None
    tokens: list[RunToken] | None = None
    firings: list[RunFiring] = []


class GetWorkflowHistory(Question):
    """Read what has happened in an instance, turn by turn: cause, verdicts, executions, cost.

    With ``at`` the marking after that turn is told, too. With ``token`` only turns that touch it.
    """

    SUBJECT: ClassVar[str] = "workflows.history"
    REPLY: ClassVar[type[Message]] = WorkflowHistory
    ACTION: ClassVar[str] = "workflows:read"

    instance_id: Token
    after: Revision = 0
    at: Revision | None = None
    token: TokenId | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class WorkflowReplayed(Message):
    """What a replay has shown: every turn was decided again and came to the same steps.

    Otherwise ``difference`` tells the first turn that did not, and how.
    """

    instance_id: str
    turns: int
    equal: bool
    difference: str | None = None


class ReplayWorkflow(Question):
    """Decide all turns of an instance again, and compare."""

    SUBJECT: ClassVar[str] = "workflows.replay"
    REPLY: ClassVar[type[Message]] = WorkflowReplayed
    ACTION: ClassVar[str] = "workflows:read"

    instance_id: Token


class ForkWorkflow(Command):
    """Start a new instance with the tokens that another one had after its turn ``at``.

    Actions that ran then begin anew.
    """

    SUBJECT: ClassVar[str] = "workflows.fork"
    REPLY: ClassVar[type[Message]] = WorkflowHandle
    ACTION: ClassVar[str] = "workflows:run"

    instance_id: Token
    at: Revision
    id: Token | None = None
