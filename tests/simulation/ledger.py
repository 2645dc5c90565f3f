"""The account of a tenant in the simulation: reservations, bills and ends in every order.

Each attempt is reserved, settled and voided by hands that know nothing of each other, some of them
twice, while owners die and clocks are wrong. What must hold is said here apart from the core.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.core.decisions import LedgerRules
from bus.codec import decode
from schemas.budgets import Budget
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    AccountCommand,
    AccountEvent,
    Charge,
    Party,
    PutBudget,
    Reference,
    Reserve,
    Settle,
    Void,
)
from schemas.usage import Usage
from tests.books import Books, kept, name_of
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.plan import USERS, Event, troubles

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ENTITY = ACCOUNT_ENTITY


def entities() -> tuple[AnyEntity, ...]:
    """Return what lives in these histories."""
    alert = Budget(id="cost-alert", limit_pico=20, hard=False, thresholds=[100])
    return (account_entity(LedgerRules(zones=zone, alert=alert)),)


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
            # Now and then all that is asked arrives when its end was told already.
            late = 2.0 * (what == "reserves" and chance.random() < 0.25)
            for who in ("ann", "bob", "cyd")[: chance.choice([1, 1, 2, 3])]:
                yield Event(at + late + chance.uniform(0.0, 3.0), what, who, values)


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


def faults_of_ledger(history: list[AccountEvent]) -> Iterator[str]:
    """Yield what is wrong with the events of an account."""
    books, faults = kept(history)
    yield from faults
    yield from books.standing()


def faults_of_balances(judge: Judge) -> Iterator[str]:
    """Yield balances that the journal does not lead to, and answers that it does not show."""
    for shard in judge.shards.values():
        for address, state in shard.states.items():
            if shard.entity.name != ENTITY:
                continue
            books, _ = kept(shard.histories[address])
            for page in state.accounts:
                for key, account in page.items():
                    wanted = (books.held[key], books.spent[key])
                    if (account.held, account.spent) != wanted:
                        yield f"{key} has {account.held}, {account.spent}, not {wanted}"
            yield from _unkept(judge, address[0], books)


def _unkept(judge: Judge, tenant: str, books: Books) -> Iterator[str]:
    """Yield what was answered and is not in the journal."""
    for envelope, reply in judge.answers:
        if (envelope.tenant, envelope.key) != (tenant, ACCOUNT_KEY):
            continue
        said: Any = decode(_COMMAND, envelope.body)
        kind = msgspec.json.decode(reply).get("type")
        if not isinstance(said, Reserve | Settle | Void):
            continue
        name = name_of(said.reference)
        if kind == "held" and not books.reserved[name]:
            yield f"{name} was never held"
        ends = books.ends.get(name, ())
        if isinstance(said, Settle) and kind == "booked" and "Charged" not in ends:
            yield f"{name} was never charged"
        if isinstance(said, Void) and not ends:
            yield f"{name} was never let go"


_COMMAND: Any = AccountCommand
