"""A running fleet in which scripts have a price, so that their answers cost something."""

from decimal import Decimal
from typing import Any

import anyio

from actors.pricing.adapters.books import BookStore
from bus.connection import NatsAddress, connect
from bus.jetstream.bus import system_clock
from bus.kv.prices import BOOKS
from bus.streams.api import JetStream
from schemas.pricing.overlay import Overlay, OverlayRow
from schemas.pricing.units import Bucket
from tests.fleet import PlainClient, RunningFleet

IN, OUT = 1_000_000, 2_000_000
"""Pico-dollars a token, of scripts in tests."""


async def with_prices(fleet: RunningFleet) -> None:
    """Start a process of accounts, and give scripts a price that every process knows."""
    await fleet.start("pricing.0")
    await fleet.ready(len(fleet.processes))
    usd: dict[Bucket, Decimal] = {
        "input": Decimal(IN).scaleb(-6),
        "output": Decimal(OUT).scaleb(-6),
    }
    row = OverlayRow(provider="scripted", model="any", usd=usd)
    async with connect(NatsAddress(urls=fleet.server.urls, name="test")) as transport:
        store = BookStore(BOOKS.open(transport, JetStream(transport)), system_clock)
        book = await store.lay_over(Overlay(name="test", rows=[row]))
    async with fleet.client("prices") as client:
        await client.script("greeter", "Hello.")
        with anyio.fail_after(20):
            while (await run(client, "greeter"))["cost"] in (0, None):
                await anyio.sleep(0.05)
    assert book.book_id


async def run(client: PlainClient, agent: str, **more: Any) -> Any:
    """Execute an agent and return its record."""
    handle = await client.ask("agents.execute", {"agent_id": agent, "task": "Greet.", **more})
    assert "execution_id" in handle, handle
    return await client.ended(handle["execution_id"])


async def set_budget(client: PlainClient, limit: int, **more: Any) -> Any:
    """Let a hard budget of this tenant hold."""
    answer = await client.ask("budgets.set", {"id": "cap", "limit_pico": limit, **more})
    assert answer.get("type") != "problem", answer
    return answer


async def balance(client: PlainClient) -> Any:
    """Return how the budget stands in its window; nothing before it is first drawn upon."""
    stands = await client.ask("budgets.get", {"id": "cap"})
    return stands["balances"][0] if stands["balances"] else {}
