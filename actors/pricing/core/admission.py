"""Who may hold money: all scopes of one request are decided in one turn. Pure.

A request is admitted exactly if every hard budget covers it beside what is spent and held, and no
limit is reached; so what is admitted never exceeds a budget, and nothing is refused that fits.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from actors.pricing.core.alerts import exhausted
from actors.pricing.core.blocks import Draw, draw, portion, recalled
from actors.pricing.core.budgets import Cover, Scope, Zones, covers, limits_for, opening
from actors.pricing.core.closed import is_too_old, recall
from actors.pricing.core.escrow import is_escrow
from actors.pricing.core.ledger import (
    Hold,
    Ledger,
    key_of,
    whole_second,
)
from actors.pricing.core.limits import PAUSE, Excess, LimitMeter, excess
from schemas import pages
from schemas.budgets import Limits
from schemas.decision import Decision, refuse
from schemas.ids import PLATFORM
from schemas.ledger import MOST_PICO, AccountEvent, Extend, Extended, MoneyHeld, Reserve, Reserved
from schemas.problems import Problem

MOST_AHEAD = timedelta(hours=1)
"""So far a clock may be ahead; further, an attempt would escape the budgets of today."""

DOLLAR = 10**12

MOST_WINDOWS = 100_000
"""Windows of budgets that an account counts; a budget for each name has one for each."""

MOST_METERS = 100_000
"""Scopes whose requests an account counts."""


def reserve(state: Ledger, command: Reserve, now: datetime, zones: Zones) -> Decision:
    """Admit an attempt, or say what stands in its way."""
    key = key_of(command.reference)
    hold = pages.get(state.holds, key)
    if hold is not None:
        return Decision(reply=_still_held(state, hold, now))
    least = command.amount_pico if command.least_pico is None else command.least_pico
    if least > MOST_PICO or command.tokens > MOST_PICO:
        return refuse(too_much("amount_pico"))
    until = whole_second(command.lease_until)
    over = _is_over(state, key, command.reference.at, until, now)
    if over is not None:
        return refuse(over)
    metered = limits_for(state, command.party)
    limited = _limited(state, metered, command.tokens, now)
    if limited is not None:
        return refuse(limited)
    concerned = covers(state, command.party, command.reference.at, now, zones)
    full = _full(state, concerned, metered)
    if full is not None:
        return refuse(full)
    amount = _amount(concerned, command)
    short = _short(concerned, amount)
    if short is not None:
        return _block_declined(state, command, short, now)
    lent = _lent(command, amount)
    drawn = draw(state, lent, now) if lent else Draw()
    if drawn.problem is not None:
        return Decision(drawn.events, drawn.problem)
    reserved = Reserved(
        reference=command.reference,
        party=command.party,
        amount_pico=amount,
        tokens=command.tokens,
        lease_until=until,
        at=now,
        accounts=[*(one.account.key for one in concerned), *drawn.accounts],
        scopes=[scope.key for scope, _ in metered],
        lent_pico=lent if lent and lent != amount else None,
        chunk_pico=command.chunk_pico,
    )
    opened = [opening(one.account) for one in concerned if one.is_new]
    return Decision((*opened, reserved, *drawn.events), _held(concerned, amount))


def _full(
    state: Ledger, concerned: Sequence[Cover], metered: Sequence[tuple[Scope, Limits]]
) -> Problem | None:
    """Refuse who would be counted apart where a tenant has as many to count as it may have."""
    for one in concerned:
        if one.is_new and pages.size(state.accounts) >= MOST_WINDOWS:
            return too_many("windows of budgets", MOST_WINDOWS)
    for scope, _ in metered:
        is_new = pages.get(state.meters, scope.key) is None
        if is_new and pages.size(state.meters) >= MOST_METERS:
            return too_many("scopes with limits", MOST_METERS)
    return None


def too_many(what: str, most: int) -> Problem:
    """Say that a tenant has so many of something already."""
    return Problem(
        code="validation",
        message=f"a tenant has at most {most:,} {what}",
        details={"allowed": most},
    )


def _lent(command: Reserve, amount: int) -> int:
    """Return how much of an amount must be the platform's."""
    if not command.platform:
        return 0
    return amount if command.lent_pico is None else min(command.lent_pico, amount)


def _held(concerned: Iterable[Cover], amount: int) -> MoneyHeld:
    ends = [one.account.end for one in concerned if one.account.end is not None]
    return MoneyHeld(held_pico=amount, until=min(ends, default=None))


def _amount(concerned: Sequence[Cover], command: Reserve) -> int:
    """Return what is to be held: less than is wanted where less will do and little is left."""
    wanted, least = min(command.amount_pico, MOST_PICO), command.least_pico
    if least is None:
        return wanted
    free = [one.free for one in concerned if one.budget.hard]
    return portion(min(free), wanted, least) if free else wanted


def extend(state: Ledger, command: Extend, now: datetime) -> Decision:
    """Hold more for an attempt, if its budgets cover it; a repeat is answered, not added."""
    key = key_of(command.reference)
    hold = pages.get(state.holds, key)
    if hold is None:
        return refuse(_ended())
    if command.slice <= hold.slice or hold.lease_until <= now:
        return Decision(reply=_still_held(state, hold, now))
    if command.slice != hold.slice + 1:
        return refuse(_early_slice(hold))
    wanted = command.amount_pico
    if hold.amount_pico + wanted > MOST_PICO:
        return refuse(too_much("amount_pico"))
    short = _short(_covers_of(state, hold), wanted) if wanted > 0 else None
    if short is not None:
        return _declined(short, wanted, now, _kind(state, short))
    lent = wanted if command.lent_pico is None else command.lent_pico
    more, problem = _more_of_the_platform(state, hold, lent, now)
    if problem is not None:
        return Decision(more, problem)
    until = command.lease_until
    extended = Extended(
        reference=command.reference,
        slice=command.slice,
        amount_pico=command.amount_pico,
        at=now,
        accounts=hold.accounts,
        lease_until=whole_second(until) if until is not None else None,
        lent_pico=command.lent_pico,
    )
    return Decision((extended, *more), MoneyHeld(held_pico=hold.amount_pico + wanted))


def _more_of_the_platform(
    state: Ledger, hold: Hold, wanted: int, now: datetime
) -> tuple[tuple[AccountEvent, ...], Problem | None]:
    """Find the platform's share of what a hold is extended by, where it pays for the hold."""
    lent = next((key for key in hold.accounts if is_escrow(key)), None)
    if lent is None or wanted <= 0:
        return (), None
    drawn = draw(state, wanted, now, lent)
    return drawn.events, drawn.problem


def _still_held(state: Ledger, hold: Hold, now: datetime) -> MoneyHeld | Problem:
    """Say how much is held; nothing once the lease has ended, though its timer has yet to ring."""
    is_over = hold.lease_until <= now
    return _ended() if is_over else _held(_covers_of(state, hold), hold.amount_pico)


def _covers_of(state: Ledger, hold: Hold) -> Iterator[Cover]:
    """Yield the budgets of a hold that still stand."""
    budgets = state.standing
    for key in hold.accounts:
        account = pages.get(state.accounts, key)
        if account is not None and account.budget_id in budgets:
            yield Cover(budgets[account.budget_id], account)


def _is_over(
    state: Ledger, key: str, at: datetime, until: datetime, now: datetime
) -> Problem | None:
    """Say why an attempt can hold nothing any more, or not yet."""
    if recall(state.closed, key) is not None:
        return _ended()
    if is_too_old(state.closed, at) or until <= now:
        return _ended()
    if at > now + MOST_AHEAD:
        return Problem(code="validation", message="the attempt is of a later time than now")
    return None


def _limited(
    state: Ledger, metered: Iterable[tuple[Scope, Limits]], tokens: int, now: datetime
) -> Problem | None:
    """Return the refusal of the limit that is reached and takes longest, if one is."""
    refusals: list[Problem] = []
    for scope, limits in metered:
        meter = pages.get(state.meters, scope.key) or LimitMeter()
        found = excess(limits, meter, now, tokens)
        if found is not None:
            refusals.append(_too_often(scope, found))
    return max(refusals, key=lambda problem: problem.retry_after or 0.0, default=None)


def _too_often(scope: Scope, found: Excess) -> Problem:
    what = found.limit.replace("_", " ")
    return Problem(
        code="rate_limited",
        message=f"{_whose(scope.kind, scope.name)} may have {found.allowed} {what}",
        retryable=True,
        retry_after=found.retry_after,
        details={
            "scope": scope.kind,
            "name": scope.name,
            "limit": found.limit,
            "allowed": found.allowed,
            "used": found.used,
        },
    )


def _short(concerned: Iterable[Cover], wanted: int) -> Cover | None:
    """Return the first hard budget that does not cover the amount."""
    for one in concerned:
        if one.budget.hard and one.free < wanted:
            return one
    return None


def _block_declined(state: Ledger, command: Reserve, short: Cover, now: datetime) -> Decision:
    """Refuse; where it is a block, those who have others are asked what they do not use."""
    least = command.least_pico
    wanted = command.amount_pico if least is None else least
    declined = _declined(short, wanted, now, _kind(state, short))
    if least is None:
        return declined
    recalls = recalled(state, command.reference.execution_id, now)
    return Decision((*declined.events, *recalls), declined.reply)


def _kind(state: Ledger, short: Cover) -> str:
    """Name the scope that refuses: all tenants together are the platform."""
    if state.tenant != PLATFORM:
        return short.budget.scope
    return "platform" if short.account.name is None else "tenant"


def _declined(short: Cover, wanted: int, now: datetime, kind: str) -> Decision:
    """Refuse for want of money; the first time in a window everybody is told."""
    alert = exhausted(short, now)
    opened = (opening(short.account),) if short.is_new and alert is not None else ()
    events: tuple[AccountEvent, ...] = (*opened, alert) if alert is not None else ()
    return Decision(events, _too_little(short, wanted, now, kind))


def _too_little(short: Cover, wanted: int, now: datetime, kind: str) -> Problem:
    budget, account = short.budget, short.account
    details: dict[str, Any] = {
        "budget_id": budget.id,
        "account": account.key,
        "scope": kind,
        "name": account.name,
        "window": budget.window,
        "limit_pico": short.cap,
        "spent_pico": account.spent,
        "held_pico": account.held,
        "wanted_pico": wanted,
    }
    retry_after = _retry_after(short, wanted, now)
    return Problem(
        code="budget_exceeded",
        message=(
            f"the {budget.window} budget of {_whose(kind, account.name)} "
            f"is {_dollars(short.cap)}: {_dollars(account.spent)} are spent, "
            f"{_dollars(account.held)} held and {_dollars(wanted)} wanted"
        ),
        retryable=retry_after is not None,
        retry_after=retry_after,
        details=details,
    )


def _retry_after(short: Cover, wanted: int, now: datetime) -> float | None:
    """Return when asking again may help: soon if only holds are in the way, or in a new window."""
    if short.account.spent + wanted <= short.cap:
        return PAUSE
    if short.account.end is None or wanted > short.budget.limit_pico:
        return None
    return max((short.account.end - now).total_seconds(), PAUSE)


def _whose(kind: str, name: str | None) -> str:
    whole = "platform" if kind == "platform" else "tenant"
    return f"the {whole}" if name is None else f"{kind} {name}"


def _dollars(pico: int) -> str:
    whole, rest = divmod(abs(pico), DOLLAR)
    sign = "-" if pico < 0 else ""
    return f"{sign}${whole}.{rest * 10_000 // DOLLAR:04d}"


def _ended() -> Problem:
    return Problem(code="conflict", message="the attempt is over: it can hold nothing any more")


def too_much(field: str) -> Problem:
    """Refuse an amount for which there is no room in tables."""
    message = f"one amount is at most {_dollars(MOST_PICO)}"
    return Problem(code="validation", message=message, field=field)


def _early_slice(hold: Hold) -> Problem:
    return Problem(code="conflict", message=f"slice {hold.slice + 1} comes first", field="slice")
