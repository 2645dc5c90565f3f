"""Time travel: the state after any turn, and whether turns come to the same when decided again.

Pure. A turn stores the command that caused it; only the net and a fork's marking are in its steps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from actors.workflow.core.decisions import decide
from actors.workflow.core.evolving import evolve
from actors.workflow.core.messages import BeginRun, RunBegan, RunCommand, Turned
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.steps import NetStepped
from schemas.steps import Steps


class Replayed(NamedTuple):
    """How many turns came to the same steps, and how the first one that did not differs."""

    turns: int
    difference: str | None = None


def state_after(turns: Sequence[Turned]) -> Steps[WorkflowInstance | None]:
    """Return the state after turns, from the first one on; None without any."""
    state = None
    for turn in turns:
        yield
        state = evolve(state, turn)
    return state


def replayed(turns: Sequence[Turned]) -> Steps[Replayed]:
    """Decide each turn again, on the state that the stored ones before it lead to."""
    state: WorkflowInstance | None = None
    for number, turn in enumerate(turns, start=1):
        yield
        decision = decide(state, command_of(turn), turn.at)
        made = decision.events[0] if decision.events else None
        if made != turn:
            return Replayed(number - 1, _difference(number, turn, made))
        state = evolve(state, turn)
    return Replayed(len(turns))


def command_of(turn: Turned) -> RunCommand:
    """Return the command that caused a turn, whole."""
    cause, first = turn.cause, turn.steps[0]
    if not isinstance(cause, BeginRun) or not isinstance(first, RunBegan):
        return cause
    return msgspec.structs.replace(
        cause,
        origin=first.origin,
        net=first.net,
        net_digest=first.net_digest,
        marking=first.marking,
    )


def _difference(number: int, stored: Turned, made: Turned | None) -> str:
    """Say in which step a turn differs; nothing of its data is told."""
    if made is None:
        return f"turn {number}: nothing happens"
    was, now = _flat(stored), _flat(made)
    for place, (one, other) in enumerate(zip(was, now, strict=False)):
        if one != other:
            return f"turn {number}, step {place + 1}: {_name(one)} is now {_name(other)}"
    if len(was) != len(now):
        return f"turn {number}: {len(was)} steps are now {len(now)}"
    return f"turn {number}: it is seen otherwise"


def _flat(turn: Turned) -> list[object]:
    return [
        inner
        for step in turn.steps
        for inner in (step.steps if isinstance(step, NetStepped) else (step,))
    ]


def _name(step: object) -> str:
    return f"{type(step).__name__} ({', '.join(_fields(step))})"


def _fields(step: object) -> list[str]:
    named = ("transition", "firing", "token", "place")
    return [
        f"{name} {value}" for name in named if isinstance(value := getattr(step, name, None), str)
    ]


def touches(turn: Turned, token: str) -> bool:
    """Say whether a turn touches a token."""
    return any(token in _tokens(step) for step in _flat(turn))


def _tokens(step: object) -> set[str]:
    found = {value for value in (getattr(step, "token", None),) if isinstance(value, str)}
    found |= set(getattr(step, "taken", ())) | set(getattr(step, "cancelled", ()))
    found |= {change.id for change in getattr(step, "puts", ())}
    held = getattr(step, "token", None)
    return found if held is None or isinstance(held, str) else found | {held.id}
