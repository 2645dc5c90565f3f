"""Charges of made-up calls, as events of the ledger and as rows of the projection of costs."""

import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from actors.pricing.adapters.costs import COSTS, apply
from bus.projection import Fact
from schemas.ledger import Charge, Charged, Party, Reference
from schemas.usage import Usage

TENANT = "acme"
BEGAN = datetime(2026, 3, 27, 20, 7, 31, 250, tzinfo=UTC)
"""A little before clocks go forward in Europe."""

NAMES = st.sampled_from([None, "ada", "ben", "ä;'\""])
COUNTS = st.integers(0, 300_000)
COSTS_PICO = st.one_of(st.none(), st.integers(0, 10**13), st.just(9 * 10**18))


def charged(
    *charges: Charge,
    execution: str = "x1",
    step: int = 1,
    attempt: int = 1,
    at: datetime = BEGAN,
    party: Party | None = None,
    completed: bool = False,
    held: int = 0,
    booked: int = 0,
) -> Charged:
    """Return an event with these charges."""
    cost = sum(charge.cost_pico or 0 for charge in charges)
    return Charged(
        reference=Reference(execution_id=execution, step=step, attempt=attempt, at=at),
        party=party or Party(),
        charges=list(charges),
        cost_pico=cost,
        at=at,
        completed=completed,
        held_pico=held,
        booked_pico=booked,
        released_pico=max(held + booked - cost, 0),
    )


def charge(
    cost: int | None = 1_000_000,
    model: str = "gpt-4o-mini",
    provider: str = "openai",
    usage: Usage | None = None,
    **more: object,
) -> Charge:
    """Return a charge."""
    usage = usage or Usage(input=100, output=20)
    return Charge(provider=provider, model=model, usage=usage, cost_pico=cost, **more)  # type: ignore[arg-type]


def usages() -> st.SearchStrategy[Usage]:
    """Usage of any buckets."""
    return st.builds(
        Usage,
        input=COUNTS,
        cache_read=COUNTS,
        cache_write_5m=COUNTS,
        output=COUNTS,
        quality=st.sampled_from(["exact", "estimated"]),
    )


def events() -> st.SearchStrategy[Charged]:
    """Events of some days, users and models."""
    charges = st.builds(
        charge,
        COSTS_PICO,
        st.sampled_from(["gpt-4o", "gpt-4o-mini", "haiku"]),
        st.sampled_from(["openai", "anthropic"]),
        usages(),
        batch=st.booleans(),
        tier=st.sampled_from([None, "flex", "batch"]),
        reported_pico=st.sampled_from([None, 7]),
    )
    return st.builds(
        lambda charges, **more: charged(*charges, **more),
        st.lists(charges, max_size=3),
        execution=st.sampled_from(["x1", "x2", "x3", "x4"]),
        at=st.timedeltas(timedelta(0), timedelta(days=4)).map(lambda after: BEGAN + after),
        party=st.builds(Party, user=NAMES, project=NAMES, agent_id=NAMES),
        completed=st.booleans(),
    )


@contextmanager
def database(events: Iterable[object], tenant: str = TENANT) -> Generator[sqlite3.Connection]:
    """Hold the tables of the projection open as they are after these events."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(COSTS.tables)
        for number, event in enumerate(events):
            apply(connection, Fact(tenant, "ledger", "s", number, 0, BEGAN, event))
        yield connection
