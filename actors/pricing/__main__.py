"""A pricing process: it prices calls, and owns the accounts of tenants and their budgets.

`python -m actors.pricing` starts one more; all that run share the work.
"""

import os
from collections.abc import Sequence

import anyio

from actors.pricing.actor import Handler, endpoints
from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.adapters.bills import HANDED_OVER, Bills
from actors.pricing.adapters.books import Books
from actors.pricing.adapters.budgets import Budgets
from actors.pricing.adapters.costs import COSTS
from actors.pricing.adapters.quoting import Quotes
from actors.pricing.adapters.reports import Reports
from actors.pricing.adapters.savings import Savings
from actors.pricing.adapters.telling import TermsTeller
from actors.pricing.config import PricingConfig, rules
from bus.archive import Archiver
from bus.config import load
from bus.durable import Facts
from bus.inboxes.rules import rules as inbox_rules
from bus.kv import Bucket, Followed
from bus.prices import PricesInForce, bucket_spec, open_bucket
from bus.process import Process, main, opened
from bus.projection import Projector
from bus.rpc import Owners
from bus.runtime import Part
from bus.service import Service
from bus.shard import ShardHost, Way
from bus.streams.spec import BILLS
from bus.submissions import Submissions
from bus.terms import TermsStore
from bus.terms import bucket_spec as terms_spec
from bus.terms import open_bucket as open_terms
from schemas.ledger import ACCOUNT_ENTITY
from schemas.terms import TERMS_STORE, Terms


async def run() -> None:
    """Run the process until it is told to stop."""
    config, buckets = load(PricingConfig, os.environ), [bucket_spec(), terms_spec()]
    async with opened(
        "pricing", config, entities=[ACCOUNT_ENTITY], more_streams=buckets
    ) as process:
        bus, in_force = process.bus, PricesInForce()
        bucket = open_bucket(bus.nats, bus.jetstream)
        terms = open_terms(bus.nats, bus.jetstream)
        async with in_force.following(bucket) as book:
            quotes = Quotes(Books(in_force, bucket), bus.clock)
            costs = process.following(COSTS)
            savings = Savings(costs, lambda: in_force.prices, bus.clock)
            host = hosting(process, config, terms)
            budgets = budgeting(process, host, terms)
            handlers = [quotes, Reports(costs, bus.clock), savings, budgets]
            await process.run(parts(process, book, costs, host, handlers))


def hosting(process: Process, config: PricingConfig, terms: Bucket[Terms]) -> ShardHost:
    """Return what owns this process's share of the accounts."""
    ways: dict[str, Way] = {TERMS_STORE: TermsStore(terms)}
    host = ShardHost(
        account_entity(rules(config, zone)),
        process.config.shards,
        process.name,
        process.membership,
        process.bus,
        process.timing,
        ways=ways,
    )
    # The accounts of tenants ask that of the platform.
    ways[ACCOUNT_ENTITY] = accounts(process, host)
    return host


def accounts(process: Process, host: ShardHost) -> Owners:
    """Return the way to all accounts, short where this process owns them."""
    return Owners(
        process.bus.transport,
        ACCOUNT_ENTITY,
        process.config.shards,
        process.timing,
        nearby=host.offer,
        clock=process.bus.clock,
    )


def budgeting(process: Process, host: ShardHost, terms: Bucket[Terms]) -> Budgets:
    """Return what answers for budgets and limits."""
    bus, timing = process.bus, process.timing
    teller = TermsTeller(bus, terms, timing, process.membership.members)
    return Budgets(accounts(process, host), teller, bus.clock, timeout=timing.answer_seconds)


def billing(process: Process, host: ShardHost) -> Part:
    """Return what books the bills that executions have handed over."""
    bus, timing = process.bus, process.timing
    bills = Bills(bus, accounts(process, host))
    handed_over = Facts(BILLS, "bills", HANDED_OVER, bills.handed_over, bus, timing)
    return Part(name="bills", run=handed_over.run, drain=handed_over.drain)


def parts(
    process: Process,
    book: Followed,
    costs: Projector,
    host: ShardHost,
    handlers: Sequence[Handler],
) -> list[Part]:
    """Return what runs in a pricing process, in the order of starting."""
    bus, timing, offered = process.bus, process.timing, endpoints(*handlers)
    archiver = Archiver(ACCOUNT_ENTITY, bus, timing, owned=lambda: host.assigned)
    service = Service("pricing", offered, bus, process.quotas)
    process.usage.add(service.load.uses)
    rules, shards = inbox_rules(process.config), process.config.shards
    submissions = Submissions("pricing", offered, bus, timing, rules, shards=shards)

    async def serve() -> None:
        await service.run(bus.public.client)

    return [
        Part(name="prices", run=anyio.sleep_forever, missing=book.missing),
        Part(name="accounts", run=host.run, drain=host.drain, missing=host.missing),
        Part(name="archive", run=archiver.run),
        billing(process, host),
        Part(name="costs", run=costs.run, missing=costs.missing),
        Part(
            name="submissions",
            run=submissions.run,
            drain=submissions.drain,
            missing=submissions.missing,
        ),
        Part(name="service", run=serve, drain=service.drain, missing=service.missing),
    ]


if __name__ == "__main__":
    main(run, __doc__)
