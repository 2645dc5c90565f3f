"""Work: what an entity asks workers to do, and what workers and entities say to each other of it.

An entity opens a work item for each attempt at a piece of work. The item is an envelope that the
bus and every worker can read; its body is the queue's own. A worker answers to ``reply_to`` with
``Done``, ``WorkFailure`` or ``Stopped``, or with a subclass of these that has the queue's result.
Which attempt counts is decided by the owner of the entity: see ``schemas.attempts``.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

from schemas.base import Internal, Value
from schemas.ids import TenantId, whole
from schemas.problems import Problem

B = TypeVar("B")


class ReplyTo(Value):
    """The entity that waits for a piece of work."""

    entity: str
    tenant: TenantId
    key: str


class WorkItem(Internal, Generic[B]):
    """One attempt at a piece of work, open until a journalled answer closes it.

    ``id`` names the attempt, so that another attempt is another effect; ``work`` names the piece of
    work within its entity, the same for all attempts. ``since`` is when the attempt was decided.
    What is ``once`` may have its effect only once: a worker claims it before it begins, and what
    was claimed is not attempted again unless its worker says that nothing was sent.
    The workers to ``avoid`` lack what it takes; they get it only where there is no other.

    Items wait in lines: each tenant has one in each ``lane`` of a queue, so that a lane in which
    nothing ends stops no other. In its line an item of higher ``priority`` goes before older ones.
    ``not_before`` is when it may be given to a worker at the earliest.
    """

    id: str
    work: str
    attempt: int
    queue: str
    tenant: TenantId
    reply_to: ReplyTo
    since: datetime
    body: B
    once: bool = False
    trace: str | None = None
    avoid: list[str] = []
    lane: str = ""
    priority: int = 0
    not_before: datetime | None = None

    @property
    def line(self) -> str:
        """The line in which it waits; lines take turns."""
        return f"{self.lane}/{self.tenant}" if self.lane else self.tenant


def tenant_of(line: str) -> str:
    """Return the tenant of a line."""
    return line.rpartition("/")[2]


def item_id(reply_to: ReplyTo, work: str, attempt: int) -> str:
    """Name an attempt, as nobody else names one."""
    return f"{reply_to.entity}.{reply_to.tenant}.{reply_to.key}.{work}.{attempt}"


def item_of(name: str) -> tuple[ReplyTo, str, int]:
    """Return whose attempt at which work an item's id names.

    Raises:
        ValueError: it names none.
    """
    entity, tenant, key, rest = name.split(".", 3)
    work, _, attempt = rest.rpartition(".")
    if (number := whole(attempt)) is None:
        raise ValueError(name)
    return ReplyTo(entity=entity, tenant=tenant, key=key), work, number


# Commands


class Claim(Internal, tag="claim"):
    """A worker has an item that it may not begin unasked: may it?"""

    work: str
    attempt: int


class Lost(Internal, tag="lost"):
    """Nobody has the item any more.

    ``begun`` says that a worker had it and has gone, which spends an attempt; otherwise the bus has
    lost it.
    """

    work: str
    attempt: int
    begun: bool = False


class Done(Internal, tag="done"):
    """The work is done. Queues that have a result report it in a subclass."""

    work: str
    attempt: int


class WorkFailure(Internal, tag="failed"):
    """The attempt has failed. ``sent`` says that it may have had an effect outside.

    ``elsewhere``: nothing was tried, because this process lacks what it takes, such as a secret;
    another worker than ``worker`` may have it.
    """

    work: str
    attempt: int
    problem: Problem
    sent: bool = True
    elsewhere: bool = False
    worker: str = ""


class Stopped(Internal, tag="stopped"):
    """The worker has let go of the item before its end. ``sent`` is as that of ``WorkFailure``."""

    work: str
    attempt: int
    sent: bool = True


WorkCommand = Claim | Lost | Done | WorkFailure | Stopped


# Answers to workers


class Granted(Internal, tag="granted"):
    """Begin: nobody else may."""


class Settled(Internal, tag="settled"):
    """The report is committed: forget the item. ``accepted`` is False where another won."""

    accepted: bool


class Superseded(Internal, tag="superseded"):
    """This attempt is over (done, dropped or replaced by another): forget the item."""

    reason: str


WorkAnswer = Granted | Settled | Superseded

AnyWorkItem = WorkItem[Any]
