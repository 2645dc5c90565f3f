"""The account of a tenant as the shard runtime sees it."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import cache, partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from actors.pricing.adapters import metrics
from actors.pricing.core import blocks, escrow, ledger, terms
from actors.pricing.core.admission import DOLLAR
from actors.pricing.core.decisions import Rules, decide
from actors.pricing.core.ledger import Ledger, evolve
from actors.pricing.core.outward import announce
from bus.codec import decode
from bus.errors import problem
from bus.shard import Entity
from schemas.decision import UNCHANGED, Ask, Changes, Decision, differences
from schemas.escrow import BlockAnswered, RecallAnswered, ReturnAnswered
from schemas.ledger import (
    ACCOUNT_ENTITY,
    AccountCommand,
    AccountEvent,
    Charged,
    Lapse,
    Settle,
    TermsAnswered,
)
from schemas.terms import KeepTerms, TermsKept


@cache
def zone(name: str) -> tzinfo:
    """Return a time zone of the system's database, read once.

    Raises:
        ProblemError: ``validation``: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise problem("validation", f"there is no time zone {name}", field="zone") from None


def account_entity(rules: Rules | None = None) -> Entity[Ledger, AccountCommand, AccountEvent]:
    """Return the account: it never ends, knows repeats by its state, and its history is kept.

    What others need to know of it lies in the bucket of terms, so it has no record.
    """
    rules = rules or Rules(zones=zone)
    return Entity(
        name=ACCOUNT_ENTITY,
        version=2,
        state_type=Ledger,
        command_type=AccountCommand,
        event_type=AccountEvent,
        decide=partial(_decided, rules),
        evolve=evolve,
        effects=_asks,
        changes=_changes,
        answered=_answered,
        announce=announce,
        due=_due,
        ended=lambda _: False,
        tick=Lapse(),
        initial=lambda tenant, _: Ledger(tenant=tenant),
        keeps_replies=False,
        archives=True,
        split=ledger.split,
        joined=ledger.joined,
    )


def _asks(state: Ledger) -> tuple[Ask, ...]:
    lent = escrow.asks(state.escrow, state.tenant)
    # Looked at in every turn of the account, and mostly nothing is outstanding.
    told = state.terms.revision == state.terms.stored
    return lent if told else (*terms.asks(state.terms, state.tenant), *lent)


def _changes(before: Ledger | None, events: Sequence[AccountEvent], after: Ledger) -> Changes:
    """Return what events open and close: most concern neither terms nor lent money."""
    del events
    if before is None:
        return Changes(_asks(after))
    if before.terms is after.terms and before.escrow is after.escrow:
        return UNCHANGED
    return differences(_asks(before), _asks(after))


def _answered(
    ask: Ask, answer: bytes
) -> TermsAnswered | BlockAnswered | ReturnAnswered | RecallAnswered:
    if isinstance(ask.command, KeepTerms):
        stored = decode(TermsKept, answer).revision
        return TermsAnswered(asked=ask.command.terms.revision, revision=stored)
    return escrow.answered(ask, answer)


def _decided(
    rules: Rules, state: Ledger | None, command: AccountCommand, now: datetime
) -> Decision:
    """Decide on a command, and count bills that were told too high or held too low."""
    decision = decide(rules, state, command, now)
    if isinstance(command, Settle):
        for event in decision.events:
            if isinstance(event, Charged) and (event.disputed_pico or event.over_pico):
                _count(event)
    return decision


def _count(event: Charged) -> None:
    if event.disputed_pico:
        metrics.DISPUTED_BILLS.at().inc()
        metrics.DISPUTED_DOLLARS.at().inc(event.disputed_pico / DOLLAR)
    if event.over_pico:
        metrics.BILLS_OVER_HOLD.at().inc()


def _due(state: Ledger) -> datetime | None:
    dues = (ledger.due(state), blocks.due(state))
    return min((each for each in dues if each is not None), default=None)
