"""The state of one instance: its net, its marking, the attempts at its actions, its money. Pure.

An instance carries its definition, so that what is decided depends on nothing else. The compiled
form is found by the digest.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.lookup import compiled
from actors.workflow.core.messages import NO_NET, ActionKind, RunOrigin
from actors.workflow.core.tokens import Marking
from schemas import pages
from schemas.attempts import Attempts
from schemas.base import Internal, Value
from schemas.callbacks import Ended, Waits
from schemas.executions import ExecutionStatus
from schemas.pages import Pages
from schemas.problems import Problem
from schemas.usage import Usage
from schemas.work import ReplyTo


class ActionRun(Internal):
    """The newest attempt at a firing of the net: what is under way for it outside.

    What it has begun is left to itself at the end of the instance if it says ``leave``.
    """

    firing: str
    kind: ActionKind
    attempt: int
    since: datetime
    of: ReplyTo | None = None
    until: datetime | None = None
    worst: int = 0
    leave: bool = False

    @property
    def work(self) -> str:
        """The name of the piece of work of this attempt."""
        return f"{self.firing}.{self.attempt}"


class Cancelling(Value, omit_defaults=True):
    """What is to be cancelled: it is asked to, and once more at ``again_at`` if it was not there.

    The worker that was to begin it may do so after the first word.
    """

    of: ReplyTo
    since: datetime
    again_at: datetime | None = None
    tries: int = 0


class WorkflowInstance(Internal):
    """One instance. ``turn`` is the number of its newest turn, at ``at``.

    ``seen`` are the ids of the last commands of users. ``cancelling`` is what it has begun and no
    longer wants, until that has taken note. ``segment`` is the next one of its stream. ``end`` is
    what ``reply_to`` is told, until it has answered.
    """

    origin: RunOrigin
    version: int
    net: msgspec.Raw
    net_digest: str
    began_at: datetime
    at: datetime
    marking: Marking
    turn: int = 0
    deadline: datetime | None = None
    suspended: bool = False
    runs: Pages[ActionRun] = ()
    attempts: Attempts = Attempts()
    waits: Waits = Waits()
    cancelling: dict[str, Cancelling] = {}
    cost: int | None = None
    usage: Usage | None = None
    executions: int = 0
    closed: ExecutionStatus | None = None
    closed_at: datetime | None = None
    problem: Problem | None = None
    segment: int = 1
    seen: tuple[str, ...] = ()
    end: Ended | None = None

    @property
    def compiled(self) -> CompiledNet:
        """The net that counts."""
        return compiled(self.net, self.net_digest)

    def run(self, firing: str) -> ActionRun | None:
        """Return how an action runs; None if it does not."""
        return pages.get(self.runs, firing)

    @property
    def status(self) -> ExecutionStatus:
        """Where it stands: ``WAITING`` while all that runs waits for a time, a person, an event."""
        if self.closed is not None:
            return self.closed
        if self.turn == 0:
            return "PENDING"
        works = self.marking.more or pages.size(self.runs) > 0
        return "RUNNING" if works else "WAITING"


def has_ended(state: WorkflowInstance) -> bool:
    """Say whether it is over, and all that it has begun knows of it."""
    return state.closed is not None and not state.cancelling


def split(state: WorkflowInstance) -> tuple[WorkflowInstance, tuple[bytes, ...]]:
    """Take out the net, which many instances share and a snapshot stores once."""
    return msgspec.structs.replace(state, net=NO_NET), (bytes(state.net),)


def joined(state: WorkflowInstance, parts: Sequence[bytes]) -> WorkflowInstance:
    """Put the net back."""
    return msgspec.structs.replace(state, net=msgspec.Raw(parts[0]))
