"""The ledger of a tenant: its accounts, what is held, what is over, and how events change it. Pure.

An account is one window of a budget. How high the budget is concerns admission and alerts only.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from actors.pricing.core.closed import (
    SETTLED,
    VOIDED,
    Closed,
    ClosedMemory,
    forget,
    recall,
    remember,
)
from actors.pricing.core.closed import joined as with_parts
from actors.pricing.core.closed import split as closed_parts
from actors.pricing.core.escrow import NONE, Escrow, changed, used
from actors.pricing.core.limits import LimitMeter, counted, ended, is_idle
from actors.pricing.core.postings import Move, moves, touched
from actors.pricing.core.terms import TermsStanding, restricted, ruled, stored
from schemas import pages
from schemas.base import Internal
from schemas.budgets import Budget, Limits
from schemas.escrow import EscrowEvent
from schemas.ids import PLATFORM
from schemas.ledger import (
    AccountEvent,
    Adjusted,
    Alert,
    AlertRaised,
    BudgetRemoved,
    BudgetSet,
    Charged,
    DefaultsSet,
    Extended,
    Lapsed,
    LimitsSet,
    Party,
    Reference,
    Reserved,
    TermsStored,
    ToppedUp,
    Voided,
    WindowOpened,
)
from schemas.pages import Pages
from schemas.terms import Restriction


class Account(Internal):
    """One window of a budget. Its four sides sum to zero; ``funding`` is where top-ups come from.

    ``told`` are the alerts that were raised, each of which is raised once. ``disputed`` sums what
    was told of attempts and not booked; it is a note beside the books.
    """

    key: str
    budget_id: str
    opened_at: datetime
    start: datetime | None = None
    end: datetime | None = None
    name: str | None = None
    available: int = 0
    held: int = 0
    spent: int = 0
    funding: int = 0
    told: tuple[str, ...] = ()
    disputed: int = 0


class Hold(Internal):
    """Money held for an attempt; it counts in the meters of ``scopes``.

    ``lent_pico`` of it is the platform's. ``chunk_pico`` may be spent before a provider that says
    too much is noticed.
    """

    reference: Reference
    party: Party
    amount_pico: int
    tokens: int
    lease_until: datetime
    granted_at: datetime
    slice: int = 0
    accounts: list[str] = []
    scopes: list[str] = []
    lent_pico: int = 0
    chunk_pico: int = 0


class Ledger(Internal):
    """The state of an account entity.

    ``terms`` are whom executions have to ask. ``budgets`` are the tenant's own; ``standing`` are
    all that hold, the operator's alert among them, and ``scopes`` are the same by scope.
    ``lapses`` counts the holds by the minute and second at which their lease ends. ``at`` is the
    owner's newest moment, ``swept`` the day on which old windows were last put away. ``escrow`` is
    what the tenant has of the platform's money.
    """

    tenant: str
    terms: TermsStanding = TermsStanding()
    defaults: DefaultsSet | None = None
    budgets: dict[str, Budget] = {}
    standing: dict[str, Budget] = {}
    scopes: dict[str, list[Budget]] = {}
    limits: dict[str, Limits] = {}
    accounts: Pages[Account] = ()
    holds: Pages[Hold] = ()
    lapses: dict[int, dict[int, int]] = {}
    meters: Pages[LimitMeter] = ()
    closed: ClosedMemory = ClosedMemory()
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    swept: int = 0
    escrow: Escrow = NONE


def split(state: Ledger) -> tuple[Ledger, list[bytes]]:
    """Return an account without the large parts of what is over, which do not change, and these."""
    closed, parts = closed_parts(state.closed)
    return msgspec.structs.replace(state, closed=closed) if parts else state, parts


def joined(state: Ledger, parts: Sequence[bytes]) -> Ledger:
    """Return an account that was split, whole again."""
    return msgspec.structs.replace(state, closed=with_parts(state.closed, parts))


def key_of(reference: Reference) -> str:
    """Name a reference by what tells it from others."""
    return f"{reference.execution_id}.{reference.step}.{reference.attempt}"


def entry_key(id: str) -> str:  # noqa: A002  it is one
    """Name an entry by hand among all that is closed; no execution has a name like it."""
    return f"entry/{id}"


def due(state: Ledger) -> datetime | None:
    """Return when the next lease ends."""
    if not state.lapses:
        return None
    return datetime.fromtimestamp(min(state.lapses[min(state.lapses)]), tz=UTC)


def whole_second(lease_until: datetime) -> datetime:
    """Return the end of a lease as it is kept: never later than asked for, by whole seconds."""
    return lease_until - timedelta(microseconds=lease_until.microsecond)


def lapsed(state: Ledger, now: datetime) -> list[Hold]:
    """Return the holds whose lease has ended."""
    return [hold for hold in pages.values(state.holds) if hold.lease_until <= now]


def evolve(state: Ledger | None, event: AccountEvent) -> Ledger:
    """Apply one journalled event.

    Raises:
        ValueError: the state was not begun with its tenant.
    """
    if state is None:
        raise ValueError("an account begins with the name of its tenant")
    return _applied(_posted(state, event), event)


def _posted(state: Ledger, event: AccountEvent) -> Ledger:
    accounts = touched(event)
    if not accounts:
        return state
    changes = {
        key: moved(_account(state, key), move)
        for key, move in zip(accounts, moves(event, accounts), strict=True)
    }
    if isinstance(event, Charged) and event.disputed_pico:
        changes = {key: _noted(each, event.disputed_pico) for key, each in changes.items()}
    escrow = state.escrow
    if escrow.account in changes:
        escrow = used(escrow, state.at)
    return msgspec.structs.replace(
        state, accounts=pages.updated(state.accounts, changes), escrow=escrow
    )


def _noted(account: Account, disputed: int) -> Account:
    return msgspec.structs.replace(account, disputed=account.disputed + disputed)


def _account(state: Ledger, key: str) -> Account:
    account = pages.get(state.accounts, key)
    if account is None:
        message = f"{key} was never opened"
        raise ValueError(message)
    return account


def _applied(state: Ledger, event: AccountEvent) -> Ledger:
    match event:
        case Reserved():
            return _reserved(state, event)
        case Extended():
            return _extended(state, event)
        case Charged():
            tokens, at = event.tokens, event.entered_at or event.at
            return _close(_let_go(state, event.reference, tokens), event.reference, SETTLED, at)
        case Voided():
            voided = _voided(state, event)
            return _close(_let_go(state, event.reference, 0), event.reference, voided, event.at)
        case Lapsed():
            booked = _booked(state, event)
            return _close(_let_go(state, event.reference, None), event.reference, booked, event.at)
        case ToppedUp() | Adjusted():
            entered = Closed(how="entered", digest=event.digest)
            return _remember(state, entry_key(event.id), entered, event.at, event.at)
        case WindowOpened():
            return _opened(state, event)
        case AlertRaised():
            return _told(state, event)
        case BudgetSet() | BudgetRemoved() | LimitsSet() | DefaultsSet():
            return _ruled(state, event)
        case TermsStored(revision=revision, at=at):
            return msgspec.structs.replace(state, terms=stored(state.terms, revision, at))
        case _:
            return _lent(state, event)


# Holds


def _reserved(state: Ledger, event: Reserved) -> Ledger:
    hold = Hold(
        reference=event.reference,
        party=event.party,
        amount_pico=event.amount_pico,
        tokens=event.tokens,
        lease_until=event.lease_until,
        granted_at=event.at,
        accounts=event.accounts,
        scopes=event.scopes,
        lent_pico=event.amount_pico if event.lent_pico is None else event.lent_pico,
        chunk_pico=event.chunk_pico,
    )
    meters = state.meters
    if event.scopes:
        fresh = {
            scope: counted(_meter(state, scope), event.at, event.tokens) for scope in event.scopes
        }
        meters = pages.updated(meters, fresh)
    return msgspec.structs.replace(
        state,
        holds=pages.put(state.holds, key_of(event.reference), hold),
        lapses=_lapses(state.lapses, hold.lease_until, 1),
        meters=meters,
        at=max(state.at, event.at),
    )


def _extended(state: Ledger, event: Extended) -> Ledger:
    key = key_of(event.reference)
    hold = pages.get(state.holds, key)
    if hold is None:
        message = f"{key} is not held"
        raise ValueError(message)
    until = event.lease_until or hold.lease_until
    lent = event.amount_pico if event.lent_pico is None else event.lent_pico
    longer = msgspec.structs.replace(
        hold,
        amount_pico=hold.amount_pico + event.amount_pico,
        lent_pico=hold.lent_pico + lent,
        slice=event.slice,
        lease_until=until,
    )
    lapses = _lapses(_lapses(state.lapses, hold.lease_until, -1), until, 1)
    holds = pages.put(state.holds, key, longer)
    return msgspec.structs.replace(state, holds=holds, lapses=lapses, at=max(state.at, event.at))


def _let_go(state: Ledger, reference: Reference, tokens: int | None) -> Ledger:
    """Take a hold away, if there is one; ``tokens`` is what it used, None if nobody knows."""
    key = key_of(reference)
    hold = pages.get(state.holds, key)
    if hold is None:
        return state
    unused = 0 if tokens is None else hold.tokens - tokens
    meters = state.meters
    if hold.scopes:
        fresh = {
            scope: ended(_meter(state, scope), hold.granted_at, unused) for scope in hold.scopes
        }
        meters = pages.updated(meters, fresh)
    return msgspec.structs.replace(
        state,
        holds=pages.without(state.holds, key),
        lapses=_lapses(state.lapses, hold.lease_until, -1),
        meters=meters,
    )


def _lapses(
    lapses: dict[int, dict[int, int]], lease_until: datetime, change: int
) -> dict[int, dict[int, int]]:
    """Return the counts with one hold more or less that ends at a second."""
    second = int(lease_until.timestamp())
    within = lapses.get(second // 60, {})
    within = {**within, second: within.get(second, 0) + change}
    if within[second] <= 0:
        del within[second]
    changed = {**lapses, second // 60: within}
    if not within:
        del changed[second // 60]
    return changed


def _meter(state: Ledger, scope: str) -> LimitMeter:
    return pages.get(state.meters, scope) or LimitMeter()


# What is over


def bound_of(hold: Hold) -> int:
    """Return what foreign hosts may say of an attempt at most: what is held, and a chunk."""
    return hold.amount_pico + hold.chunk_pico


def _voided(state: Ledger, event: Voided) -> Closed:
    key = key_of(event.reference)
    hold = pages.get(state.holds, key)
    if hold is not None:
        return Closed(how="voided", bound_pico=bound_of(hold))
    lapsed = recall(state.closed, key)
    bound = lapsed.bound_pico if lapsed is not None else None
    return VOIDED if bound is None else Closed(how="voided", bound_pico=bound)


def _booked(state: Ledger, event: Lapsed) -> Closed:
    hold = pages.get(state.holds, key_of(event.reference))
    return Closed(
        how="lapsed",
        booked_pico=event.booked_pico,
        accounts=tuple(event.accounts),
        lent_pico=event.booked_pico if event.lent is None else event.lent.cost_pico,
        bound_pico=bound_of(hold) if hold is not None else None,
    )


def _close(state: Ledger, reference: Reference, how: Closed, at: datetime) -> Ledger:
    return _remember(state, key_of(reference), how, reference.at, at)


def _remember(state: Ledger, key: str, how: Closed, since: datetime, at: datetime) -> Ledger:
    now = max(state.at, at)
    closed = remember(state.closed, key, how, since)
    if state.defaults is not None:
        closed = forget(closed, now, state.defaults.memory_days)
    return _swept(msgspec.structs.replace(state, closed=closed, at=now))


# Windows, alerts and rules


def _lent(state: Ledger, event: EscrowEvent) -> Ledger:
    return msgspec.structs.replace(state, escrow=changed(state.escrow, state.tenant, event))


def _opened(state: Ledger, event: WindowOpened) -> Ledger:
    account = Account(
        key=event.account,
        budget_id=event.budget_id,
        opened_at=event.at,
        start=event.start,
        end=event.end,
        name=event.name,
    )
    accounts = pages.put(state.accounts, event.account, account)
    return msgspec.structs.replace(state, accounts=accounts)


def _swept(state: Ledger) -> Ledger:
    """Put away, once a day, windows that ended before what is remembered, and idle meters.

    That is when something closes: no later event of the same command moves anything where nothing
    is held.
    """
    at = state.at
    if at.toordinal() <= state.swept or state.defaults is None:
        return state
    oldest = at - timedelta(days=state.defaults.memory_days)

    def is_wanted(account: Account) -> bool:
        return account.end is None or account.end >= oldest or account.held != 0

    return msgspec.structs.replace(
        state,
        accounts=pages.kept(state.accounts, is_wanted),
        meters=pages.kept(state.meters, lambda meter: not is_idle(meter, at)),
        swept=at.toordinal(),
    )


def _told(state: Ledger, event: AlertRaised) -> Ledger:
    account = pages.get(state.accounts, event.account)
    if account is None:
        return state
    told = msgspec.structs.replace(account, told=(*account.told, mark(event.alert, event.percent)))
    return msgspec.structs.replace(state, accounts=pages.put(state.accounts, told.key, told))


def mark(alert: Alert, percent: int | None = None) -> str:
    """Name an alert among those of its window."""
    if alert != "threshold":
        return alert
    return f"{percent}%" if percent is not None else "amount"


def _ruled(state: Ledger, event: BudgetSet | BudgetRemoved | LimitsSet | DefaultsSet) -> Ledger:
    changed = _rule(state, event)
    alert = changed.defaults.alert if changed.defaults is not None else None
    standing = changed.budgets if alert is None else {alert.id: alert, **changed.budgets}
    scopes: dict[str, list[Budget]] = {}
    for budget in standing.values():
        scopes.setdefault(scope_key(budget.scope, budget.name), []).append(budget)
    changed = msgspec.structs.replace(
        changed, standing=standing, scopes=scopes, at=max(state.at, event.at)
    )
    return msgspec.structs.replace(
        changed, terms=ruled(state.terms, _restricted(changed), event.at)
    )


def _restricted(state: Ledger) -> list[Restriction]:
    limits = [*state.limits.values()]
    if state.defaults is not None and state.defaults.limits is not None:
        limits.append(state.defaults.limits)
    return restricted(state.standing.values(), limits, is_platform=state.tenant == PLATFORM)


def restricts(limits: Limits) -> bool:
    """Say whether anything is limited."""
    return any(
        most is not None
        for most in (
            limits.requests_per_minute,
            limits.requests_per_hour,
            limits.tokens_per_minute,
            limits.concurrent,
        )
    )


def _rule(state: Ledger, event: BudgetSet | BudgetRemoved | LimitsSet | DefaultsSet) -> Ledger:
    match event:
        case BudgetSet(budget=budget):
            return msgspec.structs.replace(state, budgets={**state.budgets, budget.id: budget})
        case BudgetRemoved(id=gone):
            kept = {name: each for name, each in state.budgets.items() if name != gone}
            return msgspec.structs.replace(state, budgets=kept)
        case LimitsSet(limits=wanted):
            scope = scope_key(wanted.scope, wanted.name)
            others = {key: each for key, each in state.limits.items() if key != scope}
            limits = {**others, scope: wanted} if restricts(wanted) else others
            return msgspec.structs.replace(state, limits=limits)
        case DefaultsSet():
            return msgspec.structs.replace(state, defaults=event)


def moved(account: Account, move: Move) -> Account:
    """Return an account with what an event moves in it."""
    available, held, spent, funding = move
    return msgspec.structs.replace(
        account,
        available=account.available + available,
        held=account.held + held,
        spent=account.spent + spent,
        funding=account.funding + funding,
    )


def scope_key(kind: str, name: str | None) -> str:
    """Name a scope: ``global``, ``user/ann``, ``user/*``."""
    return kind if name is None else f"{kind}/{name}"
