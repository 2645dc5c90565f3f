"""A small entity for tests of the shard runtime: a counter that can be told to raise."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from bus.requests.rpc import command
from bus.shard.turn import PendingCommand
from schemas.base import Internal
from schemas.decision import Decision, Publish, refuse
from schemas.entity import Entity
from schemas.problems import Problem
from schemas.work import ReplyTo, WorkItem


class Counter(Internal):
    total: int = 0
    wake_at: datetime | None = None


class Add(Internal, tag="add"):
    amount: int


class Sleep(Internal, tag="sleep"):
    """Ask to be woken after ``seconds``."""

    seconds: float


class Wake(Internal, tag="wake"):
    """The timer."""


class Break(Internal, tag="break"):
    """Raise, in ``where``."""

    where: str


class Added(Internal, tag="added"):
    amount: int


class Asleep(Internal, tag="asleep"):
    until: datetime


class Woken(Internal, tag="woken"):
    """The timer went off."""


class Broken(Internal, tag="broken"):
    """An event that cannot be applied."""


class Total(Internal, tag="total"):
    total: int


def decide(state: Counter | None, wanted: Add | Sleep | Wake | Break, now: datetime) -> Decision:
    total = state.total if state else 0
    match wanted:
        case Add(amount=0):
            return refuse(Problem(code="validation", message="nothing to add"))
        case Add():
            return Decision((Added(amount=wanted.amount),), Total(total=total + wanted.amount))
        case Sleep():
            return Decision((Asleep(until=now + timedelta(seconds=wanted.seconds)),))
        case Wake():
            return Decision((Woken(),)) if state and state.wake_at else Decision()
        case Break(where="evolve"):
            return Decision((Added(amount=1), Broken()), Total(total=0))
        case Break():
            raise ZeroDivisionError(wanted.where)


def evolve(state: Counter | None, event: Added | Asleep | Woken | Broken) -> Counter:
    before = state or Counter()
    match event:
        case Added():
            return Counter(total=before.total + event.amount, wake_at=before.wake_at)
        case Asleep():
            return Counter(total=before.total, wake_at=event.until)
        case Woken():
            return Counter(total=before.total)
        case Broken():
            raise ValueError(event)


def effects(state: Counter) -> tuple[WorkItem[Wake], ...]:
    """One piece of work for each total above 10."""
    if state.total <= 10:
        return ()
    since = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    item = WorkItem(
        id=f"work-{state.total}",
        work=f"{state.total}",
        attempt=1,
        queue="q",
        tenant="acme",
        reply_to=ReplyTo(entity="counter", tenant="acme", key="c"),
        since=since,
        body=Wake(),
    )
    return (item,)


def announce(before: Counter | None, event: object, after: Counter) -> Iterable[Publish]:
    del before, event
    yield Publish(subject="cb.acme.events.counter.changed.c", body=after)


ENTITY = Entity(
    name="counter",
    version=1,
    state_type=Counter,
    command_type=Add | Sleep | Wake | Break,
    event_type=Added | Asleep | Woken | Broken,
    decide=decide,
    evolve=evolve,
    effects=effects,
    announce=announce,
    due=lambda state: state.wake_at,
    ended=lambda state: state.total < 0,
    record=lambda state: Publish(subject="cb.acme.record.c", body=state),
    tick=Wake(),
)


def pending(
    name: str, key: str, body: Add | Sleep | Wake | Break, digest: str = "", reply: str = "answer"
) -> PendingCommand:
    return PendingCommand(command(name, "acme", key, body, digest=digest), reply)
