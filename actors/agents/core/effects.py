"""What is outstanding of an execution: all of it, and what each command opens and closes. Pure."""

from collections.abc import Sequence

from actors.agents.core.asking import ask_due, ask_leave, leave_name
from actors.agents.core.dues import Due
from actors.agents.core.execution import Execution
from actors.agents.core.work_items import item_name, item_of
from schemas.attempts import Attempt
from schemas.callbacks import callback
from schemas.decision import UNCHANGED, Ask, Changes, Effect
from schemas.lifecycle import ExecutionEvent


def effects(state: Execution) -> tuple[Effect, ...]:
    """Return all that is outstanding: work, what the account is asked, who waits for the end."""
    dues = [ask_due(state, due) for due in _open(state.dues)]
    return (*_of_attempt(state), *dues, *_callback(state))


def changes(
    before: Execution | None, events: Sequence[ExecutionEvent], after: Execution
) -> Changes:
    """Return what events open and close. What they leave as it was is not looked at."""
    del events
    if before is None:
        return Changes(effects(after))
    opened: list[Effect] = []
    closed: list[str] = []
    if before.attempts is not after.attempts:
        was, opened = _name_of_attempt(before), _of_attempt(after)
        if opened and opened[0].id == was:
            opened = []
        elif was is not None:
            closed = [was]
    if before.dues is not after.dues:
        opened += [ask_due(after, due) for due in _open(after.dues) if due not in before.dues]
        if before.dues:
            left = [due.ask for due in _open(after.dues)]
            closed += [due.ask for due in _open(before.dues) if due.ask not in left]
    if before.end is not after.end:
        opened += _callback(after)
        closed += [ask.id for ask in _callback(before) if after.end is None]
    return Changes(opened, closed) if opened or closed else UNCHANGED


def _name_of_attempt(state: Execution) -> str | None:
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


def _callback(state: Execution) -> list[Ask]:
    if state.end is None or state.reply_to is None:
        return []
    return [callback(state.reply_to, state.end)]


def _open(dues: tuple[Due, ...]) -> list[Due]:
    return [due for due in dues if due.retry_at is None]
