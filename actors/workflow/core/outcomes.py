"""What workers report of actions, and what is told of the ends of what these have begun. Pure."""

import msgspec

from actors.workflow.core.messages import BegunOver
from actors.workflow.core.requests import (
    Beginning,
    answer_of,
    firing_of,
    http_answer,
    problem_of_end,
)
from actors.workflow.core.state import ActionRun
from actors.workflow.core.turning import Turning
from schemas import attempts, callbacks
from schemas.attempts import Rules, WorkDone, WorkFailed
from schemas.beginnings import HasBegun
from schemas.callbacks import Ended, Noted, WaitAnswered, WaitOver
from schemas.http_actions import HttpDone
from schemas.problems import Problem
from schemas.work import Claim, Lost, Settled, Stopped, WorkFailure

MOST_LOSSES = 5
"""So many workers may be lost with one attempt."""

_ACCEPTED = Settled(accepted=True)


def on_end(turn: Turning, end: Ended) -> msgspec.Struct:
    """Take the end of what an action has begun, once."""
    if turn.state.waits.of(end.of) is None:
        return Noted(fresh=False)
    run = turn.state.run(firing_of(end.of))
    turn.add(BegunOver(of=end.of, status=end.status, cost=end.cost, usage=end.usage))
    if run is not None and run.of == end.of:
        _over(turn, run, end)
    return Noted(fresh=True)


def _over(turn: Turning, run: ActionRun, end: Ended) -> None:
    action = turn.net.action_of(turn.state.marking.firings[run.firing])
    is_good = end.status == "COMPLETED" and not (end.outcome is not None and end.outcome.is_error)
    if is_good and isinstance(action, Beginning):
        turn.run.finish(run.firing, answer_of(action, end))
    else:
        turn.run.fail(run.firing, problem_of_end(end))


def on_wait(turn: Turning, command: WaitAnswered) -> None:
    """Take the answer to a look at what was begun."""
    for step in callbacks.decide(turn.state.waits, command, turn.now).events:
        if isinstance(step, WaitOver):
            on_end(turn, step.end)
        else:
            turn.add(step)


def on_work(
    turn: Turning, command: Claim | Lost | HasBegun | HttpDone | WorkFailure | Stopped
) -> msgspec.Struct | None:
    """Take what a worker or the bus says of an item."""
    is_current = turn.state.attempts.is_current(command.work, command.attempt)
    run = turn.state.run(command.work.partition(".")[0])
    if run is None or run.work != command.work or not is_current:
        return _replaced(turn, command)
    match command:
        case WorkFailure():
            _failed(turn, run, command)
        case HttpDone():
            turn.add(WorkDone(work=command.work, attempt=command.attempt, at=turn.now))
            turn.run.finish(run.firing, http_answer(command.outcome))
        case HasBegun() if run.of is not None:
            turn.add(WorkDone(work=command.work, attempt=command.attempt, at=turn.now))
            turn.add(*callbacks.begun(turn.state.waits, run.of, turn.now))
        case _:
            return _replaced(turn, command)
    return _ACCEPTED


def _replaced(
    turn: Turning, command: Claim | Lost | HasBegun | HttpDone | WorkFailure | Stopped
) -> msgspec.Struct | None:
    """Let the machine of attempts decide; work that is lost for good has failed."""
    decided = attempts.decide(turn.state.attempts, command, turn.now, _rules(turn))
    for event in decided.events:
        turn.add(event)
        if isinstance(event, WorkFailed) and event.retry_at is None:
            _fail_run(turn, event.work, event.problem)
    return decided.reply


def _failed(turn: Turning, run: ActionRun, command: WorkFailure) -> None:
    """Take the failure of an item; one that only this worker cannot do goes to another."""
    plain = attempts.fail(turn.state.attempts, command, turn.now, _rules(turn))
    if command.elsewhere and plain.avoid:
        turn.add(plain)
        return
    turn.add(msgspec.structs.replace(plain, retry_at=None))
    _fail_run(turn, run.work, command.problem)


def _fail_run(turn: Turning, work: str, problem: Problem) -> None:
    run = turn.state.run(work.partition(".")[0])
    if run is None or run.work != work:
        return
    if run.of is not None and turn.state.waits.of(run.of) is not None:
        turn.add(BegunOver(of=run.of))
    turn.run.fail(run.firing, problem)


def _rules(turn: Turning) -> Rules:
    return Rules(most=MOST_LOSSES, seed=turn.state.origin.instance_id)
