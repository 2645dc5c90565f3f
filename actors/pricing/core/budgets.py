"""Which budgets and limits hold for whom, and how they stand. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from heapq import nsmallest
from typing import NamedTuple

from actors.pricing.core.ledger import Account, Ledger, scope_key
from actors.pricing.core.windows import minute_of, window_of
from schemas import pages
from schemas.budgets import (
    EACH,
    Balance,
    Budget,
    BudgetList,
    BudgetState,
    Limits,
    ScopeKind,
    WindowKind,
)
from schemas.ledger import Party, WindowOpened

Zones = Callable[[str], tzinfo]
"""Finds a time zone by its name."""

FORECAST_SHARE = 10
"""A forecast needs a tenth of the window to look back on; before that it is chance."""

MOST_SHOWN = 100
"""Windows of one budget in an answer."""

MOST_LISTED = 2000
"""Windows of all budgets in an answer, but at least one of each."""

_MICROSECOND = timedelta(microseconds=1)


class Cover(NamedTuple):
    """A budget that concerns somebody, and the account of its window."""

    budget: Budget
    account: Account
    is_new: bool = False

    @property
    def cap(self) -> int:
        """What may be spent in the window: the limit and what was added to it."""
        return self.budget.limit_pico - self.account.funding

    @property
    def free(self) -> int:
        """What may still be reserved; negative where the budget was overspent or lowered."""
        return self.budget.limit_pico + self.account.available


class Scope(NamedTuple):
    """A scope somebody acts in; ``each`` is the key of the rules for each of its kind."""

    kind: str
    name: str | None
    key: str
    each: str | None


OPERATOR = Scope("operator", None, "operator", None)
"""The whole tenant as the operator limits it. No scope of a tenant has a key like it."""


def scopes_of(party: Party) -> Sequence[Scope]:
    """Return every scope somebody acts in, the widest first."""
    return _scopes(party.project, party.user, party.agent_id)


@lru_cache(maxsize=4096)
def _scopes(project: str | None, user: str | None, agent: str | None) -> Sequence[Scope]:
    named = (("project", project), ("user", user), ("agent", agent))
    return (
        Scope("global", None, scope_key("global", None), None),
        *(
            Scope(kind, name, scope_key(kind, name), scope_key(kind, EACH))
            for kind, name in named
            if name is not None
        ),
    )


def covers(state: Ledger, party: Party, at: datetime, now: datetime, zones: Zones) -> list[Cover]:
    """Return every budget that concerns somebody, with the window a moment lies in."""
    minute = minute_of(at)
    return [
        _cover(state, budget, scope.name, minute, now, zones)
        for scope in scopes_of(party)
        for budget in _holding(state, scope)
    ]


def cover(
    state: Ledger, budget: Budget, name: str | None, at: datetime, now: datetime, zones: Zones
) -> Cover:
    """Return the account of a budget for the window a moment lies in, a new one if need be."""
    return _cover(state, budget, name, minute_of(at), now, zones)


def _cover(
    state: Ledger, budget: Budget, name: str | None, minute: int, now: datetime, zones: Zones
) -> Cover:
    zone = zones(budget.zone)
    key = _account_key(budget.id, budget.window, budget.scope, name, minute, zone)
    known = pages.get(state.accounts, key)
    if known is not None:
        return Cover(budget, known)
    window = window_of(budget.window, minute, zone)
    account = Account(
        key=key,
        budget_id=budget.id,
        opened_at=now,
        start=window.start,
        end=window.end,
        name=name,
    )
    return Cover(budget, account, is_new=True)


@lru_cache(maxsize=16_384)
def _account_key(
    budget_id: str, kind: WindowKind, scope: ScopeKind, name: str | None, minute: int, zone: tzinfo
) -> str:
    """Name the window of a budget that a minute since 1970 lies in."""
    return f"{budget_id}/{window_of(kind, minute, zone).label}/{scope_key(scope, name)}"


def opening(account: Account) -> WindowOpened:
    """Return the event by which a new account begins."""
    return WindowOpened(
        account=account.key,
        budget_id=account.budget_id,
        at=account.opened_at,
        start=account.start,
        end=account.end,
        name=account.name,
    )


def limits_for(state: Ledger, party: Party) -> list[tuple[Scope, Limits]]:
    """Return every scope somebody acts in that has limits.

    The operator's limits are a scope of their own with counters of their own: whatever a tenant
    sets, both hold, so that the lower wins.
    """
    ceiling = state.defaults.limits if state.defaults is not None else None
    above = [(OPERATOR, ceiling)] if ceiling is not None else []
    if not state.limits:
        return above
    found = ((scope, _limits_of(state, scope)) for scope in scopes_of(party))
    return [*above, *((scope, limits) for scope, limits in found if limits is not None)]


def _limits_of(state: Ledger, scope: Scope) -> Limits | None:
    """Return the limits of a scope: its own, or those for each."""
    own = state.limits.get(scope.key)
    if own is not None or scope.each is None:
        return own
    return state.limits.get(scope.each)


def forecast(one: Cover, at: datetime) -> datetime | None:
    """Return when a window is spent if spending goes on as it has; None if not before its end."""
    account, left = one.account, one.cap - one.account.spent
    start = account.start or account.opened_at
    if account.end is None or account.spent <= 0 or left < 0:
        return None
    microseconds = ((at - start) // _MICROSECOND) * left // account.spent
    if at >= account.end or microseconds >= (account.end - at) // _MICROSECOND:
        return None
    return at + timedelta(microseconds=microseconds)


def foretold(one: Cover, at: datetime) -> datetime | None:
    """Return a forecast that is told to everybody, once enough of the window has passed for it."""
    # From then on, spending that has not taken its share of the budget lasts to the end.
    if one.account.spent * FORECAST_SHARE <= one.cap or _is_early(one.account, at):
        return None
    return forecast(one, at)


def _is_early(account: Account, at: datetime) -> bool:
    if account.start is None or account.end is None:
        return True
    return (at - account.start) * FORECAST_SHARE < account.end - account.start


def budget_state(state: Ledger, budget: Budget, now: datetime) -> BudgetState:
    """Return a budget with its newest windows."""
    accounts = (each for each in pages.values(state.accounts) if each.budget_id == budget.id)
    return _state(budget, accounts, now, MOST_SHOWN)


def _state(budget: Budget, accounts: Iterable[Account], now: datetime, most: int) -> BudgetState:
    newest = nsmallest(most, accounts, key=_newest_first)
    balances = [_balance(Cover(budget, account), now) for account in newest]
    return BudgetState(budget=budget, balances=balances)


def budget_list(state: Ledger, now: datetime) -> BudgetList:
    """Return everything that holds for the tenant; of many budgets only their newest windows."""
    accounts: dict[str, list[Account]] = {name: [] for name in state.standing}
    for account in pages.values(state.accounts):
        if account.budget_id in accounts:
            accounts[account.budget_id].append(account)
    each = max(1, min(MOST_SHOWN, MOST_LISTED // max(len(accounts), 1)))
    return BudgetList(
        budgets=[
            _state(budget, accounts[name], now, each) for name, budget in state.standing.items()
        ],
        limits=list(state.limits.values()),
        ceilings=ceilings(state),
    )


def ceilings(state: Ledger) -> list[Limits]:
    """Return the operator's limits of a tenant, which no command of the tenant changes."""
    limits = state.defaults.limits if state.defaults is not None else None
    return [limits] if limits is not None else []


def _holding(state: Ledger, scope: Scope) -> Sequence[Budget]:
    """Return the budgets of a scope; its own take the place of those for each."""
    own = state.scopes.get(scope.key, ())
    each = state.scopes.get(scope.each, ()) if scope.each is not None else ()
    if not own or not each:
        return own or each
    windows = {budget.window for budget in own}
    return [*own, *(budget for budget in each if budget.window not in windows)]


def _newest_first(account: Account) -> tuple[float, str]:
    return -account.start.timestamp() if account.start else 0.0, account.key


def _balance(one: Cover, now: datetime) -> Balance:
    account = one.account
    return Balance(
        account=account.key,
        available_pico=one.free,
        name=account.name,
        start=account.start,
        end=account.end,
        held_pico=account.held,
        spent_pico=account.spent,
        granted_pico=-account.funding,
        exhausted_at=forecast(one, now),
        disputed_pico=account.disputed,
    )
