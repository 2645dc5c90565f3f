"""The crons of one definition: an entity that begins an instance at each of their times, once.

Its id is derived from trigger and time, so that a beginning that is attempted again attaches to
what stands. A time that nobody was there for is not made up for, unless the trigger says so.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec

from actors.workflow.core.calendar import CalendarError, next_time
from actors.workflow.core.paths import built, target
from schemas import attempts
from schemas.attempts import Attempts, Rules, WorkEvent, WorkFailed, WorkStarted
from schemas.base import Internal, Value
from schemas.beginnings import BEGIN_QUEUE, BeginWork, HasBegun
from schemas.callbacks import Ended, Noted
from schemas.decision import Decision, Publish
from schemas.entity import Entity
from schemas.identity import NOBODY, KeptPrincipal
from schemas.nets import CronTrigger
from schemas.problems import Problem
from schemas.triggers import (
    TRIGGER_ENTITY,
    ArmCrons,
    CronsAre,
    CronTick,
    WorkflowTriggerFailedEvent,
)
from schemas.work import Claim, Lost, ReplyTo, Stopped, WorkFailure, WorkItem, item_id

GRACE = timedelta(seconds=60)
"""A time that is so late was missed: an owner that is killed has a successor within seconds."""

MOST_ATTEMPTS = 20
PATIENCE = timedelta(hours=1)
"""For so long a beginning is attempted; then whoever waits for it has given up."""

MOST_BEGINNINGS = 64
"""Beginnings that are open at a time; while there are as many, times are missed."""


NOT_ARMED = KeptPrincipal.of(NOBODY)


# State


class ArmedCron(Value):
    """A cron and its next time."""

    trigger: CronTrigger
    next: datetime


class CronBeginning(Value):
    """An instance that is to begin, for a time of a trigger."""

    trigger: str
    at: datetime
    by: KeptPrincipal
    data: dict[str, Any]
    attempts: Attempts = Attempts()


class ArmedCrons(Value, omit_defaults=True):
    """All crons of a definition, and the beginnings that have not been heard of yet."""

    tenant: str
    workflow_id: str
    version: int = 0
    by: KeptPrincipal = NOT_ARMED
    crons: dict[str, ArmedCron] = {}
    begins: dict[str, CronBeginning] = {}


# Events


class CronsArmed(Internal, tag="crons_armed"):
    """The crons of a version are armed, and no others."""

    version: int
    by: KeptPrincipal
    crons: list[ArmedCron]


class CronCame(Internal, tag="cron_came"):
    """A time has come, and its instance begins; ``late`` is for one that was missed."""

    trigger: str
    at: datetime
    late: bool = False


class CronNext(Internal, tag="cron_next"):
    """The next time of a trigger; None if there is none any more."""

    trigger: str
    next: datetime | None


CronEvent = CronsArmed | CronCame | CronNext | WorkEvent
CronCommand = ArmCrons | CronTick | Claim | Lost | HasBegun | WorkFailure | Stopped | Ended


# Decisions


def decide(state: ArmedCrons | None, command: CronCommand, now: datetime) -> Decision:
    """Decide on a command. Repeats are known by the version, and by the attempt."""
    if state is None:
        raise TypeError("crons have an initial state")
    match command:
        case ArmCrons():
            return _arm(state, command, now)
        case CronTick():
            return Decision((*_came(state, now), *_again(state, now)))
        case Ended():
            return Decision(reply=Noted(fresh=False))
        case _:
            known = state.begins.get(command.work)
            return attempts.decide(
                Attempts() if known is None else known.attempts,
                command,
                now,
                _rules(command, known),
            )


def _arm(state: ArmedCrons, command: ArmCrons, now: datetime) -> Decision:
    if command.version <= state.version or not (command.crons or state.crons):
        return Decision(reply=CronsAre(version=max(command.version, state.version)))
    armed: list[ArmedCron] = []
    for place, each in enumerate(command.crons):
        known = state.crons.get(each.id)
        if known is not None and (known.trigger.cron, known.trigger.zone) == (each.cron, each.zone):
            armed.append(ArmedCron(trigger=each, next=known.next))
            continue
        try:
            armed.append(ArmedCron(trigger=each, next=next_time(each.cron, each.zone, now)))
        except CalendarError as error:
            field = f"crons.{place}.{error.field}"
            problem = Problem(code="validation", message=error.reason, field=field)
            return Decision(reply=problem)
    event = CronsArmed(version=command.version, by=command.by, crons=armed)
    return Decision((event,), CronsAre(version=command.version))


def _came(state: ArmedCrons, now: datetime) -> Iterator[CronEvent]:
    free = MOST_BEGINNINGS - len(state.begins)
    for cron in state.crons.values():
        moment: datetime | None = cron.next
        if cron.next > now:
            continue
        if now - moment > GRACE:
            if cron.trigger.catch_up and free > 0:
                free -= 1
                yield from _began(state, cron.trigger.id, moment, now, late=True)
            moment = _following(cron.trigger, now - GRACE)
        while moment is not None and moment <= now:
            if free > 0:
                free -= 1
                yield from _began(state, cron.trigger.id, moment, now, late=False)
            moment = _following(cron.trigger, moment)
        yield CronNext(trigger=cron.trigger.id, next=moment)


def _began(
    state: ArmedCrons, trigger: str, moment: datetime, now: datetime, *, late: bool
) -> Iterator[CronEvent]:
    work = work_of(trigger, moment)
    if work not in state.begins:
        yield CronCame(trigger=trigger, at=moment, late=late)
        yield WorkStarted(work=work, attempt=1, at=now)


def _again(state: ArmedCrons, now: datetime) -> Iterator[CronEvent]:
    for begin in state.begins.values():
        yield from attempts.again(begin.attempts, now)


def _following(trigger: CronTrigger, moment: datetime) -> datetime | None:
    try:
        return next_time(trigger.cron, trigger.zone, moment)
    except CalendarError:
        return None


def _rules(command: Any, known: CronBeginning | None) -> Rules:
    deadline = None if known is None else known.at + PATIENCE
    return Rules(most=MOST_ATTEMPTS, deadline=deadline, seed=str(command.work))


def work_of(trigger: str, moment: datetime) -> str:
    """Name the beginning for a time of a trigger."""
    return f"{trigger}-{int(moment.timestamp())}"


def instance_of(workflow_id: str, work: str) -> str:
    """Return the id of the instance that begins. No event has caused it: its chain begins here."""
    return chained(0, workflow_id, work)


def chained(depth: int, *cause: str) -> str:
    """Return the id of an instance that something has caused, at a place in a chain of causes."""
    return f"t{depth}-{sha256('/'.join(cause).encode()).hexdigest()[:26]}"


# Application


def evolve(state: ArmedCrons | None, event: CronEvent) -> ArmedCrons:
    """Apply an event."""
    if state is None:
        raise TypeError("crons have an initial state")
    replace = msgspec.structs.replace
    match event:
        case CronsArmed():
            crons = {each.trigger.id: each for each in event.crons}
            return replace(state, version=event.version, by=event.by, crons=crons)
        case CronCame():
            cron = state.crons[event.trigger].trigger
            begin = CronBeginning(trigger=cron.id, at=event.at, by=state.by, data=cron.data)
            return _with(state, work_of(cron.id, event.at), begin)
        case CronNext():
            return _moved(state, event)
        case _:
            begin = state.begins[event.work]
            after = begin.attempts.apply(event)
            known = after.of(event.work)
            if known is not None and known.phase == "ended":
                left = {work: each for work, each in state.begins.items() if work != event.work}
                return replace(state, begins=left)
            return _with(state, event.work, replace(begin, attempts=after))


def _with(state: ArmedCrons, work: str, begin: CronBeginning) -> ArmedCrons:
    return msgspec.structs.replace(state, begins={**state.begins, work: begin})


def _moved(state: ArmedCrons, event: CronNext) -> ArmedCrons:
    crons = dict(state.crons)
    if event.next is None:
        del crons[event.trigger]
    else:
        crons[event.trigger] = msgspec.structs.replace(crons[event.trigger], next=event.next)
    return msgspec.structs.replace(state, crons=crons)


# What it leads to


def effects(state: ArmedCrons) -> list[WorkItem[BeginWork]]:
    """List the items that are open."""
    return [
        _item(state, work, begin, attempt.attempt, attempt.at)
        for work, begin in state.begins.items()
        for _, attempt in begin.attempts.open()
    ]


def _item(
    state: ArmedCrons, work: str, begin: CronBeginning, attempt: int, at: datetime
) -> WorkItem[BeginWork]:
    reply_to = ReplyTo(entity=TRIGGER_ENTITY, tenant=state.tenant, key=state.workflow_id)
    return WorkItem(
        id=item_id(reply_to, work, attempt),
        work=work,
        attempt=attempt,
        queue=BEGIN_QUEUE,
        tenant=state.tenant,
        reply_to=reply_to,
        since=at,
        body=BeginWork(
            name="workflows.start",
            id=instance_of(state.workflow_id, work),
            request=msgspec.Raw(msgspec.json.encode(_request(state, begin))),
            by=begin.by.principal,
        ),
    )


def _request(state: ArmedCrons, begin: CronBeginning) -> dict[str, Any]:
    token = token_of(begin.data)
    labels = {"trigger": begin.trigger, "trigger_time": begin.at.isoformat()}
    return {"workflow_id": state.workflow_id, "labels": labels, **token}


def token_of(values: dict[str, Any]) -> dict[str, Any]:
    """Return data and metadata of a token by paths; what a path cannot set is left out."""
    placed: dict[Sequence[str], Any] = {
        steps: new for path, new in values.items() if (steps := target(path)) is not None
    }
    return {"data": {}, "metadata": {}, **built(placed)}


def due(state: ArmedCrons) -> datetime | None:
    """Return when a time comes, or a beginning is attempted again."""
    retries = (begin.attempts.due() for begin in state.begins.values())
    times = [cron.next for cron in state.crons.values()]
    return min([*times, *(each for each in retries if each is not None)], default=None)


def announce(before: ArmedCrons | None, event: CronEvent, after: ArmedCrons) -> Iterator[Publish]:
    """Tell of a time that has come to nothing."""
    if before is None or not isinstance(event, WorkFailed) or event.retry_at is not None:
        return
    begin = before.begins[event.work]
    failed = WorkflowTriggerFailedEvent(
        workflow_id=after.workflow_id,
        trigger=begin.trigger,
        cause=begin.at.isoformat(),
        problem=event.problem,
        at=event.at,
    )
    template = WorkflowTriggerFailedEvent.SUBJECT or ""
    yield Publish(
        subject=template.format(tenant=after.tenant, workflow_id=after.workflow_id), body=failed
    )


def _initial(tenant: str, key: str) -> ArmedCrons:
    return ArmedCrons(tenant=tenant, workflow_id=key)


CRONS: Entity[ArmedCrons, CronCommand, CronEvent] = Entity(
    name=TRIGGER_ENTITY,
    state_type=ArmedCrons,
    command_type=CronCommand,
    event_type=CronEvent,
    decide=decide,
    evolve=evolve,
    effects=effects,
    announce=announce,
    due=due,
    tick=CronTick(),
    initial=_initial,
    keeps_replies=False,
)
