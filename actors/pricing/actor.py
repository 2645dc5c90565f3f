"""The pricing actor as it is declared, and what only it makes itself."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.adapters.bills import HANDED_OVER, Bills
from actors.pricing.adapters.books import Books
from actors.pricing.adapters.budgets import Budgets
from actors.pricing.adapters.costs import COSTS
from actors.pricing.adapters.notifying import TermsNotifier
from actors.pricing.adapters.quoting import Quotes
from actors.pricing.adapters.reports import Reports
from actors.pricing.adapters.savings import Savings
from actors.pricing.config import PricingConfig, rules
from bus.actor import Actor, Here, Own
from bus.kv.prices import BOOKS, PRICES
from bus.kv.terms import TERMS, TermsStore
from bus.requests.reader import Facts
from bus.runtime.supervision import Part, PartKind
from bus.streams.spec import BILLS
from schemas.ledger import ACCOUNT_ENTITY
from schemas.terms import TERMS_STORE


@asynccontextmanager
async def opened(here: Here) -> AsyncGenerator[Own]:
    """Make the handlers, and what books the bills that executions have handed over."""
    bus, timing = here.bus, here.process.timing
    in_force, costs = here.known(PRICES), here.projection(COSTS)
    terms, accounts = here.bucket(TERMS), here.owners(ACCOUNT_ENTITY)
    notifier = TermsNotifier(bus, terms, timing, here.process.membership.members)
    bills = Facts(BILLS, "bills", HANDED_OVER, Bills(bus, accounts).handed_over, bus, timing)
    yield Own(
        handlers=[
            Quotes(Books(in_force, here.bucket(BOOKS)), bus.clock),
            Reports(costs, bus.clock),
            Savings(costs, lambda: in_force.prices, bus.clock),
            Budgets(accounts, notifier, bus.clock, timeout=timing.answer_seconds),
        ],
        parts=[Part(name="bills", kind=PartKind.WORKER, run=bills.run, drain=bills.drain)],
        routes={TERMS_STORE: TermsStore(terms)},
    )


ACTOR = Actor(
    name="pricing",
    settings=PricingConfig,
    entities=[account_entity()],
    under=lambda _, config: account_entity(rules(config, zone)),
    stores=[BOOKS, TERMS],
    follows=[PRICES],
    projections=[COSTS],
    services=[Quotes, Reports, Savings, Budgets],
    asks=[ACCOUNT_ENTITY],
    opened=opened,
)
