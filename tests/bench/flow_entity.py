"""A durable flow for a bench, as the owner of its shard sees it: three steps by workers. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

import msgspec

from bus.subjects import fill
from schemas import attempts
from schemas.attempts import (
    Attempts,
    Rules,
    WorkClaimed,
    WorkDone,
    WorkFailed,
    WorkStarted,
    again,
)
from schemas.base import Internal, Message, Request
from schemas.decision import Decision, Publish, refuse
from schemas.entity import Entity
from schemas.problems import Problem
from schemas.work import (
    Claim,
    Done,
    Lost,
    ReplyTo,
    Settled,
    Stopped,
    WorkFailure,
    WorkItem,
)

STEPS = 3
RULES = Rules(most=1_000_000)
ENTITY, QUEUE = "flow", "step"
RECORD_SUBJECT = "cb.{tenant}.record.{flow_id}"


# What is said


class FlowHandle(Message):
    """The flow is accepted."""

    flow_id: str


class StartFlow(Request):
    """Run a flow whose steps take ``seconds`` each; its result goes to the inbox ``answer_to``."""

    SUBJECT: ClassVar[str] = "flows.start"
    REPLY: ClassVar[type[Message]] = FlowHandle
    ACTION: ClassVar[str] = "executions:write"

    answer_to: str
    seconds: float = 0.0


class FlowResult(Message):
    """What the last step has returned."""

    flow_id: str
    value: int


class Begin(Internal, tag="begin"):
    tenant: str
    flow_id: str
    answer_to: str
    seconds: float


class Finish(Done, tag="finish"):
    """A step is done."""

    value: int


class Wake(Internal, tag="wake"):
    """A timer rings."""


class Begun(Internal, tag="begun"):
    """The flow exists, and its first step is handed out."""

    flow: Begin
    at: datetime


class StepFinished(WorkDone, tag="step_finished"):
    """A step is done, and the next is handed out if there is one."""

    value: int


class Completed(Internal, tag="completed"):
    """The end."""


Command = Begin | Claim | Lost | Finish | WorkFailure | Stopped | Wake
Event = Begun | StepFinished | WorkStarted | WorkClaimed | WorkFailed | Completed


class Step(Internal, tag="step"):
    """The body of a work item."""

    flow_id: str
    step: int
    value: int
    seconds: float


class Flow(Internal):
    """A flow as its owner knows it."""

    flow: Begin
    attempts: Attempts
    value: int = 0
    ended: bool = False


# What is decided


def decide(state: Flow | None, wanted: Command, now: datetime) -> Decision:
    """Decide on one command."""
    if isinstance(wanted, Begin):
        events = (Begun(flow=wanted, at=now),) if state is None else ()
        return Decision(events, FlowHandle(flow_id=wanted.flow_id))
    if state is None:
        return refuse(Problem(code="not_found", message="there is no such flow"))
    match wanted:
        case Finish() if state.attempts.is_current(wanted.work, wanted.attempt):
            return Decision(_finished(wanted, now), Settled(accepted=True))
        case Wake():
            return Decision(again(state.attempts, now))
        case _:
            return attempts.decide(state.attempts, wanted, now, RULES)


def _finished(wanted: Finish, now: datetime) -> tuple[Event, ...]:
    finished = StepFinished(work=wanted.work, attempt=wanted.attempt, value=wanted.value, at=now)
    return (finished, Completed()) if wanted.work == str(STEPS) else (finished,)


def evolve(state: Flow | None, event: Event) -> Flow:
    """Apply one event."""
    if isinstance(event, Begun):
        return Flow(flow=event.flow, attempts=_begun(Attempts(), 1, event.at))
    assert state is not None
    match event:
        case StepFinished():
            done, step = state.attempts.apply(event), int(event.work) + 1
            left = _begun(done, step, event.at) if step <= STEPS else done
            return msgspec.structs.replace(state, value=event.value, attempts=left)
        case Completed():
            return msgspec.structs.replace(state, ended=True)
        case _:
            return msgspec.structs.replace(state, attempts=state.attempts.apply(event))


def _begun(known: Attempts, step: int, at: datetime) -> Attempts:
    return known.apply(WorkStarted(work=str(step), attempt=1, at=at))


def effects(state: Flow) -> list[WorkItem[Step]]:
    """Return the work item of the present attempt."""
    return [_item(state, step, attempt) for step, attempt in state.attempts.open()]


def _item(state: Flow, step: str, attempt: attempts.Attempt) -> WorkItem[Step]:
    flow = state.flow
    reply_to = ReplyTo(entity=ENTITY, tenant=flow.tenant, key=flow.flow_id)
    body = Step(flow_id=flow.flow_id, step=int(step), value=state.value, seconds=flow.seconds)
    return attempts.item(reply_to, step, attempt, QUEUE, body)


def announce(_: Flow | None, event: Event, after: Flow) -> Iterator[Publish]:
    """Send the result to who asked; who misses it asks again under the flow's id."""
    if isinstance(event, Completed):
        result = FlowResult(flow_id=after.flow.flow_id, value=after.value)
        yield Publish(subject=after.flow.answer_to, body=result, stored=False)


def record(state: Flow) -> Publish:
    """Return the record of a flow: its state."""
    flow = state.flow
    return Publish(subject=record_subject(flow.tenant, flow.flow_id), body=state)


def record_subject(tenant: str, key: str) -> str:
    """Where the record of a flow is stored."""
    return fill(RECORD_SUBJECT, tenant=tenant, flow_id=key)


def entity() -> Entity[Flow, Command, Event]:
    """Return the flow as the shard run time sees it."""
    return Entity(
        name=ENTITY,
        version=1,
        state_type=Flow,
        command_type=Command,
        event_type=Event,
        decide=decide,
        evolve=evolve,
        effects=effects,
        announce=announce,
        due=lambda state: state.attempts.due(),
        ended=lambda state: state.ended,
        record=record,
        tick=Wake(),
    )
