"""The journal of a tenant's account as it is stored, and what it leads to."""

from functools import reduce
from typing import Any

import msgspec

from actors.pricing.core.ledger import Account, Ledger, evolve
from bus.codec import decode
from bus.subjects import journal_subject, shard_of
from schemas import pages
from schemas.journal import Commit
from schemas.ledger import ACCOUNT_ENTITY, ACCOUNT_KEY, AccountEvent
from tests.fleet import RunningFleet

SHARDS = 16
_EVENT: Any = AccountEvent
_EVENTS = msgspec.json.Decoder(_EVENT)


async def journal(fleet: RunningFleet, tenant: str = "local") -> list[AccountEvent]:
    """Return all that has happened to the account of a tenant."""
    subject = journal_subject(ACCOUNT_ENTITY, shard_of(tenant, ACCOUNT_KEY, SHARDS))
    found: list[AccountEvent] = []
    async with fleet.client() as client:
        stream = client.nats.jetstream()
        consumer = await stream.pull_subscribe(subject, stream="JOURNAL_ACCOUNT")
        pending = (await consumer.consumer_info()).num_pending
        while pending:
            messages = await consumer.fetch(min(pending, 500), timeout=10)
            pending -= len(messages)
            entries = (entry for each in messages for entry in decode(Commit, each.data).entries)
            for entry in entries:
                if entry.tenant == tenant:
                    found.extend(_EVENTS.decode(raw) for raw in entry.events)
    return found


def accounts(events: list[AccountEvent], tenant: str = "local") -> dict[str, Account]:
    """Return the accounts that a journal leads to, by their keys."""
    ledger = reduce(evolve, events, Ledger(tenant=tenant))
    return {account.key: account for account in pages.values(ledger.accounts)}
