"""Entities that start executions, sleep, and are told of each end: by callback, or by a slow look.

Both sides are killed at any moment; each end must arrive exactly once.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from actors.agents.core.entity import EXECUTION
from bus.codec import decode
from bus.requests.rpc import PROBLEM_MARK
from schemas import callbacks, pages
from schemas.base import Internal
from schemas.callbacks import (
    Ended,
    Noted,
    Wait,
    WaitAnswered,
    WaitBegun,
    WaitLooked,
    WaitOver,
    WaitPending,
    Waits,
)
from schemas.decision import Ask, Decision, refuse
from schemas.entity import Entity
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    Accept,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    Origin,
)
from schemas.llm import GenerateRequest
from schemas.problems import Problem
from schemas.providers import Scripted
from schemas.work import ReplyTo
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.plan import USERS, Event, troubles

ENTITY = "parent"
STATUS: dict[type[ExecutionEvent], str] = {
    ExecutionCompleted: "COMPLETED",
    ExecutionFailed: "FAILED",
    ExecutionCancelled: "CANCELLED",
    ExecutionTimedOut: "TIMED_OUT",
}


class Gather(Internal, tag="gather"):
    """Start executions. Where no callback comes each is looked at after ``look`` seconds."""

    tenant: str
    key: str
    names: list[str]
    timeout: float
    look: float


class Ring(Internal, tag="ring"):
    """A timer is due."""


class Gathering(Internal, tag="gathering"):
    """The parent exists."""

    wanted: Gather


Command = Gather | Ended | WaitAnswered | Ring
ParentEvent = Gathering | WaitBegun | WaitPending | WaitLooked | WaitOver


class Parent(Internal):
    """What is waited for, and what has been."""

    wanted: Gather
    waits: Waits = Waits()
    ends: dict[str, str] = {}


def decide(state: Parent | None, command: Command, now: datetime) -> Decision:
    """See ``Entity.decide``."""
    match command:
        case Gather() if state is None:
            begun = [
                WaitBegun(of=ReplyTo(entity=EXECUTION_ENTITY, tenant=command.tenant, key=n), at=now)
                for n in command.names
            ]
            return Decision((Gathering(wanted=command), *begun), Noted(fresh=True))
        case Gather():
            return Decision(reply=Noted(fresh=False))
        case _ if state is None:
            return refuse(Problem(code="not_found", message="nobody waits"))
        case Ring():
            return Decision(callbacks.look(state.waits, now))
        case Ended() | WaitAnswered():
            look = timedelta(seconds=state.wanted.look)
            return callbacks.decide(state.waits, command, now, look)


def evolve(state: Parent | None, event: ParentEvent) -> Parent:
    """See ``Entity.evolve``."""
    if isinstance(event, Gathering):
        return Parent(wanted=event.wanted)
    assert state is not None
    ends = state.ends
    if isinstance(event, WaitOver):
        ends = {**ends, event.of.key: event.end.status}
    return msgspec.structs.replace(state, waits=state.waits.apply(event), ends=ends)


def effects(state: Parent) -> list[Ask]:
    """See ``Entity.effects``."""
    wanted = state.wanted

    def start(wait: Wait) -> Accept:
        origin = Origin(
            tenant=wanted.tenant,
            execution_id=wait.of.key,
            task="Say hello.",
            digest="d",
            max_attempts=3,
        )
        request = GenerateRequest(provider=Scripted(responses=["Hello."]), messages=[])
        here = ReplyTo(entity=ENTITY, tenant=wanted.tenant, key=wanted.key)
        seconds = wanted.timeout
        return Accept(origin=origin, request=request, timeout_seconds=seconds, reply_to=here)

    return list(callbacks.asks(state.waits, start))


def answered(ask: Ask, answer: bytes) -> WaitAnswered:
    """See ``Entity.answered``."""
    if answer.startswith(PROBLEM_MARK):
        return callbacks.notification(ask, decode(Problem, answer))
    is_end = answer.startswith(b'{"type":"ended"')
    return callbacks.notification(ask, decode(Ended, answer) if is_end else None)


def parent_entity() -> Entity[Parent, Command, ParentEvent]:
    """Return an entity that waits, as the shard runtime sees it."""
    return Entity(
        name=ENTITY,
        version=1,
        state_type=Parent,
        command_type=Command,
        event_type=ParentEvent,
        decide=decide,
        evolve=evolve,
        effects=effects,
        announce=lambda _before, _event, _after: (),
        due=lambda state: state.waits.due(),
        ended=lambda state: not is_waiting(state.waits),
        answered=answered,
        tick=Ring(),
    )


def is_waiting(waits: Waits) -> bool:
    """Say whether anything is still waited for."""
    return any(True for _ in pages.values(waits.known))


# Histories


def entities() -> tuple[AnyEntity, ...]:
    """Return what lives in these histories."""
    return (EXECUTION, parent_entity())


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    chance = random.Random(seed)
    events = [*_gatherings(chance), *troubles(chance)]
    return sorted(events, key=lambda event: (event.at, event.name))


def _gatherings(chance: random.Random) -> Iterator[Event]:
    for parent in range(chance.randint(1, 2)):
        names = [f"e{parent}{number}" for number in range(chance.randint(1, 3))]
        at = chance.uniform(0.6, 3.0)
        # A slow look that comes in time would hide that a callback is lost.
        values = {
            "key": f"p{parent}",
            "names": names,
            "timeout": chance.choice([2.0, 600.0, 600.0]),
            "look": chance.choice([1.0, 900.0, 900.0]),
        }
        yield Event(at, "gathers", chance.choice(USERS), values)
        if chance.random() < 0.3:
            later = at + chance.uniform(0.0, 2.0)
            yield Event(later, "cancels", "cyd", {"key": chance.choice(names)})


def faults_of_waiting(judge: Judge) -> Iterator[str]:
    """Yield what is wrong with what parents were told."""
    ends: dict[str, str] = {}
    told: dict[str, list[str]] = defaultdict(list)
    for shard in judge.shards.values():
        for (_, key), history in shard.histories.items():
            for event in history:
                if type(event) in STATUS:
                    ends[key] = STATUS[type(event)]
                elif isinstance(event, WaitOver):
                    told[event.of.key].append(event.end.status)
                elif isinstance(event, WaitBegun):
                    told[event.of.key] += ()
    for name, found in told.items():
        # An execution that is cancelled before it begins is refused, and begins later.
        if found != [ends.get(name)]:
            yield f"the end of {name} is {ends.get(name)}, its parent has heard of {found}"


def faults_of_parent(history: Sequence[ParentEvent]) -> Iterator[str]:
    """Yield what is wrong with the events of one parent."""
    over = [event.of.key for event in history if isinstance(event, WaitOver)]
    begun = [event.of.key for event in history if isinstance(event, WaitBegun)]
    if sorted(over) != sorted(begun):
        yield f"it has begun {begun}, and heard of the ends of {over}"
