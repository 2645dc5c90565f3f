"""The state of an instance's net: tokens, running firings, and what is to be undone at a failure.

All of it is values: what changes a marking is the event ``NetStepped`` alone, see ``steps``.
"""

from datetime import datetime
from typing import Any, Literal

from schemas.base import Value
from schemas.problems import Problem

MOST_HOPS = 1_000
"""So often a token may move between two waits for a time, a person or an event."""

MOST_UNDO = 1_000
MOST_TOKEN_BYTES = 256 * 1024
MOST_FORKED_BYTES = 4 * 1024 * 1024
"""What all tokens of one fork may have together, each its own copy of the data."""


class GroupMark(Value, omit_defaults=True):
    """A token is one of a group: the ``index``-th of ``size`` that one firing has put.

    With ``split`` they are copies in several places, which ``all`` may take together.
    """

    group: str
    index: int
    size: int
    split: bool = False


class AgentRuns(Value):
    """How often a place's agent has run for a token since it entered, and when it last ended."""

    count: int
    at: datetime


class NetToken(Value, omit_defaults=True):
    """A token. ``id`` is a number within the instance; a token that moves keeps it.

    ``counters`` are how often it took each transition that has a ``most``. ``group`` are the groups
    that it is of, the innermost last. ``moves`` counts all its moves, ``hops`` those since it last
    waited. ``runs`` are those of the agents of its place, by their index.
    """

    id: str
    place: str
    since: datetime
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    counters: dict[str, int] = {}
    group: tuple[GroupMark, ...] = ()
    moves: int = 0
    hops: int = 0
    runs: dict[str, AgentRuns] = {}


FiringKind = Literal["action", "place", "undo"]


class Firing(Value, omit_defaults=True):
    """A running action: of the transition ``name``, of an agent of the place, or a compensation.

    The token is out of the net meanwhile, except with ``place``: there it lies in its place, and
    ``token`` is as it was. ``request`` is the mapped input; None where the transition has no
    action, and a person is to say how it goes on. It fails at ``deadline``, where it is a timer it
    ends then. With ``retry_at`` the attempt has failed and another is made then; with ``problem``
    and no ``retry_at`` it is paused.
    """

    id: str
    kind: FiringKind
    name: str
    since: datetime
    token: NetToken | None = None
    agent: int = 0
    request: dict[str, Any] | None = None
    attempt: int = 1
    deadline: datetime | None = None
    retry_at: datetime | None = None
    problem: Problem | None = None

    @property
    def is_paused(self) -> bool:
        """Say whether it waits for ``workflows.retry`` or ``skip``."""
        return self.problem is not None and self.retry_at is None


class Undo(Value):
    """A step that can be undone: the compensation of this transition, with this input."""

    transition: str
    request: dict[str, Any]


class Marking(Value, omit_defaults=True):
    """Where an instance stands. Tokens are in the order in which they came to their places.

    ``more`` says that the last event stopped at its limit of steps, so there is more to do now.
    ``failing`` is why all is being undone, ``problem`` why the net has failed. ``wrap_up`` and
    ``reserve`` tell how much of the money is left: see ``schemas.nets.RunBudget``.
    """

    tokens: dict[str, NetToken] = {}
    firings: dict[str, Firing] = {}
    next_id: int = 1
    undo: tuple[Undo, ...] = ()
    not_undone: tuple[str, ...] = ()
    failing: Problem | None = None
    problem: Problem | None = None
    more: bool = False
    wrap_up: bool = False
    reserve: bool = False
