"""What the owner of an instance decides on each command. Repeats are harmless. Pure.

Whatever changes, the net then goes on by itself as far as it can, within the same turn.
"""

from datetime import datetime, timedelta

import msgspec

from actors.workflow.core.by_user import by_user
from actors.workflow.core.lookup import compiled
from actors.workflow.core.messages import (
    NO_NET,
    AnswerPerson,
    BeginRun,
    CancelHeard,
    CancelRun,
    CancelTold,
    Decided,
    Fire,
    LookRun,
    Migrate,
    Put,
    RunBegan,
    RunCommand,
    RunStep,
    RunTick,
    Signal,
    Suspend,
    Turned,
    Update,
    UserCommand,
)
from actors.workflow.core.onward import onward
from actors.workflow.core.outcomes import on_end, on_wait, on_work
from actors.workflow.core.showing import end_told, glance, handle, record
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.ticking import cancelled_again, on_tick
from actors.workflow.core.turning import Turning
from schemas.beginnings import HasBegun
from schemas.callbacks import (
    CallbackAnswered,
    CalledBack,
    Ended,
    Inquire,
    Noted,
    Pending,
    WaitAnswered,
)
from schemas.decision import Decision, refuse
from schemas.http_actions import HttpDone
from schemas.problems import Problem
from schemas.work import Claim, Lost, Settled, Stopped, Superseded, WorkFailure

ASK_AGAIN = timedelta(seconds=45)
"""Longer than a worker tries to begin something."""

_OVER = Superseded(reason="the instance has ended")


def decide(state: WorkflowInstance | None, command: RunCommand, now: datetime) -> Decision:
    """Decide on one command; ``now`` is the owner's journalled clock."""
    if isinstance(command, BeginRun):
        return _begin(state, command, now)
    if state is None:
        return refuse(Problem(code="not_found", message="there is no such instance"))
    if isinstance(command, LookRun):
        return Decision(reply=record(state))
    if isinstance(command, Inquire):
        return Decision(reply=Pending() if state.closed is None else end_told(state))
    if isinstance(command, CallbackAnswered):
        told = CalledBack(problem=command.problem)
        return _turned(state, command, now, told) if state.end else Decision()
    if isinstance(command, CancelTold):
        return _cancel_told(state, command, now)
    if state.closed is not None:
        return _after_the_end(state, command, now)
    if isinstance(command, UserCommand) and command.id and command.id in state.seen:
        return Decision(reply=handle(state))
    turn = Turning(state, now)
    reply = _on(turn, command)
    if isinstance(reply, Problem):
        return refuse(reply)
    onward(turn)
    return _decision(turn, command, reply)


def _on(turn: Turning, command: RunCommand) -> msgspec.Struct | None:
    """Take a command; what refuses it takes no steps."""
    match command:
        case Ended():
            return on_end(turn, command)
        case WaitAnswered():
            return on_wait(turn, command)
        case Claim() | Lost() | HasBegun() | HttpDone() | WorkFailure() | Stopped():
            return on_work(turn, command)
        case RunTick():
            return on_tick(turn)
        case (
            Fire()
            | Put()
            | Update()
            | Signal()
            | AnswerPerson()
            | CancelRun()
            | Suspend()
            | Migrate()
            | Decided()
        ):
            return by_user(turn, command)
        case _:
            return None


def _begin(state: WorkflowInstance | None, command: BeginRun, now: datetime) -> Decision:
    origin = command.origin
    if origin is None:
        return refuse(Problem(code="internal", message="nobody has said who begins"))
    if state is not None:
        same = state.origin.digest == origin.digest
        conflict = Problem(
            code="conflict", message="the instance exists with another request", field="id"
        )
        return Decision(reply=handle(state)) if same else refuse(conflict)
    seconds = compiled(command.net, command.net_digest).definition.seconds
    began = RunBegan(
        origin=origin,
        version=command.version,
        net=command.net,
        net_digest=command.net_digest,
        marking=command.marking,
        deadline=now + timedelta(seconds=seconds) if seconds is not None else None,
    )
    turn = Turning.beginning(began, now)
    if command.marking is None:
        refused = turn.run.begin(command.data, command.metadata)
        if refused is not None:
            return refuse(refused)
    onward(turn)
    bare = msgspec.structs.replace(command, origin=None, net=NO_NET, marking=None)
    return _decision(turn, bare, None)


def _decision(turn: Turning, command: RunCommand, reply: msgspec.Struct | None) -> Decision:
    """Return the turn. Without steps nothing is stored."""
    if not turn.steps:
        return Decision(reply=_told(turn.state, reply))
    after = turn.after(command)
    event = Turned(at=turn.now, cause=command, steps=tuple(turn.steps), glance=glance(after))
    return Decision((event,), _told(after, reply))


def _told(state: WorkflowInstance, reply: msgspec.Struct | None) -> msgspec.Struct | None:
    return handle(state) if reply is None else reply


def _turned(
    state: WorkflowInstance, command: RunCommand, now: datetime, *steps: RunStep
) -> Decision:
    turn = Turning(state, now)
    turn.add(*steps)
    return _decision(turn, command, None)


def _cancel_told(state: WorkflowInstance, command: CancelTold, now: datetime) -> Decision:
    known = [each for each in state.cancelling.values() if each.of == command.of]
    if not known or known[0].again_at is not None:
        return Decision()
    again = now + ASK_AGAIN if command.missing and not known[0].tries else None
    return _turned(state, command, now, CancelHeard(of=command.of, again_at=again))


def _after_the_end(state: WorkflowInstance, command: RunCommand, now: datetime) -> Decision:
    match command:
        case Ended():
            return Decision(reply=Noted(fresh=False))
        case Claim() | Lost():
            return Decision(reply=_OVER)
        case HasBegun() | HttpDone() | WorkFailure() | Stopped():
            return Decision(reply=Settled(accepted=False))
        case WaitAnswered():
            return Decision()
        case RunTick():
            return _turned(state, command, now, *cancelled_again(state, now))
        case CancelRun():
            return Decision(reply=handle(state))
        case _:
            message = f"the instance has ended: {state.closed}"
            return refuse(Problem(code="conflict", message=message))
