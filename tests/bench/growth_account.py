"""The account of a tenant as it grows, without a fleet: a turn, a rule, what it keeps."""

import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import reduce
from statistics import median

from actors.pricing.adapters.account import account_entity
from actors.pricing.core.closed import SETTLED, ClosedMemory, remember
from actors.pricing.core.ledger import Ledger, evolve
from bus.codec import encode
from schemas.budgets import EACH, Budget
from schemas.ledger import (
    AccountCommand,
    Party,
    PutBudget,
    Reference,
    Reserve,
    WindowOpened,
)
from tests.bench.growth_figures import Figure

BUDGETS = 200
ATTEMPTS_A_STEP = 10
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
TURNS = 100
MOST_BLOCKED_MS = 50.0
ENTITY = account_entity()
TENANT = "local"


def measure(size: int) -> list[Figure]:
    """Measure an account with 200 budgets, ``size`` windows and ten times as many attempts."""
    state = _with_windows(size)
    return [
        Figure("account, a turn", _turns(state, _reserve), "us", 100),
        Figure("account, a budget is set", _turns(state, _put), "us", 5_000),
        *_memory(size * ATTEMPTS_A_STEP),
    ]


def _with_windows(size: int) -> Ledger:
    """Return an account with a window of each of many users, beside the budgets of agents."""
    users = Budget(id="users", limit_pico=10**18, scope="user", name=EACH, window="hourly")
    agents = [
        Budget(id=f"b{number}", limit_pico=10**15, scope="agent", name=f"a{number}")
        for number in range(BUDGETS - 1)
    ]
    state = Ledger(tenant=TENANT)
    for budget in (users, *agents):
        state = _after(state, PutBudget(budget=budget))
    for number in range(size):
        opened = WindowOpened(
            account=f"users/2026-06-01T1100Z/user/u{number}",
            budget_id="users",
            at=AT,
            start=AT - timedelta(hours=1),
            end=AT,
            name=f"u{number}",
        )
        state = evolve(state, opened)
    return state


def _after(state: Ledger, command: AccountCommand) -> Ledger:
    return reduce(evolve, ENTITY.decide(state, command, AT).events, state)


def _turns(state: Ledger, command: Callable[[int], AccountCommand]) -> float:
    """Return the median of what a turn takes, effects and timer among it, in microseconds."""
    takes: list[float] = []
    for number in range(TURNS):
        asked = command(number)
        began = time.perf_counter()
        state = _after(state, asked)
        ENTITY.effects(state)
        ENTITY.due(state)
        takes.append((time.perf_counter() - began) * 1e6)
    return median(takes)


def _reserve(number: int) -> Reserve:
    reference = Reference(execution_id=_name(number), step=1, attempt=1, at=AT)
    return Reserve(
        reference=reference,
        party=Party(user=f"u{number}", agent_id="a7"),
        amount_pico=1_000_000,
        tokens=1_000,
        lease_until=AT + timedelta(minutes=6),
    )


def _put(number: int) -> PutBudget:
    budget = Budget(
        id="b7", limit_pico=10**15 + number + 1, scope="agent", name="a7", hard=bool(number % 2)
    )
    return PutBudget(budget=budget)


def _memory(attempts: int) -> list[Figure]:
    """Return what attempts that are over take, and how long a snapshot of them holds the loop."""
    tracemalloc.start()
    memory = ClosedMemory()
    for number in range(attempts):
        memory = remember(memory, f"{_name(number)}.1.1", SETTLED, AT)
    each = tracemalloc.get_traced_memory()[0] / attempts
    tracemalloc.stop()
    began = time.perf_counter()
    rest, parts = ENTITY.split(Ledger(tenant=TENANT, closed=memory))
    size = len(encode(rest))
    blocked = (time.perf_counter() - began) * 1e3
    assert size + sum(map(len, parts)) > attempts
    return [
        Figure("account, bytes of memory an attempt that is over", each, "B", 30),
        Figure("account, its snapshot holds the loop", blocked, "ms", most=MOST_BLOCKED_MS),
    ]


def _name(number: int) -> str:
    return f"0198f0c4-5b7e-7000-8000-{number:012x}"
