"""Tenants that borrow the platform's money, in seeded histories of faults.

The accounts of two tenants and that of the platform are what they are in a fleet. Attempts ask
until they are held or refused, hold more, pay, let go or are forgotten, while owners die, leave
and are cut off. What must hold is told from the journals of all three, apart from their cores.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

import anyio

from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.core.decisions import LedgerRules
from bus.errors import ProblemError
from bus.requests.rpc import Owners, command
from schemas.budgets import Budget
from schemas.escrow import BlockClosed, BlockGranted, BlockReturned
from schemas.ids import PLATFORM
from schemas.ledger import (
    ACCOUNT_KEY,
    AccountCommand,
    BudgetSet,
    Charge,
    Charged,
    Extend,
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
from tests.simulation.plan import Event, troubles
from tests.simulation.site import Site

TENANTS = ("acme", "bolt")
EDGE = timezone(timedelta(minutes=59, seconds=57))
"""In this zone an hour ends three seconds after histories begin."""

PATIENCE = 8.0
HEALED_SECONDS = 4.0
"""So long after all trouble every shard has its owner again."""

PROMISED_SECONDS = 3.5
"""From when it fits, an attempt is granted within this time, or somebody else's is."""


def _zone(name: str) -> tzinfo:
    return EDGE if name == "UTC" else zone(name)


def entities() -> tuple[AnyEntity, ...]:
    """Return what lives in these histories."""
    return (account_entity(LedgerRules(zones=_zone)),)


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    chance = random.Random(seed)
    cap, window = chance.choice([50, 100, 200]), chance.choice(["total", "total", "hourly"])
    budget = {"key": "all", "limit": cap, "window": window}
    events = [Event(0.55, "sets the platform's budget", "ann", budget)]
    events += _attempts(chance, "borrows", chance.randint(2, 12), [1, 3, 10, cap // 2])
    most = [1, cap // 2, cap - cap // 4]
    events += _attempts(chance, "borrows in peace", chance.randint(2, 8), most)
    events += troubles(chance)
    return sorted(events, key=lambda event: (event.at, event.name))


def _attempts(
    chance: random.Random, what: str, count: int, amounts: Sequence[int]
) -> Iterator[Event]:
    for number in range(count):
        amount = chance.choice(amounts)
        values = {
            "tenant": chance.choice(TENANTS),
            "key": f"{what[8:10]}{number}",
            "amount": amount,
            "lasts": chance.choice([0.0, 0.5, 2.0]),
            "more": chance.choice([0, 0, 2]),
            "lease": chance.choice([3.0, 9.0]),
            "ends": chance.choice(["settles", "settles", "voids", "forgets", "settles twice"]),
            "cost": chance.choice([0, 0, 1, amount // 4, min(amount, 10) + 1]),
        }
        yield Event(chance.uniform(0.6, 4.5), what, "ann", values)


class Loan(NamedTuple):
    """What somebody wants of the platform's money, for how long, and how that ends."""

    tenant: str
    key: str
    amount: int
    lasts: float
    more: int
    lease: float
    ends: str
    cost: int


class Borrower:
    """Asks for the platform's money as executions and their workers do."""

    def __init__(self, site: Site, accounts: Owners, judge: Judge) -> None:
        self._site = site
        self._accounts = accounts
        self._judge = judge
        self._is_set = anyio.Event()

    async def set_budget(self, who: str, key: str, limit: int, window: Any) -> None:
        """Let a budget of the platform hold. Before that nobody asks for its money."""
        del who
        budget = Budget(id=key, limit_pico=limit, window=window)
        while not self._is_set.is_set():
            try:
                await self._ask(PLATFORM, PutBudget(budget=budget))
                self._is_set.set()
            except ProblemError as refused:
                self._site.trace.note("ann", f"sets it again: {refused}")

    async def borrow_in_peace(self, who: str, **values: Any) -> None:
        """Borrow when all trouble is over."""
        while not self._judge.is_quiet(HEALED_SECONDS):
            await anyio.sleep(0.5)
        await anyio.sleep(random.random() * PATIENCE / 2)
        await self.borrow(who, **values)

    async def borrow(self, who: str, **values: Any) -> None:
        """Ask until it is held or refused; hold more for a while; end."""
        del who
        loan = Loan(**values)
        await self._is_set.wait()
        at = self._site.clock()
        where = Reference(execution_id=loan.key, step=1, attempt=1, at=at)
        ends = loan.ends
        try:
            await self._ask_on(loan.tenant, _reserve(loan, where), loan.amount)
            if loan.more:
                await anyio.sleep(loan.lasts / 2)
                extend = Extend(reference=where, slice=1, amount_pico=loan.more)
                await self._ask_on(loan.tenant, extend, loan.more)
            await anyio.sleep(loan.lasts)
        except ProblemError as refused:
            self._site.trace.note("ann", f"gives up {loan.key}: {refused}")
            ends = "voids" if ends == "forgets" else ends
        for wish in _wishes(where, ends, loan.cost):
            await self._ask(loan.tenant, wish)

    async def _ask_on(self, tenant: str, wanted: Reserve | Extend, amount: int) -> None:
        """Ask again while the money is on its way."""
        deadline = anyio.current_time() + 3 * PATIENCE
        while True:
            try:
                return await self._ask(tenant, wanted)
            except ProblemError as refused:
                problem = refused.problem
                if problem.code == "budget_exceeded":
                    self._judge.refused(amount)
                if problem.code != "unavailable" or anyio.current_time() > deadline:
                    raise
                await anyio.sleep(problem.retry_after or 0.0)

    async def _ask(self, tenant: str, wanted: AccountCommand) -> None:
        name = f"{type(wanted).__name__}.{random.getrandbits(64)}"
        await self._accounts.ask(command(name, tenant, ACCOUNT_KEY, wanted), timeout=PATIENCE)


def _reserve(loan: Loan, where: Reference) -> Reserve:
    return Reserve(
        reference=where,
        party=Party(),
        amount_pico=loan.amount,
        tokens=0,
        lease_until=where.at + timedelta(seconds=loan.lease),
        platform=True,
    )


def _wishes(where: Reference, ends: str, cost: int) -> list[AccountCommand]:
    charge = Charge(provider="openai", model="m", usage=Usage(output=1), cost_pico=cost)
    settle = Settle(reference=where, party=Party(), charges=[charge], at=where.at)
    routes = {
        "settles": [settle],
        "settles twice": [settle, settle],
        "voids": [Void(reference=where)],
    }
    return list(routes.get(ends, []))


# What must hold


class Block(NamedTuple):
    """A block as one side has it: what was lent, given back in parts, and spent at its end."""

    lent: int = 0
    returned: int = 0
    ends: tuple[int, ...] = ()


class Loans:
    """All journals together: what tenants use and what the platform has lent them.

    ``excess`` is what bills had above all that was held for them, which is booked by rule.
    """

    def __init__(self) -> None:
        self.cap: int | None = None
        self.is_total = False
        self.used: Counter[str] = Counter()
        self.lent: Counter[str] = Counter()
        self.excess: Counter[str] = Counter()
        self.borrowed: defaultdict[tuple[str, int], Block] = defaultdict(Block)
        self.granted: defaultdict[tuple[str, int], Block] = defaultdict(Block)
        self.rooms: list[tuple[float, int]] = []
        self.ends: dict[tuple[str, str], datetime | None] = {}

    def enter(self, moment: float, tenant: str, event: Any) -> Iterator[str]:
        """Take in an event; yield what is wrong with it."""
        if isinstance(event, BudgetSet) and tenant == PLATFORM:
            self.cap, self.is_total = event.budget.limit_pico, event.budget.window == "total"
        elif tenant == PLATFORM:
            self._lend(event)
        elif isinstance(event, BlockGranted | BlockReturned | BlockClosed):
            self._borrow(tenant, event)
        elif isinstance(event, WindowOpened):
            self.ends[tenant, event.account] = event.end
        else:
            yield from self._late(tenant, event)
            self._use(tenant, event)
        for each in TENANTS:
            if self.used[each] > self.lent[each] + self.excess[each]:
                yield f"{each} uses {self.used[each]} and was lent {self.lent[each]}"
        if self.cap is not None:
            self.rooms.append((moment, self.cap - self.used.total()))
            if self.is_total and self.used.total() > self.cap + self.excess.total():
                yield f"all tenants use {self.used.total()} of {self.cap}"

    def _late(self, tenant: str, event: Any) -> Iterator[str]:
        """Yield what begins in a span that has ended."""
        for key in event.accounts if isinstance(event, Reserved) else ():
            end = self.ends.get((tenant, key))
            if end is not None and event.at >= end:
                yield f"{event.reference.execution_id} of {tenant} begins after {key} has ended"

    def _use(self, tenant: str, event: Any) -> None:
        if any(key.startswith(PLATFORM) for key in getattr(event, "accounts", ())):
            self.used[tenant] += _change(event)
            self.excess[tenant] += max(0, _change(event)) if _is_end(event) else 0

    def _lend(self, event: Any) -> None:
        if not isinstance(event, Reserved | Extended | Charged | Voided | Lapsed):
            return
        tenant, number = event.reference.execution_id, event.reference.step
        self.lent[tenant] += _change(event)
        block = self.granted[tenant, number]
        if isinstance(event, Reserved):
            block = block._replace(lent=block.lent + event.amount_pico)
        elif isinstance(event, Extended):
            block = block._replace(returned=block.returned - event.amount_pico)
        elif not isinstance(event, Lapsed):
            spent = event.cost_pico if isinstance(event, Charged) else 0
            block = block._replace(ends=(*block.ends, spent))
        self.granted[tenant, number] = block

    def _borrow(self, tenant: str, event: BlockGranted | BlockReturned | BlockClosed) -> None:
        block = self.borrowed[tenant, event.number]
        match event:
            case BlockGranted():
                block = block._replace(lent=block.lent + event.amount_pico)
            case BlockReturned():
                block = block._replace(returned=block.returned + event.amount_pico)
            case BlockClosed():
                block = block._replace(ends=(*block.ends, event.spent_pico))
        self.borrowed[tenant, event.number] = block


def _change(event: Any) -> int:
    """Return by how much an event changes what is held and spent together."""
    match event:
        case Reserved() | Extended():
            return event.amount_pico
        case Charged():
            return event.cost_pico - event.held_pico - event.booked_pico
        case Voided():
            return -event.held_pico - event.booked_pico
        case Lapsed():
            return event.booked_pico - event.held_pico
        case _:
            return 0


def _is_end(event: Any) -> bool:
    return isinstance(event, Charged)


def faults_of_lending(judge: Judge) -> Iterator[str]:
    """Yield what is wrong between the accounts of tenants and that of the platform."""
    loans = Loans()
    for stored in judge.journal:
        yield from loans.enter(*stored)
    for name in loans.borrowed.keys() | loans.granted.keys():
        yield from _block_faults(name, loans.borrowed[name], loans.granted[name])
    if loans.used != loans.lent:
        yield f"{loans.used} is used, and {loans.lent} is lent in the end"
    if loans.is_total:
        yield from _stuck(judge, loans.rooms)


def _block_faults(name: tuple[str, int], borrowed: Block, granted: Block) -> Iterator[str]:
    """Yield how both sides of a block differ; one that was refused is let go unused.

    A part that is given back may be overtaken by the end of the block, which gives it back too.
    """
    if not borrowed.lent and not borrowed.ends:
        if granted.ends != (0,):
            yield f"block {name} was never taken, and is {granted}"
    elif borrowed._replace(returned=granted.returned) != granted or len(borrowed.ends) != 1:
        yield f"block {name} is {borrowed} to its tenant and {granted} to the platform"


def _stuck(judge: Judge, rooms: Iterable[tuple[float, int]]) -> Iterator[str]:
    """Yield refusals, once all is quiet, of what would have fitted for long enough."""
    for moment, wanted in judge.refusals:
        before = [each for each in rooms if each[0] <= moment - PROMISED_SECONDS][-1:]
        since = [each for each in rooms if moment - PROMISED_SECONDS < each[0] <= moment]
        if all(room >= wanted for _, room in [*before, *since]):
            yield f"refused at {moment:.2f}, though {wanted} would have fitted"


def is_idle(escrow: Any) -> bool:
    """Say whether an account has nothing of the platform's, and nothing to ask or to give back."""
    return not (escrow.blocks or escrow.asking or escrow.returns or escrow.recalls)
