"""What embeddings cost, in the ledger of their tenant: a real fleet whose processes are killed."""

from pathlib import Path
from typing import Any

import anyio
import msgspec
from aiohttp import web

from bus.codec import encode
from schemas.embeddings import Embed
from schemas.ledger import Charged
from schemas.providers import OpenAI
from schemas.usage import Usage
from tests.account_journal import journal
from tests.attempts import KEY
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.prices import balance
from tests.providers_fake import fake_provider

MODEL = "text-embedding-3-small"
RATE = 20_000
"""Pico-dollars a token, as the shipped book has it."""

TOKENS = 1000
COST = TOKENS * RATE
COUNT = 24
KILLED_AFTER = {6: ("pricing.0", "pricing.1"), 12: ("pricing.1", "pricing.2")}
"""After so many requests who is killed, and who comes instead."""


async def embeds(request: web.Request) -> web.StreamResponse:
    body: dict[str, Any] = msgspec.json.decode(await request.read())
    rows = [{"index": n, "embedding": [0.1]} for n in range(len(body["input"]))]
    return web.json_response({"data": rows, "model": MODEL, "usage": {"prompt_tokens": TOKENS}})


async def paid(fleet: RunningFleet, count: int) -> list[Charged]:
    """Return what the journal of the account says was paid for, once it is so much."""
    with anyio.fail_after(60):
        while True:
            found = [one for one in await journal(fleet) if isinstance(one, Charged)]
            if len(found) >= count:
                return found
            await anyio.sleep(0.2)


async def ask(client: PlainClient, wanted: Embed) -> None:
    answer = await client.ask("llm.embed", encode(wanted), timeout=20)
    assert answer["type"] == "embeddings", answer


async def repeated(client: PlainClient) -> None:
    """Tell all events again, as a process does that does not know that they were stored."""
    stream = client.nats.jetstream()
    stored = await stream.pull_subscribe("cb.local.events.llm.embedded.*", stream="EVENTS")
    messages = await stored.fetch(COUNT, timeout=10)
    assert len(messages) == COUNT
    for message in messages:
        await stream.publish(message.subject, message.data)


async def test_embeddings_are_booked_once_each_though_processes_are_killed_and_events_repeated(
    tmp_path: Path,
):
    async with (
        fake_provider(embeds) as fake,
        running_fleet(tmp_path, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=fake.base_url) as fleet,
        fleet.client() as client,
    ):
        await fleet.start("pricing.0")
        await fleet.ready(3)
        set_ = await client.ask("budgets.set", {"id": "cap", "limit_pico": 10**12, "hard": False})
        assert set_.get("type") != "problem", set_

        for count in range(COUNT):
            user = "ann" if count % 2 else "bob"
            await ask(client, Embed(provider=OpenAI(model=MODEL), texts=["a"], user=user))
            if count in KILLED_AFTER:
                killed, successor = KILLED_AFTER[count]
                await fleet.kill(killed)
                await fleet.start(successor)
        await paid(fleet, COUNT)
        await repeated(client)
        await ask(client, Embed(provider=OpenAI(model=MODEL), texts=["a"], project="last"))
        booked = await paid(fleet, COUNT + 1)
        stands = await balance(client)
        report = await client.ask("pricing.report", {"group_by": ["user"]})

    assert [event.cost_pico for event in booked] == [COST] * (COUNT + 1)
    assert {event.charges[0].usage for event in booked} == {Usage(input=TOKENS)}
    assert sorted(event.party.user or "" for event in booked) == ["", *["ann"] * 12, *["bob"] * 12]
    assert stands["spent_pico"] == COST * (COUNT + 1)
    total = report["total"]
    assert (total["cost_pico"], total["executions"]) == (COST * (COUNT + 1), COUNT + 1)
