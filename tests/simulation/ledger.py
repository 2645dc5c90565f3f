"""The account of a tenant in the simulation: reservations, bills and ends in every order.

Each attempt is reserved, settled and voided by hands that know nothing of each other, some of them
twice, while owners die and clocks are wrong. What must hold is said here apart from the core.
"""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.core.decisions import Rules
from bus.codec import decode
from schemas.budgets import Budget
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    AccountCommand,
    AccountEvent,
    AlertRaised,
    Charge,
    Charged,
    Extended,
    Lapsed,
    Party,
    PutBudget,
    Reference,
    Reserve,
    Reserved,
    Settle,
    Void,
    Voided,
    WindowOpened,
)
from schemas.usage import Usage
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.plan import USERS, Event, troubles

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ENTITY = ACCOUNT_ENTITY


def entities() -> tuple[AnyEntity, ...]:
    """Return what lives in these histories."""
    alert = Budget(id="cost-alert", limit_pico=20, hard=False, thresholds=[100])
    return (account_entity(Rules(zones=zone, alert=alert)),)


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    chance = random.Random(seed)
    events = [*_budgets(chance), *_attempts(chance), *troubles(chance)]
    return sorted(events, key=lambda event: (event.at, event.name))


def _budgets(chance: random.Random) -> Iterator[Event]:
    tight = {"key": "tight", "limit": chance.randint(5, 40), "user": None}
    yield Event(0.55, "sets a budget", "ann", tight)
    if chance.random() < 0.6:
        each = {"key": "each", "limit": chance.randint(5, 30), "user": "*"}
        yield Event(chance.uniform(0.55, 2.0), "sets a budget", "bob", each)


def _attempts(chance: random.Random) -> Iterator[Event]:
    for number in range(chance.randint(2, 8)):
        at, amount = chance.uniform(0.6, 3.5), chance.randint(1, 12)
        said = {"key": f"e{number}", "at": at, "user": chance.choice(USERS)}
        until = at + chance.choice([1.0, 3.0, 30.0])
        held = {**said, "amount": amount, "until": until}
        ends = [("settles", {**said, "cost": chance.randint(0, amount)}), ("voids", said)]
        chosen = chance.sample(ends, chance.choice([0, 1, 1, 1, 2]))
        for what, values in [("reserves", held), *chosen]:
            if what == "reserves" and chance.random() < 0.15:
                continue
            for who in ("ann", "bob", "cyd")[: chance.choice([1, 1, 2, 3])]:
                yield Event(at + chance.uniform(0.0, 3.0), what, who, values)


def command_of(what: str, values: dict[str, Any]) -> AccountCommand:
    """Return what a user asks of the account."""
    if what == "sets a budget":
        return PutBudget(budget=_budget(**values))
    at = BEGAN + timedelta(seconds=values["at"])
    reference = Reference(execution_id=values["key"], step=1, attempt=1, at=at)
    party = Party(user=values["user"])
    match what:
        case "reserves":
            return Reserve(
                reference=reference,
                party=party,
                amount_pico=values["amount"],
                tokens=1,
                lease_until=BEGAN + timedelta(seconds=values["until"]),
            )
        case "settles":
            charge = Charge(
                provider="openai", model="m", usage=Usage(output=1), cost_pico=values["cost"]
            )
            return Settle(reference=reference, party=party, charges=[charge], at=at)
        case _:
            return Void(reference=reference)


def _budget(key: str, limit: int, user: str | None) -> Budget:
    scope = "global" if user is None else "user"
    return Budget(id=key, limit_pico=limit, scope=scope, name=user, window="total")


# What must hold


class Books:
    """The ledger kept a second time, as simply as can be."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.held: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.holds: dict[str, int] = {}
        self.booked: dict[str, int] = {}
        self.ends: dict[str, list[str]] = {}
        self.reserved: Counter[str] = Counter()
        self.alerts: Counter[tuple[str, str, int | None]] = Counter()

    def enter(self, event: AccountEvent) -> Iterator[str]:
        """Take in an event; yield what is wrong with it."""
        match event:
            case Reserved() | Extended():
                yield from self._hold(event)
            case Charged() | Voided() | Lapsed():
                yield from self._end(event)
            case AlertRaised():
                self.alerts[event.account, event.alert, event.percent] += 1
            case _:
                return

    def _hold(self, event: Reserved | Extended) -> Iterator[str]:
        name = event.reference.execution_id
        self.reserved[name] += 1
        self.holds[name] = event.amount_pico
        if name in self.ends:
            yield f"{name} is held after its end"
        for account in event.accounts:
            self.held[account] += event.amount_pico
            limit = self.limits.get(account.partition("/")[0])
            if limit is not None and self.held[account] + self.spent[account] > limit:
                yield f"{account} is exceeded by {name}"

    def _end(self, event: Charged | Voided | Lapsed) -> Iterator[str]:
        name, kind = event.reference.execution_id, type(event).__name__
        held, before = self.holds.pop(name, 0), self.booked.pop(name, 0)
        ends = self.ends.setdefault(name, [])
        if kind in ends or "Charged" in ends:
            yield f"{name} is {kind} after {ends}"
        ends.append(kind)
        if held != event.held_pico:
            yield f"{name} held {held}, not {event.held_pico}"
        now = event.cost_pico if isinstance(event, Charged) else 0
        if isinstance(event, Lapsed):
            now = self.booked[name] = event.held_pico
        for account in event.accounts:
            self.held[account] -= held
            self.spent[account] += now - before


def faults_of_ledger(history: list[AccountEvent]) -> Iterator[str]:
    """Yield what is wrong with the events of an account; written apart from its core."""
    books = Books()
    for event in history:
        if isinstance(event, WindowOpened):
            continue
        if event.__struct_config__.tag == "budget_set":
            budget: Budget = getattr(event, "budget")  # noqa: B009  narrowed by its tag
            if budget.hard:
                books.limits[budget.id] = budget.limit_pico
        yield from books.enter(event)
    yield from (f"{name} is held twice" for name, n in books.reserved.items() if n > 1)
    yield from (f"told twice: {alert}" for alert, n in books.alerts.items() if n > 1)
    yield from (f"{name} outlives its lease" for name in books.holds)


def faults_of_balances(judge: Judge) -> Iterator[str]:
    """Yield balances that the journal does not lead to, and answers that it does not show."""
    for shard in judge.shards.values():
        for address, state in shard.states.items():
            if shard.entity.name != ENTITY:
                continue
            books = Books()
            for event in shard.histories[address]:
                list(books.enter(event))
            for page in state.accounts:
                for key, account in page.items():
                    wanted = (books.held[key], books.spent[key])
                    if (account.held, account.spent) != wanted:
                        yield f"{key} has {account.held}, {account.spent}, not {wanted}"
            yield from _unkept(judge, books)


def _unkept(judge: Judge, books: Books) -> Iterator[str]:
    """Yield what was answered and is not in the journal."""
    for mail, reply in judge.answers:
        if mail.key != ACCOUNT_KEY:
            continue
        said: Any = decode(_COMMAND, mail.body)
        kind = msgspec.json.decode(reply).get("type")
        if not isinstance(said, Reserve | Settle):
            continue
        name = said.reference.execution_id
        if kind == "held" and not books.reserved[name]:
            yield f"{name} was never held"
        if kind == "booked" and "Charged" not in books.ends.get(name, ()):
            yield f"{name} was never charged"


_COMMAND: Any = AccountCommand
