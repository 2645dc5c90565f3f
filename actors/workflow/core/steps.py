"""The steps of a net, as they are journalled: what was taken, what was put, what began and ended.

A step says all that it changes, so that it is applied without the net.
"""

from datetime import datetime
from typing import Any, Literal

from actors.workflow.core.tokens import AgentRuns, GroupMark, Undo
from schemas.base import Internal
from schemas.problems import Problem


class TokenChange(Internal):
    """A token as it is put: a copy of the one taken that ``of`` names (itself if None), changed.

    It goes to ``place``; None leaves it where it lies. ``data`` and ``metadata`` replace the whole,
    then ``drops`` are removed and ``sets`` set, both by path. ``counters`` and ``group`` replace.
    ``rested`` says that it has waited, so that its hops count from 0. ``runs`` are added.
    """

    id: str
    place: str | None = None
    of: str | None = None
    data: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    drops: tuple[str, ...] = ()
    sets: dict[str, Any] = {}
    counters: dict[str, int] | None = None
    group: tuple[GroupMark, ...] | None = None
    rested: bool = False
    runs: dict[str, AgentRuns] = {}


class Moved(Internal, tag="moved", gc=False):
    """A transition took one token and put it into a place as it was."""

    transition: str
    token: str
    place: str


class _Changing(Internal):
    """What takes tokens and puts some. ``cancelled`` were taken as the rest of their group.

    Where several are put that are copies of one, ``base`` is that one, and stays nowhere itself.
    """

    taken: tuple[str, ...] = ()
    base: TokenChange | None = None
    puts: tuple[TokenChange, ...] = ()
    cancelled: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    undo: Undo | None = None


class Fired(_Changing, tag="fired"):
    """A transition took tokens and put others at once. ``why`` is set where a join was short."""

    transition: str
    why: Literal["deadline", "rest_ended"] | None = None


class TokensSet(_Changing, tag="tokens_set"):
    """Tokens were put, changed or removed from outside."""


class TimedOut(_Changing, tag="timed_out"):
    """A token had lain too long in its place."""

    place: str


class ActionBegun(_Changing, tag="action_begun"):
    """A transition took tokens, and its action began with ``token``, which the firing holds."""

    transition: str
    firing: str
    token: TokenChange
    request: dict[str, Any] | None = None
    deadline: datetime | None = None


class PlaceAgentBegun(Internal, tag="place_agent_begun"):
    """An agent of a place began to run for a token that lies there."""

    place: str
    agent: int
    firing: str
    token: str
    request: dict[str, Any] | None = None
    deadline: datetime | None = None


class UndoBegun(Internal, tag="undo_begun"):
    """The compensation of a transition began; it is the last of those that are left."""

    transition: str
    firing: str
    request: dict[str, Any]
    deadline: datetime | None = None


class ActionEnded(_Changing, tag="action_ended"):
    """A firing ended well, and put its token."""

    firing: str


class ActionPutOff(Internal, tag="action_put_off"):
    """An attempt failed; another is made at ``retry_at``."""

    firing: str
    problem: Problem
    retry_at: datetime


class ActionAgain(Internal, tag="action_again"):
    """Another attempt began; ``request`` replaces what was asked before."""

    firing: str
    request: dict[str, Any] | None = None
    deadline: datetime | None = None


class ActionFailed(_Changing, tag="action_failed"):
    """A firing failed for good. ``then`` is what its policy says."""

    firing: str
    problem: Problem
    then: Literal["pass", "pause", "route", "compensate", "fail"]


class NetFailed(Internal, tag="net_failed"):
    """The net has failed: nothing fires any more."""

    problem: Problem


class Metered(Internal, tag="metered"):
    """How much of the money is left has changed: see ``schemas.nets.RunBudget``."""

    wrap_up: bool
    reserve: bool


class Rehoused(Internal, tag="rehoused"):
    """Another definition applies. Tokens in the places of the map lie in others now."""

    places: dict[str, str]


Step = (
    Moved
    | Fired
    | TokensSet
    | TimedOut
    | ActionBegun
    | PlaceAgentBegun
    | UndoBegun
    | ActionEnded
    | ActionPutOff
    | ActionAgain
    | ActionFailed
    | NetFailed
    | Metered
    | Rehoused
)


class NetStepped(Internal, tag="net_stepped"):
    """All steps that one command has led to. With ``more`` it stopped at its limit of steps."""

    at: datetime
    steps: tuple[Step, ...]
    more: bool = False
