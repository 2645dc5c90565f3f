"""Which budgets and limits hold for whom, and how they stand. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from actors.pricing.core import pages
from actors.pricing.core.ledger import Account, Ledger, scope_key
from actors.pricing.core.windows import minute_of, window_of
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
from schemas.ids import PLATFORM
from schemas.ledger import Party, Restriction, Terms, WindowOpened

Zones = Callable[[str], tzinfo]
"""Finds a time zone by its name."""

FORECAST_SHARE = 10
"""A forecast needs a tenth of the window to look back on; before that it is chance."""

MOST_SHOWN = 100
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
    """Return every scope somebody acts in that has limits."""
    if not state.limits and (state.defaults is None or state.defaults.limits is None):
        return []
    found = ((scope, _limits_of(state, scope)) for scope in scopes_of(party))
    return [(scope, limits) for scope, limits in found if limits is not None]


def _limits_of(state: Ledger, scope: Scope) -> Limits | None:
    """Return the limits of a scope: its own, those for each, or the operator's for the tenant."""
    own = state.limits.get(scope.key)
    if own is not None:
        return own
    if scope.each is not None:
        return state.limits.get(scope.each)
    return state.defaults.limits if state.defaults is not None else None


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
    newest = sorted(accounts, key=_newest_first)[:MOST_SHOWN]
    balances = [_balance(Cover(budget, account), now) for account in newest]
    return BudgetState(budget=budget, balances=balances)


def budget_list(state: Ledger, now: datetime) -> BudgetList:
    """Return everything that holds for the tenant."""
    budgets = state.standing.values()
    limits = dict(state.limits)
    if state.defaults is not None and state.defaults.limits is not None:
        limits.setdefault(scope_key("global", None), state.defaults.limits)
    return BudgetList(
        budgets=[budget_state(state, budget, now) for budget in budgets],
        limits=list(limits.values()),
    )


def terms(state: Ledger) -> Terms:
    """Return whom an execution has to ask before it spends.

    Of the platform's money everybody has to ask, for what is not held there is not counted.
    """
    money: dict[tuple[str, str | None], Restriction] = {}
    listed = budget_list(state, state.at)
    for limits in listed.limits:
        if _restricts(limits):
            scope = limits.scope, limits.name
            money[scope] = Restriction(scope=limits.scope, name=limits.name)
    for each in listed.budgets:
        budget = each.budget
        if budget.hard or state.tenant == PLATFORM:
            scope = budget.scope, budget.name
            money[scope] = Restriction(scope=budget.scope, name=budget.name, money=True)
    return Terms(tenant=state.tenant, revision=state.revision, restrictions=list(money.values()))


def _holding(state: Ledger, scope: Scope) -> Sequence[Budget]:
    """Return the budgets of a scope; its own take the place of those for each."""
    own = state.scopes.get(scope.key, ())
    each = state.scopes.get(scope.each, ()) if scope.each is not None else ()
    if not own or not each:
        return own or each
    windows = {budget.window for budget in own}
    return [*own, *(budget for budget in each if budget.window not in windows)]


def _restricts(limits: Limits) -> bool:
    return any(
        most is not None
        for most in (
            limits.requests_per_minute,
            limits.requests_per_hour,
            limits.tokens_per_minute,
            limits.concurrent,
        )
    )


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
    )
