"""Whom an execution has to ask before it spends, as an account has it. Pure.

The terms are made when a rule changes, never where money moves. They are outstanding until the
bucket holds them: a new owner of the account asks for it again.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from schemas.base import Internal
from schemas.budgets import Budget, Limits, ScopeKind
from schemas.decision import Ask
from schemas.ledger import ACCOUNT_KEY
from schemas.terms import TERMS_STORE, KeepTerms, Restriction, Terms


class TermsStanding(Internal):
    """The terms of a tenant since a moment. ``stored`` is the newest revision in the bucket.

    Revision 0 is that of an account that never restricted anybody: it is stored nowhere.
    """

    revision: int = 0
    restrictions: list[Restriction] = []
    since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    stored: int = 0


def restricted(
    budgets: Iterable[Budget], limits: Iterable[Limits], *, is_platform: bool
) -> list[Restriction]:
    """Return the scopes that may refuse, each once, in an order that rules do not change.

    Of the platform's money everybody has to ask, for what is not held there is not counted.
    """
    found: dict[tuple[ScopeKind, str | None], Restriction] = {}
    for each in limits:
        found[each.scope, each.name] = Restriction(scope=each.scope, name=each.name)
    for budget in budgets:
        if budget.hard or is_platform:
            restriction = Restriction(scope=budget.scope, name=budget.name, money=True)
            found[budget.scope, budget.name] = restriction
    return sorted(found.values(), key=lambda each: (each.scope, each.name or ""))


def ruled(known: TermsStanding, restrictions: list[Restriction], at: datetime) -> TermsStanding:
    """Return the terms after a change of rules, the same if nobody is restricted otherwise."""
    if restrictions == known.restrictions:
        return known
    revision = known.revision + 1
    return msgspec.structs.replace(known, revision=revision, restrictions=restrictions, since=at)


def stored(known: TermsStanding, revision: int, at: datetime) -> TermsStanding:
    """Return what is known once the bucket holds a revision.

    It holds a newer one than there is where the journal of the account was begun anew. Only who
    owns the account journals this, so the terms take a revision that is newer still.
    """
    newest = max(known.stored, revision)
    if revision <= known.revision:
        return msgspec.structs.replace(known, stored=newest)
    return msgspec.structs.replace(known, revision=revision + 1, since=at, stored=newest)


def terms(known: TermsStanding, tenant: str) -> Terms:
    """Return the terms as others are told of them."""
    return Terms(tenant=tenant, revision=known.revision, restrictions=known.restrictions)


def asks(known: TermsStanding, tenant: str) -> tuple[Ask, ...]:
    """Return what is outstanding: that the bucket stores the newest terms."""
    if known.revision <= known.stored:
        return ()
    ask = Ask(
        id=f"terms.{tenant}.{known.revision}",
        entity=TERMS_STORE,
        tenant=tenant,
        key=ACCOUNT_KEY,
        since=known.since,
        command=KeepTerms(terms=terms(known, tenant)),
    )
    return (ask,)
