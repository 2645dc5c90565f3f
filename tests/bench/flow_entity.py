"""A durable flow for a bench, as the owner of its shard sees it: three steps by workers. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

import msgspec

from bus.shard import Entity
from bus.subjects import fill
from schemas.base import Internal, Message, Request
from schemas.decision import Decision, Publish, Work, refuse
from schemas.lifecycle import Granted, Settled, Superseded
from schemas.problems import Problem

STEPS = 3
ENTITY, QUEUE = "flow", "step"
RECORD_SUBJECT = "cb.{tenant}.record.{flow_id}"


# What is said


class FlowHandle(Message):
    """The flow is accepted."""

    flow_id: str


class StartFlow(Request):
    """Run a flow whose steps take ``seconds`` each; its result goes to the inbox ``answer_to``."""

    SUBJECT: ClassVar[str] = "cb.{tenant}.flows.start"
    REPLY: ClassVar[type[Message]] = FlowHandle

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


class Claim(Internal, tag="claim"):
    """A worker asks whether to begin; ``lost`` says that another held the item before."""

    step: int
    attempt: int
    lost: bool


class Finish(Internal, tag="finish"):
    """A step is done, or with ``value`` None an attempt at it has failed."""

    step: int
    attempt: int
    value: int | None


class Again(Internal, tag="again"):
    """The bus lost the work item, or a timer asks."""

    step: int = 0
    attempt: int = 0


class Begun(Internal, tag="begun"):
    """The flow exists, and its first step is handed out."""

    flow: Begin
    at: datetime


class StepFinished(Internal, tag="step_finished"):
    """A step is done, and the next is handed out if there is one."""

    step: int
    value: int
    at: datetime


class AttemptStarted(Internal, tag="attempt_started"):
    """A step is handed out again."""

    attempt: int
    at: datetime


class Completed(Internal, tag="completed"):
    """The end."""


Command = Begin | Claim | Finish | Again
Event = Begun | StepFinished | AttemptStarted | Completed


class Step(Internal, tag="step"):
    """A work item."""

    tenant: str
    flow_id: str
    step: int
    attempt: int
    value: int
    seconds: float


class Flow(Internal):
    """A flow as its owner knows it. ``since`` is when the present attempt was handed out."""

    flow: Begin
    since: datetime
    step: int = 1
    attempt: int = 1
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
    if state.ended or (wanted.step, wanted.attempt) != (state.step, state.attempt):
        late = Settled(accepted=False)
        return Decision(reply=late if isinstance(wanted, Finish) else Superseded(reason="over"))
    again = AttemptStarted(attempt=state.attempt + 1, at=now)
    match wanted:
        case Finish(value=int() as value):
            return Decision(_finished(state, value, now), Settled(accepted=True))
        case Finish():
            return Decision((again,), Settled(accepted=True))
        case Claim(lost=False):
            return Decision(reply=Granted())
        case Claim() | Again():
            return Decision((again,), Superseded(reason="replaced by a new attempt"))


def _finished(state: Flow, value: int, now: datetime) -> tuple[Event, ...]:
    finished = StepFinished(step=state.step, value=value, at=now)
    return (finished, Completed()) if state.step == STEPS else (finished,)


def evolve(state: Flow | None, event: Event) -> Flow:
    """Apply one event."""
    if isinstance(event, Begun):
        return Flow(flow=event.flow, since=event.at)
    assert state is not None
    match event:
        case StepFinished():
            changes = {"step": event.step + 1, "attempt": 1, "since": event.at}
            return msgspec.structs.replace(state, value=event.value, **changes)
        case AttemptStarted():
            return msgspec.structs.replace(state, attempt=event.attempt, since=event.at)
        case Completed():
            return msgspec.structs.replace(state, ended=True)


def effects(state: Flow) -> tuple[Work, ...]:
    """Return the work item of the present attempt."""
    if state.ended or state.step > STEPS:
        return ()
    item = Step(
        tenant=state.flow.tenant,
        flow_id=state.flow.flow_id,
        step=state.step,
        attempt=state.attempt,
        value=state.value,
        seconds=state.flow.seconds,
    )
    tenant = state.flow.tenant
    return (Work(id=step_id(item), queue=QUEUE, tenant=tenant, since=state.since, item=item),)


def step_id(item: Step) -> str:
    """Name an attempt."""
    return f"{item.flow_id}.{item.step}.{item.attempt}"


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
        due=lambda _: None,
        ended=lambda state: state.ended,
        record=record,
        redispatch=lambda work: Again(step=work.item.step, attempt=work.item.attempt),
        lost=lambda work: Claim(step=work.item.step, attempt=work.item.attempt, lost=True),
        tick=Again(),
    )
