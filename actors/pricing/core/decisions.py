"""What the owner of an account decides on each command. Repeats are harmless, in any order."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Any, assert_never

import msgspec

from actors.pricing.core.admission import MOST_WINDOWS, extend, reserve, too_many, too_much
from actors.pricing.core.alerts import is_quiet, raised
from actors.pricing.core.blocks import answer, tidied
from actors.pricing.core.budgets import (
    Cover,
    Zones,
    budget_list,
    budget_state,
    cover,
    covers,
    opening,
)
from actors.pricing.core.closed import Closed, is_too_old, recall
from actors.pricing.core.disputes import booking, lent_of
from actors.pricing.core.escrow import NONE
from actors.pricing.core.ledger import (
    Hold,
    Ledger,
    entry_key,
    evolve,
    key_of,
    lapsed,
    moved,
    restricts,
    scope_key,
)
from actors.pricing.core.postings import moves
from actors.pricing.core.terms import terms
from schemas import pages
from schemas.budgets import EACH, Budget, BudgetGone, BudgetState, Limits, scope_fault
from schemas.decision import Decision, refuse
from schemas.escrow import BlockAnswered, Recall, RecallAnswered, ReturnAnswered
from schemas.ids import PLATFORM
from schemas.ledger import (
    AccountCommand,
    AccountEvent,
    Adjust,
    Adjusted,
    Booked,
    BudgetRemoved,
    BudgetSet,
    Charged,
    DefaultsSet,
    DropBudget,
    Extend,
    Lapse,
    Lapsed,
    LimitsSet,
    LookAtBudgets,
    LookAtTerms,
    PutBudget,
    PutLimits,
    Reserve,
    Settle,
    TermsAnswered,
    TermsStored,
    ToppedUp,
    TopUp,
    Void,
    Voided,
    can_be_booked,
)
from schemas.problems import Problem

MOST_BUDGETS = 1000
MOST_LIMITS = 1000
MOST_NAME_BYTES = 128 * 1024
"""Of all names with budgets or limits: each change tells every agents process all of them."""

MOST_LAPSES = 100
"""Leases that end in one command; the timer rings again for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRules:
    """What an operator decides of all accounts of a fleet.

    ``limits`` and ``alert`` are a tenant's unless it has others. ``memory_days`` is how long at
    least what is over is known again. ``books_lapsed`` says whether the end of a lease books what
    was held, or lets it go.
    """

    zones: Zones
    limits: Limits | None = None
    alert: Budget | None = None
    memory_days: float = 3.0
    books_lapsed: bool = True

    def are_those_of(self, known: DefaultsSet) -> bool:
        """Say whether an account goes by these rules already."""
        return (known.memory_days, known.books_lapsed, known.limits, known.alert) == (
            self.memory_days,
            self.books_lapsed,
            self.limits,
            self.alert,
        )


def decide(
    rules: LedgerRules, state: Ledger | None, command: AccountCommand, now: datetime
) -> Decision:
    """Decide on one command; ``now`` is the owner's journalled clock.

    Raises:
        ValueError: the state was not begun with its tenant.
    """
    if state is None:
        raise ValueError("an account begins with the name of its tenant")
    news = _defaults(rules, state, now)
    if news is None:
        return _tidy(state, _decide(rules, state, command, now), now)
    state = evolve(state, news)
    decision = _tidy(state, _decide(rules, state, command, now), now)
    return Decision((news, *decision.events), decision.reply)


def _tidy(state: Ledger, decision: Decision, now: datetime) -> Decision:
    """Add what the platform is to be told, where its money is concerned."""
    if state.escrow is NONE:
        return decision
    after = reduce(evolve, decision.events, state)
    more = tuple(tidied(after, decision.events, now))
    return Decision((*decision.events, *more), decision.reply) if more else decision


def _defaults(rules: LedgerRules, state: Ledger, now: datetime) -> DefaultsSet | None:
    """Return the operator's rules if they are not those of the state."""
    known = state.defaults
    if state.tenant == PLATFORM:
        # What a silent tenant has spent of a block is not known, so none of it may be lent again.
        rules = replace(rules, limits=None, alert=None, books_lapsed=True)
    if known is not None and rules.are_those_of(known):
        return None
    return DefaultsSet(
        at=now,
        memory_days=rules.memory_days,
        books_lapsed=rules.books_lapsed,
        limits=rules.limits,
        alert=rules.alert,
    )


def _decide(rules: LedgerRules, state: Ledger, command: AccountCommand, now: datetime) -> Decision:
    match command:
        case Reserve():
            return reserve(state, command, now, rules.zones)
        case Extend():
            return extend(state, command, now)
        case Settle():
            return _settle(state, command, now, rules.zones)
        case Void():
            return _void(state, command, now)
        case Lapse():
            return _lapse(state, now)
        case TopUp() | Adjust():
            return _enter(state, command, now, rules.zones)
        case PutBudget() | DropBudget() | PutLimits():
            return _rule(state, command, now)
        case LookAtBudgets():
            return _look(state, command, now)
        case LookAtTerms():
            return Decision(reply=terms(state.terms, state.tenant))
        case TermsAnswered(asked=asked, revision=revision):
            is_open = asked == state.terms.revision > state.terms.stored
            return Decision((TermsStored(revision=revision, at=now),) if is_open else ())
        case BlockAnswered() | ReturnAnswered() | Recall() | RecallAnswered():
            return answer(state, command, now)
        case _:
            assert_never(command)


# What was spent


def _settle(state: Ledger, command: Settle, now: datetime, zones: Zones) -> Decision:
    if not all(map(can_be_booked, command.charges)):
        return refuse(too_much("charges"))
    reference = command.reference
    key = key_of(reference)
    hold, closed = _known(state, key)
    if closed is not None and closed.how == "settled":
        return Decision(reply=Booked())
    if hold is None and closed is None and is_too_old(state.closed, reference.at):
        return refuse(_too_old())
    concerned = _concerned(state, command, hold, closed, now, zones)
    charged = _charged(command, hold, closed, now, concerned)
    opened = [opening(one.account) for one in concerned if one.is_new]
    alerts = _alerts(concerned, charged, now)
    return Decision((*opened, charged, *alerts), Booked())


def _known(state: Ledger, key: str) -> tuple[Hold | None, Closed | None]:
    """Return what is held for an attempt, or else how it has ended: it is never both."""
    hold = pages.get(state.holds, key)
    return hold, None if hold is not None else recall(state.closed, key)


def _concerned(
    state: Ledger,
    command: Settle,
    hold: Hold | None,
    closed: Closed | None,
    now: datetime,
    zones: Zones,
) -> list[Cover]:
    """Return the accounts of what was held or booked, or else those the attempt falls to."""
    if hold is not None:
        return list(_standing(state, hold.accounts))
    if closed is not None and closed.how == "lapsed":
        return list(_standing(state, closed.accounts))
    found = covers(state, command.party, command.reference.at, now, zones)
    if any(one.is_new for one in found) and pages.size(state.accounts) >= MOST_WINDOWS:
        # Such a window refuses nobody who has to ask, so that it need not be counted either.
        return [one for one in found if not one.is_new]
    return found


def _standing(state: Ledger, keys: Iterable[str]) -> Iterator[Cover]:
    """Yield accounts that are in the state still; of a budget that was lifted too."""
    budgets = state.standing
    for key in keys:
        account = pages.get(state.accounts, key)
        if account is not None:
            yield Cover(budgets.get(account.budget_id) or _lifted(account.budget_id), account)


def _lifted(budget_id: str) -> Budget:
    """Return what stands for a budget that was lifted: nothing is told of it any more."""
    return Budget(id=budget_id, limit_pico=10**18, hard=False, thresholds=[])


def _charged(
    command: Settle,
    hold: Hold | None,
    closed: Closed | None,
    now: datetime,
    concerned: Sequence[Cover],
) -> Charged:
    held = hold.amount_pico if hold is not None else 0
    booked = closed.booked_pico if closed is not None else 0
    found = booking(command.charges, hold, closed)
    cost, keys = found.cost_pico, [one.account.key for one in concerned]
    return Charged(
        reference=command.reference,
        party=command.party,
        charges=found.charges,
        cost_pico=cost,
        at=command.at,
        released_pico=max(held + booked - cost, 0),
        late=closed is not None,
        completed=command.completed,
        held_pico=held,
        booked_pico=booked,
        tokens=found.tokens,
        unpriced=found.unpriced,
        accounts=keys,
        entered_at=now,
        disputed_pico=found.disputed_pico,
        over_pico=max(found.operators_pico - held, 0) if hold is not None else 0,
        lent=lent_of(keys, hold, closed, found.operators_pico, cost) if keys else None,
    )


def _alerts(
    concerned: Sequence[Cover], event: Charged | Lapsed | Adjusted, now: datetime
) -> list[AccountEvent]:
    """Return what the accounts have come to with an event."""
    found: list[AccountEvent] = []
    changes = moves(event, [one.account.key for one in concerned])
    for (budget, account, _), change in zip(concerned, changes, strict=True):
        if not is_quiet(budget, account, account.spent + change.spent):
            found += raised(Cover(budget, moved(account, change)), now)
    return found


def _void(state: Ledger, command: Void, now: datetime) -> Decision:
    key = key_of(command.reference)
    hold, closed = _known(state, key)
    is_over = closed is not None and closed.how != "lapsed"
    if is_over or (hold is None and is_too_old(state.closed, command.reference.at)):
        return Decision(reply=Booked())
    accounts = hold.accounts if hold is not None else closed.accounts if closed is not None else ()
    held = hold.amount_pico if hold is not None else 0
    booked = closed.booked_pico if closed is not None else 0
    keys = [one.account.key for one in _standing(state, accounts)]
    voided = Voided(
        reference=command.reference,
        at=now,
        held_pico=held,
        booked_pico=booked,
        accounts=keys,
        lent=lent_of(keys, hold, closed, 0, 0),
    )
    return Decision((voided,), Booked())


def _lapse(state: Ledger, now: datetime) -> Decision:
    events: list[AccountEvent] = []
    for hold in lapsed(state, now)[:MOST_LAPSES]:
        ended = _lapsed(state, hold, now)
        concerned = list(_standing(state, hold.accounts))
        told = [ended, *_alerts(concerned, ended, now)]
        state = reduce(evolve, told, state)
        events.extend(told)
    return Decision(tuple(events))


def _lapsed(state: Ledger, hold: Hold, now: datetime) -> Lapsed:
    books = state.defaults is not None and state.defaults.books_lapsed
    held, lent = hold.amount_pico, hold.lent_pico
    return Lapsed(
        reference=hold.reference,
        party=hold.party,
        at=now,
        held_pico=held,
        booked_pico=held if books else 0,
        accounts=hold.accounts,
        lent=lent_of(hold.accounts, hold, None, lent if books else 0, held if books else 0),
    )


# Entries by hand


def _enter(state: Ledger, command: TopUp | Adjust, now: datetime, zones: Zones) -> Decision:
    if _is_operators(state, command.budget_id):
        return refuse(_operators(command.budget_id, "budget_id"))
    budget = state.budgets.get(command.budget_id)
    known = recall(state.closed, entry_key(command.id))
    if known is not None and known.digest != _digest(command):
        return refuse(_another_entry(command.id))
    if budget is None:
        return refuse(_no_budget(command.budget_id))
    if (budget.name == EACH) != (command.name is not None):
        return refuse(_whose_window())
    if known is not None:
        return Decision(reply=budget_state(state, budget, now))
    if is_too_old(state.closed, command.at):
        return refuse(_too_old())
    whose = command.name or budget.name
    one = cover(state, budget, whose, command.at, now, zones)
    if one.is_new and pages.size(state.accounts) >= MOST_WINDOWS:
        return refuse(too_many("windows of budgets", MOST_WINDOWS))
    entered = _entered(command, one)
    alerts = _alerts([one], entered, now) if isinstance(entered, Adjusted) else []
    opened = [opening(one.account)] if one.is_new else []
    events = (*opened, entered, *alerts)
    after = reduce(evolve, events, state)
    return Decision(events, budget_state(after, budget, now))


def _entered(command: TopUp | Adjust, one: Cover) -> ToppedUp | Adjusted:
    entry: dict[str, Any] = {
        "id": command.id,
        "account": one.account.key,
        "amount_pico": command.amount_pico,
        "at": command.at,
        "digest": _digest(command),
        "reason": command.reason,
    }
    return ToppedUp(**entry) if isinstance(command, TopUp) else Adjusted(**entry)


def _digest(command: TopUp | Adjust) -> str:
    """Tell the content of an entry from any other; a repeat comes at another time."""
    content = msgspec.json.encode((type(command).__name__, _content(command)))
    return hashlib.sha256(content).hexdigest()[:16]


def _content(command: TopUp | Adjust) -> tuple[str, int, str | None, str | None]:
    return command.budget_id, command.amount_pico, command.name, command.reason


# Rules of the tenant


def _rule(state: Ledger, command: PutBudget | DropBudget | PutLimits, now: datetime) -> Decision:
    match command:
        case PutBudget():
            return _put(state, _changed(state, command), now)
        case DropBudget(id=name):
            if _is_operators(state, name):
                return refuse(_operators(name, "id"))
            if name not in state.budgets:
                return refuse(_no_budget(name))
            return Decision((BudgetRemoved(id=name, at=now),), BudgetGone(id=name))
        case PutLimits(limits=limits):
            is_new = scope_key(limits.scope, limits.name) not in state.limits
            if is_new and restricts(limits) and len(state.limits) >= MOST_LIMITS:
                return refuse(too_many("scopes with limits", MOST_LIMITS))
            if is_new and _is_wordy(state, limits.name):
                return refuse(too_many("bytes of names with budgets or limits", MOST_NAME_BYTES))
            event = LimitsSet(limits=limits, at=now)
            return Decision((event,), budget_list(evolve(state, event), now))


def _changed(state: Ledger, command: PutBudget) -> Budget:
    """Return a budget as it is to stand: what was not given stays as it is."""
    known, wanted = state.budgets.get(command.budget.id), command.budget
    if known is None or command.given is None:
        return wanted
    given = {name: getattr(wanted, name) for name in command.given}
    return msgspec.structs.replace(known, **given)


def _put(state: Ledger, budget: Budget, now: datetime) -> Decision:
    if _is_operators(state, budget.id):
        return refuse(_operators(budget.id, "id"))
    if (fault := scope_fault(budget.scope, budget.name)) is not None:
        return refuse(fault)
    known = state.budgets.get(budget.id)
    if known == budget:
        return Decision(reply=budget_state(state, budget, now))
    if known is not None and _shape(known) != _shape(budget):
        return refuse(_another_shape(budget))
    if known is None and len(state.budgets) >= MOST_BUDGETS:
        return refuse(too_many("budgets", MOST_BUDGETS))
    if known is None and _is_wordy(state, budget.name):
        return refuse(too_many("bytes of names with budgets or limits", MOST_NAME_BYTES))
    event = BudgetSet(budget=budget, at=now)
    return Decision((event,), budget_state(evolve(state, event), budget, now))


def _is_wordy(state: Ledger, more: str | None) -> bool:
    """Say whether names would take more room than the record of the account should have."""
    named = (each.name for each in (*state.budgets.values(), *state.limits.values()))
    size = sum(len(name.encode()) for name in (*named, more) if name is not None)
    return size > MOST_NAME_BYTES


def _is_operators(state: Ledger, budget_id: str) -> bool:
    """Say whether a budget is the operator's, which no command changes."""
    alert = state.defaults.alert if state.defaults is not None else None
    return alert is not None and alert.id == budget_id


def _shape(budget: Budget) -> tuple[str | None, ...]:
    """Return what makes the keys of a budget's accounts."""
    return budget.scope, budget.name, budget.window, budget.zone


def _look(state: Ledger, command: LookAtBudgets, now: datetime) -> Decision:
    if command.id is None:
        return Decision(reply=budget_list(state, now))
    budget = state.standing.get(command.id)
    if budget is None:
        return refuse(_no_budget(command.id))
    stands: BudgetState = budget_state(state, budget, now)
    return Decision(reply=stands)


# Refusals


def _too_old() -> Problem:
    return Problem(
        code="conflict",
        message="this is older than the ledger remembers, so it may be booked already",
    )


def _no_budget(name: str) -> Problem:
    return Problem(code="not_found", message=f"there is no budget {name}", field="id")


def _whose_window() -> Problem:
    return Problem(
        code="validation",
        message="a budget for each needs the name of whose window it is, another takes none",
        field="name",
    )


def _another_shape(budget: Budget) -> Problem:
    return Problem(
        code="conflict",
        message=f"budget {budget.id} has another scope, window or time zone; remove it first",
        field="id",
    )


def _operators(name: str, field: str) -> Problem:
    message = f"budget {name} is the operator's, and is changed by settings alone"
    return Problem(code="forbidden", message=message, field=field)


def _another_entry(name: str) -> Problem:
    message = f"entry {name} exists with another content"
    return Problem(code="conflict", message=message, field="id")
