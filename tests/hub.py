"""An entity with any number of open pieces of work, for tests and a bench. Pure."""

from collections.abc import Sequence
from datetime import datetime

from schemas import attempts
from schemas.attempts import (
    Attempt,
    Attempts,
    Rules,
    WorkClaimed,
    WorkDone,
    WorkFailed,
    WorkStarted,
    turnover,
)
from schemas.base import Internal
from schemas.decision import Changes, Decision
from schemas.entity import Entity
from schemas.work import (
    Claim,
    Done,
    Lost,
    ReplyTo,
    Settled,
    Stopped,
    WorkFailure,
    WorkItem,
    item_id,
)

HERE = ReplyTo(entity="hub", tenant="acme", key="h")
RULES = Rules(most=1_000_000)


class Start(Internal, tag="start"):
    """Begin some pieces of work."""

    works: list[str]


class Ring(Internal, tag="ring"):
    """A timer is due."""


Command = Start | Claim | Lost | Done | WorkFailure | Stopped | Ring
Event = WorkStarted | WorkClaimed | WorkFailed | WorkDone


class Hub(Internal):
    """All that is known are the attempts."""

    attempts: Attempts = Attempts()


def decide(state: Hub | None, command: Command, now: datetime) -> Decision:
    """See ``Entity.decide``."""
    known = (state or Hub()).attempts
    match command:
        case Start():
            started = [WorkStarted(work=work, attempt=1, at=now) for work in command.works]
            return Decision(tuple(started), Settled(accepted=True))
        case Ring():
            return Decision(attempts.again(known, now))
        case _:
            return attempts.decide(known, command, now, RULES)


def evolve(state: Hub | None, event: Event) -> Hub:
    """See ``Entity.evolve``."""
    return Hub(attempts=(state or Hub()).attempts.apply(event))


def effects(state: Hub) -> list[WorkItem[Start]]:
    """See ``Entity.effects``."""
    return [_item(work, known) for work, known in state.attempts.open()]


def changes(before: Hub | None, events: Sequence[Event], after: Hub) -> Changes:
    """See ``Entity.changes``."""
    opened: list[WorkItem[Start]] = []
    closed: list[str] = []
    for work in dict.fromkeys(event.work for event in events):
        was, now = turnover(before.attempts if before else None, after.attempts, work)
        opened += [_item(work, now)] if now is not None else []
        closed += [item_id(HERE, work, was.attempt)] if was is not None else []
    return Changes(opened, closed)


def _item(work: str, known: Attempt) -> WorkItem[Start]:
    return attempts.item(HERE, work, known, "q", Start(works=[]))


HUB = Entity(
    name=HERE.entity,
    version=1,
    state_type=Hub,
    command_type=Command,
    event_type=Event,
    decide=decide,
    evolve=evolve,
    effects=effects,
    changes=changes,
    due=lambda state: state.attempts.due(),
    tick=Ring(),
    keeps_replies=False,
)
