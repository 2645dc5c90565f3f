"""The account as pricing owns it: with the time zones of the system, and metrics."""

from dataclasses import replace
from datetime import datetime, tzinfo
from functools import cache, partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from actors.pricing.adapters import metrics
from actors.pricing.core.admission import DOLLAR
from actors.pricing.core.decisions import LedgerRules, decide
from actors.pricing.core.entity import account
from actors.pricing.core.ledger import Ledger
from bus.errors import problem
from schemas.decision import Decision
from schemas.entity import Entity
from schemas.ledger import AccountCommand, AccountEvent, Charged, Settle


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


def account_entity(
    rules: LedgerRules | None = None,
) -> Entity[Ledger, AccountCommand, AccountEvent]:
    """Return the account under these rules, as it is owned: what is disputed is counted."""
    rules = rules or LedgerRules(zones=zone)
    return replace(account(rules), decide=partial(_decided, rules))


def _decided(
    rules: LedgerRules, state: Ledger | None, command: AccountCommand, now: datetime
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
