"""An owner of one account in a test: it decides, journals and applies, on a clock of its own."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

from actors.pricing.core.decisions import LedgerRules, decide
from actors.pricing.core.ledger import Account, Ledger, evolve
from bus.codec import decode, encode
from schemas import pages
from schemas.budgets import Budget, Limits
from schemas.ledger import (
    AccountCommand,
    AccountEvent,
    Charge,
    Party,
    PutBudget,
    PutLimits,
    Reference,
    Reserve,
    Settle,
    Void,
)
from schemas.usage import Usage

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ANN = Party(user="ann", project="apollo", agent_id="reviewer")
BOB = Party(user="bob", project="apollo", agent_id="reviewer")
PLAIN = LedgerRules(zones=ZoneInfo)


class Owner:
    """Takes commands one by one; ``events`` is its journal."""

    def __init__(self, rules: LedgerRules = PLAIN, tenant: str = "acme") -> None:
        self.rules = rules
        self.now = NOON
        self.state = self._new = Ledger(tenant=tenant)
        self.events: list[AccountEvent] = []

    def ask(self, command: AccountCommand, *, seconds: float = 0.0) -> Any:
        """Decide a command, so many seconds later, and return the reply."""
        self.now += timedelta(seconds=seconds)
        decision = decide(self.rules, self.state, command, self.now)
        self.state = reduce(evolve, decision.events, self.state)
        self.events.extend(decision.events)
        return decision.reply

    def budget(self, id: str = "day", limit: int = 100, **shape: Any) -> Any:  # noqa: A002
        """Let a budget hold."""
        shape = {"window": "daily", **shape}
        return self.ask(PutBudget(budget=Budget(id=id, limit_pico=limit, **shape)))

    def limits(self, **limits: Any) -> Any:
        """Let limits hold."""
        return self.ask(PutLimits(limits=Limits(**limits)))

    def reserve(self, name: str, amount: int = 10, **options: Any) -> Any:
        """Hold money for an attempt."""
        return self.ask(reserve(name, amount, now=self.now, **options))

    def settle(self, name: str, cost: int | None = 10, **options: Any) -> Any:
        """Pay for an attempt."""
        return self.ask(settle(name, cost, now=self.now, **options))

    def void(self, name: str, at: datetime = NOON) -> Any:
        """Say that an attempt cost nothing."""
        return self.ask(Void(reference=reference(name, at)))

    def account(self, budget_id: str = "day") -> Account:
        """Return the only account of a budget."""
        (found,) = (each for each in self.accounts() if each.budget_id == budget_id)
        return found

    def accounts(self) -> list[Account]:
        """Return all accounts."""
        return list(pages.values(self.state.accounts))

    def replayed(self) -> Ledger:
        """Return the state that the journal leads to."""
        kind: Any = AccountEvent
        journal = [decode(kind, encode(event)) for event in self.events]
        return reduce(evolve, journal, self._new)


def reference(name: str, at: datetime = NOON) -> Reference:
    """Return the reference of the first attempt of an execution."""
    return Reference(execution_id=name, step=1, attempt=1, at=at)


def reserve(
    name: str,
    amount: int = 10,
    *,
    now: datetime = NOON,
    at: datetime | None = None,
    party: Party = ANN,
    tokens: int = 0,
    lease: float = 60.0,
) -> Reserve:
    """Return a command that holds money; ``lease`` is in seconds."""
    return Reserve(
        reference=reference(name, at or now),
        party=party,
        amount_pico=amount,
        tokens=tokens,
        lease_until=now + timedelta(seconds=lease),
    )


def settle(
    name: str,
    cost: int | None = 10,
    *,
    now: datetime = NOON,
    at: datetime | None = None,
    party: Party = ANN,
    tokens: int = 0,
) -> Settle:
    """Return a command that pays; without a cost it is unpriced."""
    charge = Charge(
        provider="openai",
        model="gpt-4o-mini",
        usage=Usage(output=tokens),
        cost_pico=cost,
        unpriced="unknown model" if cost is None else None,
    )
    return Settle(reference=reference(name, at or now), party=party, charges=[charge], at=now)
