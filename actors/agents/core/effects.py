"""What is outstanding of an execution: all of it, and what each event opens and closes. Pure."""

from actors.agents.core.asking import ask_due, ask_leave, leave_name
from actors.agents.core.dues import Due
from actors.agents.core.execution import Execution
from actors.agents.core.work_items import item_name, item_of
from schemas.attempts import Attempt
from schemas.decision import UNCHANGED, Changes, Effect
from schemas.lifecycle import ExecutionEvent


def effects(state: Execution) -> tuple[Effect, ...]:
    """Return all that is outstanding: work, and what the account is asked."""
    dues = [ask_due(state, due) for due in state.dues if due.retry_at is None]
    return (*_of_attempt(state), *dues)


def changes(before: Execution | None, event: ExecutionEvent, after: Execution) -> Changes:
    """Return what an event opens and closes. What it leaves as it was is not looked at."""
    del event
    if before is None:
        return Changes(effects(after))
    opened: list[Effect] = []
    closed: list[str] = []
    if before.attempts is not after.attempts:
        was, now = open_name(before), open_name(after)
        if was != now:
            opened = _of_attempt(after)
            closed = [] if was is None else [was]
    if before.dues is not after.dues:
        told, owed = _open_dues(before), _open_dues(after)
        opened += [ask_due(after, due) for name, due in owed.items() if told.get(name) != due]
        closed += [name for name in told if name not in owed]
    return Changes(opened, closed) if opened or closed else UNCHANGED


def open_name(state: Execution) -> str | None:
    """Return the id of what the current attempt waits for: its work item, or leave to spend.

    Attempts at earlier steps have ended.
    """
    current = state.current
    if current is None:
        return None
    if current.phase == "running":
        return item_name(state, current)
    return leave_name(state, current) if _asks_leave(state, current) else None


def _of_attempt(state: Execution) -> list[Effect]:
    current = state.current
    if current is None:
        return []
    if current.phase == "running" and state.request is not None:
        return [item_of(state, state.request, current)]
    if _asks_leave(state, current) and state.spending is not None:
        return [ask_leave(state, state.spending, current)]
    return []


def _asks_leave(state: Execution, current: Attempt) -> bool:
    return current.phase == "planned" and current.retry_at is None and state.spending is not None


def _open_dues(state: Execution) -> dict[str, Due]:
    return {due.ask: due for due in state.dues if due.retry_at is None}
