"""What is due: what the net waits for, further attempts at items, looks, the end of the time."""

from datetime import datetime

from actors.workflow.core.messages import CancelAsked, RunClosed
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.timing import due as due_in_net
from actors.workflow.core.turning import Turning
from schemas import attempts, callbacks
from schemas.problems import Problem

_TIMED_OUT = Problem(code="timeout", message="the instance has run out of time")


def due(state: WorkflowInstance) -> datetime | None:
    """Return the next moment at which something is to be decided."""
    moments = [each.again_at for each in state.cancelling.values()]
    if state.closed is None:
        moments += [state.deadline, state.attempts.due(), state.waits.due()]
        if not state.suspended:
            moments.append(
                state.at if state.marking.more else due_in_net(state.compiled, state.marking)
            )
    return min((each for each in moments if each is not None), default=None)


def on_tick(turn: Turning) -> None:
    """Do what is due. The net itself does so when it goes on."""
    state, now = turn.state, turn.now
    if state.deadline is not None and state.deadline <= now:
        turn.add(RunClosed(status="TIMED_OUT", problem=_TIMED_OUT))
        return
    turn.add(
        *attempts.again(state.attempts, now),
        *callbacks.look(state.waits, now),
        *cancelled_again(state, now),
    )


def cancelled_again(state: WorkflowInstance, now: datetime) -> list[CancelAsked]:
    """Return what is to be asked once more to end."""
    return [
        CancelAsked(of=each.of)
        for each in state.cancelling.values()
        if each.again_at is not None and each.again_at <= now
    ]
