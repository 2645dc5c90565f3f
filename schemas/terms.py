"""Whom an execution has to ask before it spends: the terms of a tenant, known to every process."""

from schemas.base import Internal, Value
from schemas.budgets import EACH, ScopeKind
from schemas.ledger import Party

TERMS_SUBJECT = "_cb.sys.terms"

TERMS_BUCKET = "terms"
"""The key-value bucket of terms, one key a tenant. Nothing in it ages."""

TERMS_STORE = "terms"
"""Stands for the bucket where an account names an entity that it asks."""


class Restriction(Value, omit_defaults=True):
    """A scope that may refuse: its limits do, and with ``money`` a hard budget does too.

    ``name`` is the project, user or agent, or ``*`` for each. ``platform`` is set where it is the
    platform that may refuse.
    """

    scope: ScopeKind = "global"
    name: str | None = None
    money: bool = False
    platform: bool = False


class Terms(Internal, tag="terms"):
    """Whom an execution has to ask before it spends: what the bucket holds for a tenant.

    Of two the one with the higher ``revision`` holds. A tenant without restrictions asks nobody,
    and one that never had any has no terms. Those of the platform hold for every tenant, in which
    ``project`` is the tenant.
    """

    tenant: str
    revision: int
    restrictions: list[Restriction] = []


def restrictions(terms: Terms | None, party: Party) -> list[Restriction]:
    """Return the scopes that may refuse what somebody spends."""
    names = {"project": party.project, "user": party.user, "agent": party.agent_id}
    return [
        each
        for each in (terms.restrictions if terms else ())
        if each.scope == "global"
        or (names[each.scope] is not None and each.name in (names[each.scope], EACH))
    ]


class KeepTerms(Internal, tag="keep_terms"):
    """An account wants its terms stored, unless newer ones are."""

    terms: Terms


class TermsKept(Internal, tag="terms_kept"):
    """The terms of this revision are stored."""

    revision: int


class NotifyTerms(Internal, tag="notify_terms"):
    """New terms, told to every process that spends; each answers.

    Once all that live have answered, nothing begins under older terms. They must be stored before:
    a process that starts meanwhile reads them.
    """

    terms: Terms


class TermsKnown(Internal, tag="terms_known"):
    """A process holds to these terms, or to newer ones, from now on."""

    process: str
    tenant: str
    revision: int
