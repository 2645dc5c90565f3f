"""What an event of a call changes beside the call: its attempt, and what it waits for. Pure."""

from actors.agents.core.delegation import child_of
from actors.agents.core.state import Execution
from schemas.attempts import Attempts, OutcomeLearned
from schemas.callbacks import WaitBegun, WaitPending, Waits, WaitStopped
from schemas.lifecycle import (
    ToolBegan,
    ToolEvent,
    ToolFailed,
    ToolFinished,
    ToolsCalled,
    ToolStarted,
)


def attempted(attempts: Attempts, event: ToolEvent) -> Attempts:
    """Apply an event to its attempt, unless that has ended: it is about what that has begun."""
    if not isinstance(event, ToolStarted | ToolBegan | ToolFinished | ToolFailed | OutcomeLearned):
        return attempts
    known = attempts.of(event.work)
    if isinstance(event, ToolFinished | ToolFailed) and known and known.phase == "ended":
        return attempts
    return attempts.apply(event)


def waiting(state: Execution, event: ToolEvent) -> Waits:
    """Return what is waited for after an event of a call: the execution that the call has begun."""
    waits, rounds = state.waits, state.tools
    if isinstance(event, ToolStarted):
        if event.child is None:
            return waits
        return waits.apply(
            WaitBegun(of=child_of(state.origin, event.child), at=event.at, by_item=True)
        )
    call = rounds.call(event.work) if rounds and not isinstance(event, ToolsCalled) else None
    if call is None or call.child is None:
        return waits
    of = child_of(state.origin, call.child)
    match event:
        case ToolBegan():
            return waits.apply(WaitPending(of=of, look_at=event.look_at))
        case ToolFinished():
            return waits.without(of)
        case ToolFailed(retry_at=None):
            return waits.apply(WaitStopped(of=of, at=event.at))
        case _:
            return waits
