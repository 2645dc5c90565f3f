"""The instance's own language: the commands its owner takes, and the one event it journals.

The event is a turn: the command that caused it, and all the steps that it led to. Steps are those
of the net (``core.tokens``), and those below: what became of the actions, and of the instance.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from actors.workflow.core.steps import NetStepped
from actors.workflow.core.tokens import Marking
from schemas.attempts import (
    OutcomeLearned,
    WorkClaimed,
    WorkDone,
    WorkFailed,
    WorkStarted,
)
from schemas.base import Internal
from schemas.beginnings import HasBegun
from schemas.callbacks import (
    CallbackAnswered,
    CalledBack,
    Ended,
    Inquire,
    WaitAnswered,
    WaitBegun,
    WaitLooked,
    WaitPending,
)
from schemas.executions import ExecutionStatus
from schemas.http_actions import HttpDone
from schemas.identity import KeptPrincipal
from schemas.problems import Problem
from schemas.usage import Usage
from schemas.work import Claim, Lost, ReplyTo, Stopped, WorkFailure
from schemas.workflow_runs import RunGlance

INSTANCE_ENTITY = "workflow"

NO_NET = msgspec.Raw(b"null")
"""Stands where a net is left out (compared with ``is``)."""

ActionKind = Literal["agent", "tool", "workflow", "http"]
"""The actions for which work is done outside."""


class RunOrigin(Internal):
    """Who started what: the part of an instance that never changes but for its version.

    What it begins, it begins in the name of ``by``; None is the tenant's admin. ``depth`` counts
    the beginnings it lies in. ``worst`` is what one run of each agent costs at most, where that is
    known.
    """

    tenant: str
    instance_id: str
    workflow_id: str
    digest: str
    by: KeptPrincipal | None = None
    user: str | None = None
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    trace: str | None = None
    depth: int = 0
    reply_to: ReplyTo | None = None
    forked_from: str | None = None
    worst: dict[str, int] = {}


# Commands


class BeginRun(Internal, tag="begin"):
    """Begin an instance of a net with one token or, where it is a fork, with a whole marking.

    As the cause of a turn it has no origin and no net: the turn's first step has these.
    """

    origin: RunOrigin | None = None
    version: int
    net: msgspec.Raw = NO_NET
    net_digest: str = ""
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    marking: Marking | None = None


class UserCommand(Internal):
    """What a user does: ``by`` is their name, ``expected`` the turn that they have seen.

    The same ``id`` is the same command, among the last ones of an instance.
    """

    id: str = ""
    by: str = ""
    expected: int | None = None


class Fire(UserCommand, tag="fire"):
    """Fire a transition."""

    transition: str
    token: str | None = None


class Put(UserCommand, tag="put"):
    """Put a token into a place."""

    place: str
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Update(UserCommand, tag="update"):
    """Patch a token."""

    token: str
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Signal(UserCommand, tag="signal"):
    """An event has come, on a subject below the tenant's own."""

    subject: str
    event: dict[str, Any]


class AnswerPerson(UserCommand, tag="answer"):
    """A person has answered."""

    firing: str
    choice: str | None = None
    values: dict[str, Any] = {}


class CancelRun(UserCommand, tag="cancel"):
    """End the instance."""

    reason: str = "cancelled"


class Suspend(UserCommand, tag="suspend"):
    """Let nothing fire, or with ``over`` let it again."""

    over: bool = False


class Migrate(UserCommand, tag="migrate"):
    """Go on with another version of the net."""

    version: int
    net: msgspec.Raw
    net_digest: str
    places: dict[str, str] = {}


class Decided(UserCommand, tag="decided"):
    """Somebody has decided about a paused action: to retry it or to skip it."""

    firing: str
    skip: bool = False


class LookRun(Internal, tag="look"):
    """Read the instance."""


class CancelTold(Internal, tag="cancel_told"):
    """What was begun takes note of its cancellation, or is ``missing``."""

    of: ReplyTo
    missing: bool = False


class RunTick(Internal, tag="tick"):
    """A moment that the instance waits for has come."""


RunCommand = (
    BeginRun
    | Fire
    | Put
    | Update
    | Signal
    | AnswerPerson
    | CancelRun
    | Suspend
    | Migrate
    | Decided
    | LookRun
    | CancelTold
    | RunTick
    | Claim
    | Lost
    | HasBegun
    | HttpDone
    | WorkFailure
    | Stopped
    | Ended
    | Inquire
    | WaitAnswered
    | CallbackAnswered
)


# Steps of the instance


class RunBegan(Internal, tag="run_began"):
    """The instance stands."""

    origin: RunOrigin
    version: int
    net: msgspec.Raw
    net_digest: str
    deadline: datetime | None = None
    marking: Marking | None = None


class ActionAttempted(Internal, tag="attempted"):
    """An attempt at an action begins.

    ``of`` is what an item in the queue ``begin`` begins, ``until`` when a worker is to have made an
    HTTP request. ``worst`` is what it may cost.
    """

    firing: str
    attempt: int
    kind: ActionKind
    of: ReplyTo | None = None
    until: datetime | None = None
    worst: int = 0
    leave: bool = False


class BegunOver(Internal, tag="begun_over"):
    """What an action has begun has ended: what it has cost. Without ``status`` it never began."""

    of: ReplyTo
    status: str = ""
    cost: int | None = None
    usage: Usage | None = None


class RunSuspended(Internal, tag="suspended"):
    """Nothing fires, or again."""

    over: bool = False


class RunMigrated(Internal, tag="migrated"):
    """Another version of the net counts."""

    version: int
    net: msgspec.Raw
    net_digest: str


class RunClosed(Internal, tag="closed"):
    """The end of the instance. What it has begun is cancelled if it is told so."""

    status: ExecutionStatus
    problem: Problem | None = None


class CancelHeard(Internal, tag="cancel_heard"):
    """What was to be cancelled knows of it, or is asked again at ``again_at``."""

    of: ReplyTo
    again_at: datetime | None = None


class CancelAsked(Internal, tag="cancel_asked"):
    """What was not there is asked again."""

    of: ReplyTo


OwnStep = (
    RunBegan
    | ActionAttempted
    | BegunOver
    | RunSuspended
    | RunMigrated
    | RunClosed
    | CancelHeard
    | CancelAsked
    | CalledBack
    | WorkStarted
    | WorkClaimed
    | WorkFailed
    | WorkDone
    | OutcomeLearned
    | WaitBegun
    | WaitPending
    | WaitLooked
)

RunStep = NetStepped | OwnStep


class Turned(Internal, tag="turn"):
    """A turn. What can go on at once goes on in the next one, see ``Marking.more``."""

    at: datetime
    cause: RunCommand
    steps: tuple[RunStep, ...]
    glance: RunGlance
