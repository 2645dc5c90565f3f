"""What a step makes of the state of an instance. Pure, and quick: every turn does it twice."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from actors.workflow.core.messages import (
    ActionAttempted,
    BegunOver,
    CancelAsked,
    CancelHeard,
    RunBegan,
    RunClosed,
    RunCommand,
    RunMigrated,
    RunStep,
    RunSuspended,
    Turned,
    UserCommand,
)
from actors.workflow.core.scratch import apply
from actors.workflow.core.showing import end_told
from actors.workflow.core.state import ActionRun, Cancelling, WorkflowInstance
from actors.workflow.core.steps import ActionAgain, Metered, NetFailed, NetStepped, Rehoused
from actors.workflow.core.tokens import Marking
from schemas import pages
from schemas.attempts import (
    Attempts,
    OutcomeLearned,
    WorkClaimed,
    WorkDone,
    WorkFailed,
    WorkStarted,
)
from schemas.callbacks import (
    CalledBack,
    Ended,
    WaitBegun,
    WaitLooked,
    WaitOver,
    WaitPending,
    name_of,
)
from schemas.usage import Usage
from schemas.work import ReplyTo

replace = msgspec.structs.replace

MOST_SEEN = 64
"""Commands of users of which a repeat is known: who is not answered repeats within seconds."""


def evolve(state: WorkflowInstance | None, event: Turned) -> WorkflowInstance:
    """Apply a turn."""
    for step in event.steps:
        state = stepped(state, step, event.at)
    if state is None:
        message = "a turn before the beginning"
        raise ValueError(message)
    return turned(state, event.steps, event.at, event.cause)


def is_told(steps: Iterable[RunStep]) -> bool:
    """Say whether the stream tells of a turn: readers take a segment that is left out for lost."""
    for step in steps:
        if isinstance(step, RunClosed):
            return True
        if isinstance(step, NetStepped):
            for each in step.steps:
                silent = isinstance(each, ActionAgain | NetFailed | Rehoused)
                if not silent and not (isinstance(each, Metered) and not each.wrap_up):
                    return True
    return False


def turned(
    state: WorkflowInstance, steps: Iterable[RunStep], at: datetime, cause: RunCommand
) -> WorkflowInstance:
    """Count a turn whose steps are applied. Each that is told has a segment of the stream."""
    seen = state.seen
    if isinstance(cause, UserCommand) and cause.id:
        seen = (*seen[1 - MOST_SEEN :], cause.id)
    segment = state.segment + is_told(steps)
    return replace(state, turn=state.turn + 1, segment=segment, at=at, seen=seen)


def stepped(state: WorkflowInstance | None, step: RunStep, at: datetime) -> WorkflowInstance:
    """Apply one step.

    Raises:
        ValueError: the first step does not begin the instance.
    """
    if isinstance(step, RunBegan):
        return _began(step, at)
    if state is None:
        message = f"{type(step).__name__} before the beginning"
        raise ValueError(message)
    match step:
        case NetStepped():
            return settled(replace(state, marking=apply(state.marking, step)), at)
        case ActionAttempted():
            return _acted(state, step, at)
        case WorkStarted() | WorkClaimed() | WorkFailed() | WorkDone():
            return _worked(state, step)
        case OutcomeLearned():
            return replace(state, attempts=state.attempts.apply(step))
        case WaitBegun() | WaitPending() | WaitLooked():
            return replace(state, waits=state.waits.apply(step))
        case BegunOver():
            return _over(state, step, at)
        case CancelHeard() | CancelAsked():
            return replace(state, cancelling=_cancelling(state.cancelling, step))
        case _:
            return _governed(state, step, at)


def _governed(
    state: WorkflowInstance,
    step: RunSuspended | RunMigrated | RunClosed | CalledBack,
    at: datetime,
) -> WorkflowInstance:
    match step:
        case RunSuspended():
            return replace(state, suspended=not step.over)
        case RunMigrated():
            return replace(state, net=step.net, net_digest=step.net_digest, version=step.version)
        case RunClosed():
            return _closed(state, step, at)
        case CalledBack():
            return replace(state, end=None)


def _began(step: RunBegan, at: datetime) -> WorkflowInstance:
    return WorkflowInstance(
        origin=step.origin,
        version=step.version,
        net=step.net,
        net_digest=step.net_digest,
        began_at=at,
        at=at,
        marking=step.marking or Marking(),
        deadline=step.deadline,
    )


def settled(state: WorkflowInstance, at: datetime) -> WorkflowInstance:
    """Let go of attempts whose firings have ended, or have none under way any more."""
    firings = state.marking.firings
    for run in list(pages.values(state.runs)):
        firing = firings.get(run.firing)
        if firing is None or firing.attempt != run.attempt or firing.problem is not None:
            state = _dropped(state, run, at)
    return state


def _dropped(
    state: WorkflowInstance, run: ActionRun, at: datetime, *, cancels: bool = True
) -> WorkflowInstance:
    """Drop the work of an attempt, and cancel what it has begun or may be about to begin."""
    state = replace(state, runs=pages.without(state.runs, run.firing))
    if state.attempts.running(run.work) is not None:
        state = replace(state, attempts=_without(state.attempts, run.work))
    if run.of is None or state.waits.of(run.of) is None:
        return state
    state = _waited(state, run.of, at)
    if not cancels:
        return state
    fresh = Cancelling(of=run.of, since=at)
    return replace(state, cancelling={**state.cancelling, name_of(run.of): fresh})


def _waited(state: WorkflowInstance, of: ReplyTo, at: datetime) -> WorkflowInstance:
    if state.waits.of(of) is None:
        return state
    end = Ended(of=of, status="", at=at)
    return replace(state, waits=state.waits.apply(WaitOver(of=of, end=end)))


def _acted(state: WorkflowInstance, step: ActionAttempted, at: datetime) -> WorkflowInstance:
    run = ActionRun(
        firing=step.firing,
        kind=step.kind,
        attempt=step.attempt,
        since=at,
        of=step.of,
        until=step.until,
        worst=step.worst,
        leave=step.leave,
    )
    return replace(state, runs=pages.put(state.runs, run.firing, run))


def _worked(
    state: WorkflowInstance,
    step: WorkStarted | WorkClaimed | WorkFailed | WorkDone,
) -> WorkflowInstance:
    """Apply what became of an item. Work that has ended is forgotten: late reports are refused."""
    attempts = state.attempts.apply(step)
    known = attempts.of(step.work)
    if known is not None and known.phase == "ended" and not known.unknown:
        attempts = _without(attempts, step.work)
    return replace(state, attempts=attempts)


def _without(attempts: Attempts, work: str) -> Attempts:
    return Attempts(works=pages.without(attempts.works, work))


def _over(state: WorkflowInstance, step: BegunOver, at: datetime) -> WorkflowInstance:
    cost = state.cost if step.cost is None else (state.cost or 0) + step.cost
    usage = state.usage if step.usage is None else (state.usage or Usage()) + step.usage
    return replace(
        _waited(state, step.of, at),
        cost=cost,
        usage=usage,
        executions=state.executions + bool(step.status),
    )


def _closed(state: WorkflowInstance, step: RunClosed, at: datetime) -> WorkflowInstance:
    for run in list(pages.values(state.runs)):
        state = _dropped(state, run, at, cancels=not run.leave)
    closed = replace(state, closed=step.status, closed_at=at, problem=step.problem, suspended=False)
    if closed.origin.reply_to is None:
        return closed
    return replace(closed, end=end_told(closed))


def _cancelling(
    known: dict[str, Cancelling], step: CancelHeard | CancelAsked
) -> dict[str, Cancelling]:
    name = name_of(step.of)
    left = {**known}
    each = left.pop(name, None)
    if each is None or (isinstance(step, CancelHeard) and step.again_at is None):
        return left
    if isinstance(step, CancelHeard):
        left[name] = replace(each, again_at=step.again_at)
    else:
        left[name] = replace(each, again_at=None, tries=each.tries + 1)
    return left
