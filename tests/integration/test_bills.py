"""Bills that nobody waits for, in the ledger of their tenant: a real fleet, of killed processes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
from aiohttp import web

from actors.cli import checks
from bus.codec import encode
from bus.config import Config
from bus.connection import NatsAddress, connect
from bus.requests.rpc import command
from schemas.embeddings import Embed
from schemas.journal import CommandEnvelope
from schemas.ledger import ACCOUNT_KEY, Charge, Charged, Party, Reference, Settle
from schemas.providers import OpenAI
from schemas.usage import Usage
from tests.account_journal import journal
from tests.attempts import KEY
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.prices import balance, set_budget
from tests.providers_fake import fake_provider, never_beginning, refusing

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
    """Return what the journal of the account says was paid for, once it is so much.

    What a killed process had in its hands comes again after half a minute.
    """
    with anyio.fail_after(90):
        while True:
            found = [one for one in await journal(fleet) if isinstance(one, Charged)]
            if len(found) >= count:
                return found
            await anyio.sleep(0.2)


async def ask(client: PlainClient, wanted: Embed) -> None:
    answer = await client.ask("llm.embed", encode(wanted), timeout=20)
    assert answer["type"] == "embeddings", answer


async def test_embeddings_are_booked_once_each_though_processes_are_killed(
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


def handed_over(number: int) -> CommandEnvelope:
    """Return the bill of an execution as it hands it over."""
    at = datetime(2026, 11, 21, 12, number, tzinfo=UTC)
    charge = Charge(provider="p", model="m", usage=Usage(input=1), cost_pico=number)
    which = Reference(execution_id=f"x{number}", step=1, attempt=1, at=at)
    settle = Settle(reference=which, party=Party(), charges=[charge], at=at)
    return command(f"x{number}.1.1.settle", "local", ACCOUNT_KEY, settle)


async def test_bills_wait_for_the_first_pricing_process_and_doctor_says_that_there_is_none(
    tmp_path: Path,
):
    async with running_fleet(tmp_path, agents=1) as fleet, fleet.client() as client:
        stream = client.nats.jetstream()
        for number in (1, 2, 3, 2):
            await stream.publish("_cb.bill.local", encode(handed_over(number)))
        await stream.publish("_cb.bill.local", b"no bill")

        async with connect(NatsAddress(urls=fleet.server.urls, name="test")) as transport:
            found = await checks.all_of(transport, {"agents": 1}, Config())
            waiting = next(result for result in found if result.name == "bills")
            assert waiting == checks.Result(
                "bills", ok=False, detail="5 wait for a pricing process, and there is none"
            )

            await fleet.start("pricing.0")
            await fleet.ready(3)
            booked = await paid(fleet, 3)
            with anyio.fail_after(20):
                while (await stream.stream_info("BILLS")).state.messages:
                    await anyio.sleep(0.1)
            found = await checks.all_of(transport, {"pricing": 1}, Config())

    assert sorted(event.cost_pico for event in booked) == [1, 2, 3]
    assert checks.Result("bills", ok=True, detail="0 wait to be booked") in found


async def test_a_hard_budget_refuses_embeddings_before_the_call_and_holds_what_they_may_cost(
    tmp_path: Path,
):
    texts, disliked = ["a" * 100], ["no" * 50]
    wanted = Embed(provider=OpenAI(model=MODEL), texts=texts)

    async def choosy(request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = msgspec.json.decode(await request.read())
        return await (refusing(400) if body["input"] == disliked else embeds)(request)

    async with (
        fake_provider(choosy) as fake,
        running_fleet(tmp_path, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=fake.base_url) as fleet,
        fleet.client() as client,
    ):
        await fleet.start("pricing.0")
        await fleet.ready(3)
        await set_budget(client, 100 * RATE)
        refused = await client.ask("llm.embed", encode(wanted), timeout=20)
        unknown = Embed(provider=OpenAI(model="unheard-of"), texts=texts)
        unpriced = await client.ask("llm.embed", encode(unknown), timeout=20)
        calls = len(fake.bodies)

        await set_budget(client, 10 * COST)
        await ask(client, wanted)
        (booked,) = await paid(fleet, 1)
        unwanted = Embed(provider=OpenAI(model=MODEL), texts=disliked)
        failed = await client.ask("llm.embed", encode(unwanted), timeout=20)
        with anyio.fail_after(20):
            while (stands := await balance(client)).get("held_pico"):
                await anyio.sleep(0.1)

    assert (refused["code"], unpriced["code"], calls) == ("budget_exceeded", "unpriced", 0)
    assert refused["details"]["wanted_pico"] == 116 * RATE
    assert (booked.held_pico, booked.cost_pico) == (116 * RATE, COST)
    assert failed["type"] == "problem"
    assert stands["spent_pico"] == COST


async def test_a_request_whose_worker_is_killed_is_answered_once_and_billed_once(tmp_path: Path):
    begun = anyio.Event()

    async def silent_once(request: web.Request) -> web.StreamResponse:
        if begun.is_set():
            return await embeds(request)
        begun.set()
        return await never_beginning(request)

    async with (
        fake_provider(silent_once) as fake,
        running_fleet(tmp_path, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=fake.base_url) as fleet,
        fleet.client() as client,
    ):
        await fleet.start("pricing.0")
        await fleet.ready(3)
        await set_budget(client, 10 * COST)
        ends = await client.nats.subscribe("cb.local.events.execution.*.*")
        wanted = Embed(provider=OpenAI(model=MODEL), texts=["a" * 40], id="e1")
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, client, wanted)
                await begun.wait()
                await fleet.kill("streaming.0")
                await fleet.start("streaming.1")
        (answered,) = await paid(fleet, 1)
        again = await client.ask("llm.embed", encode(wanted), timeout=20)
        stands = await balance(client)
        told = [(await ends.next_msg(5)).subject.split(".")[4] for _ in range(2)]
        calls = len(fake.bodies)

    held = (40 + 16) * RATE
    assert (answered.reference.attempt, answered.held_pico, answered.cost_pico) == (2, held, COST)
    assert (again["type"], calls) == ("embeddings", 2)
    assert (stands["spent_pico"], told) == (COST, ["accepted", "completed"])
