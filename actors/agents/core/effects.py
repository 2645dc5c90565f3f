"""What is outstanding of an execution: all of it, and what each command opens and closes. Pure."""

from collections.abc import Sequence

from actors.agents.core.payer import payer
from actors.agents.core.state import Execution
from actors.agents.core.work_items import open_items, outstanding_work
from schemas import bills, callbacks, spend
from schemas.bills import AccountAnswered, problem_of
from schemas.callbacks import CallbackAnswered, Ended, Inquire, WaitAnswered, callback
from schemas.decision import UNCHANGED, Ask, Changes, Effect, by_id, differences
from schemas.lifecycle import Cancel, ExecutionEvent

UNWANTED = "the execution that has run it waits for it no more"


def effects(state: Execution) -> tuple[Effect, ...]:
    """Return all that is outstanding: work, what the account is asked, who waits for the end."""
    asks = state.spend.asks(payer(state)) if state.spend.bills else []
    return (*outstanding_work(state), *asks, *_waits(state), *_callback(state))


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
        was, work = open_items(before), outstanding_work(after)
        opened += [item for item in work if item.id not in was]
        left = [item.id for item in work]
        closed += [name for name in was if name not in left]
    if before.spend is not after.spend:
        asked = spend.changes(before.spend, after.spend, payer(after))
        opened += asked.opened
        closed += asked.closed
    if before.waits is not after.waits:
        waited = differences(by_id(_waits(before)), by_id(_waits(after)))
        opened += waited.opened
        closed += waited.closed
    if before.end is not after.end:
        opened += _callback(after)
        closed += [ask.id for ask in _callback(before) if after.end is None]
    return Changes(opened, closed) if opened or closed else UNCHANGED


def answered(ask: Ask, answer: bytes) -> AccountAnswered | CallbackAnswered | WaitAnswered:
    """Return the command that tells an execution what was answered.

    It asks the account, who waits for its end, and the executions that its calls have begun.
    """
    if isinstance(ask.command, Ended):
        return CallbackAnswered(problem=problem_of(answer))
    if isinstance(ask.command, Inquire | Cancel):
        return callbacks.said(ask, answer)
    return bills.answered(ask, answer)


def _waits(state: Execution) -> list[Ask]:
    if not state.waits.known:
        return []
    return list(callbacks.asks(state.waits, stop=lambda _: Cancel(reason=UNWANTED)))


def _callback(state: Execution) -> list[Ask]:
    if state.end is None or state.reply_to is None:
        return []
    return [callback(state.reply_to, state.end)]
