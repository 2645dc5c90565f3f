"""What a tenant with a lying server, dear fields or commands of limits can do to money: nothing."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest
from aiohttp import web

from bus.ids import new_id
from schemas.ids import PLATFORM
from schemas.ledger import Charged
from tests.account_journal import journal
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.prices import balance, set_budget
from tests.providers_fake import FakeProvider, answer, begin, fake_provider

LIES = 2_000_000
"""Tokens that a server says to have written, as many as are believed: some $20 of gpt-4o."""

DEARER = 3000
"""Tokens that the operator's own provider bills beyond what was asked for."""

CENT = 10**10
ALLOWED = 12
"""Attempts a minute, as the operator limits every tenant."""


class World(NamedTuple):
    """A fleet with the operator's provider and a server of a tenant's own."""

    fleet: RunningFleet
    ours: FakeProvider
    theirs: FakeProvider


async def _lying(request: web.Request) -> web.StreamResponse:
    told = {"prompt_tokens": 5, "completion_tokens": LIES}
    return await _sent(request, answer("hi", usage=told))


async def _billing(request: web.Request) -> web.StreamResponse:
    """Answer as a provider does; one model is billed for more than it was allowed to write."""
    asked = msgspec.json.decode(await request.read())
    written = DEARER if asked["model"] == "gpt-4.1" else 2
    told = {"prompt_tokens": 5, "completion_tokens": written}
    return await _sent(request, answer("hi", usage=told))


async def _sent(request: web.Request, events: list[bytes]) -> web.StreamResponse:
    response = await begin(request, events, {})
    await response.write_eof()
    return response


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(fake_provider(_billing))
        theirs = await stack.enter_async_context(fake_provider(_lying))
        fleet = await stack.enter_async_context(
            running_fleet(
                tmp_path_factory.mktemp("fleet"),
                OPENAI_API_KEY="sk-ours",
                OPENAI_BASE_URL=ours.base_url,
                RATE_LIMIT_PER_MINUTE=str(ALLOWED),
            )
        )
        await fleet.start("pricing.0")
        await fleet.ready(3)
        yield World(fleet, ours, theirs)


@pytest.fixture
async def client(world: World) -> AsyncGenerator[PlainClient]:
    async with world.fleet.client(f"tenant-{new_id()[-8:]}") as client:
        yield client


async def generated(client: PlainClient, provider: dict[str, Any], **more: Any) -> Any:
    """Ask a model; return the refusal or the record."""
    config = {"max_tokens": 10, **more.pop("config", {})}
    body = {
        "provider": {"type": "openai", "model": "gpt-4o", **provider},
        "messages": [{"role": "user", "content": "x"}],
        "config": config,
        "limits": {"max_attempts": 1, "timeout_seconds": 20},
        **more,
    }
    handle = await client.ask("llm.generate", body)
    if handle.get("type") == "problem":
        return handle
    return await client.ended(handle["execution_id"])


async def charged(world: World, tenant: str, count: int) -> list[Charged]:
    """Return the bills of a tenant once there are so many."""
    with anyio.fail_after(20):
        while True:
            found = await journal(world.fleet, tenant)
            bills = [each for each in found if isinstance(each, Charged)]
            if len(bills) >= count:
                return bills
            await anyio.sleep(0.1)


async def settled(client: PlainClient) -> Any:
    """Return the balance of the budget once nothing is held and something is spent."""
    with anyio.fail_after(20):
        while True:
            found = await balance(client)
            if found and not found.get("held_pico") and found.get("spent_pico"):
                return found
            await anyio.sleep(0.05)


async def test_a_lying_server_spends_nothing_of_the_platform_and_all_others_go_on(
    world: World, client: PlainClient
):
    platform = PlainClient(client.nats, PLATFORM)
    wanted = {"id": "all", "limit_pico": 100 * 100 * CENT, "window": "total"}
    assert (await platform.ask("budgets.set", wanted)).get("type") != "problem"
    try:
        for _ in range(3):
            told = await generated(client, {"base_url": world.theirs.base_url})
            assert told["status"] == "COMPLETED"
        other = PlainClient(client.nats, f"{client.tenant}-other")
        assert (await generated(other, {}))["status"] == "COMPLETED"
        assert world.ours.headers[-1]["Authorization"] == "Bearer sk-ours"

        bills = await charged(world, client.tenant, 3)
        assert [each.charges[0].foreign for each in bills] == [True] * 3
        (ours,) = await charged(world, other.tenant, 1)
        assert (ours.charges[0].foreign, ours.charges[0].secret) == (False, None)
        (account,) = (await platform.ask("budgets.get", {"id": "all"}))["balances"]
        assert 0 < account.get("spent_pico", 0) + account.get("held_pico", 0) < CENT
    finally:
        await platform.ask("budgets.remove", {"id": "all"})


async def test_a_lying_server_passes_no_hard_budget_and_the_rest_is_disputed_everywhere(
    world: World, client: PlainClient
):
    await set_budget(client, CENT, window="total")
    heard = await client.nats.subscribe(f"cb.{client.tenant}.events.ledger.>")

    first = await generated(client, {"base_url": world.theirs.base_url})
    stands = await settled(client)
    second = await generated(client, {"base_url": world.theirs.base_url})

    assert [first["status"], second["status"]] == ["COMPLETED", "COMPLETED"]
    assert stands["spent_pico"] < CENT
    assert stands["disputed_pico"] > 10 * 100 * CENT
    event = msgspec.json.decode((await heard.next_msg(10)).data)
    assert (event["type"], event["disputed_pico"]) == (
        "ledger.bill_exceeded",
        stands["disputed_pico"],
    )
    report = await client.ask("pricing.report", {"group_by": ["model"]})
    assert report["total"]["disputed_pico"] >= stands["disputed_pico"]
    assert report["total"]["cost_pico"] < CENT


async def test_what_the_operators_provider_bills_is_booked_in_full_and_told(
    world: World, client: PlainClient
):
    del world
    await set_budget(client, 100 * CENT, window="total")
    heard = await client.nats.subscribe(f"cb.{client.tenant}.events.ledger.>")

    await generated(client, {"model": "gpt-4.1"})
    stands = await settled(client)

    assert stands["spent_pico"] == 5 * 2_000_000 + DEARER * 8_000_000
    event = msgspec.json.decode((await heard.next_msg(10)).data)
    assert event["cost_pico"] == stands["spent_pico"]
    assert event["over_pico"] == event["cost_pico"] - event["held_pico"] > 0
    assert event.get("disputed_pico", 0) == 0


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (
            {"config": {"extra": {"web_search_options": {"search_context_size": "high"}}}},
            "config.extra.web_search_options",
        ),
        ({"config": {"extra": {"audio": {"voice": "ash"}}}}, "config.extra.audio"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": "x",
                        "blocks": [
                            {
                                "wire": "openai_chat",
                                "raw": {"content": [{"type": "file", "file": {"file_id": "f"}}]},
                            }
                        ],
                    }
                ]
            },
            "messages.0.blocks.0.raw.content",
        ),
    ],
)
async def test_under_a_hard_budget_what_has_no_bound_is_refused_by_name(
    client: PlainClient, more: dict[str, Any], field: str
):
    await set_budget(client, 100 * CENT)

    refused = await generated(client, {}, **more)

    assert (refused["code"], refused["field"]) == ("validation", field)


async def test_many_answers_are_held_as_often_and_refused_where_that_is_too_much(
    client: PlainClient,
):
    await set_budget(client, CENT)
    assert (await generated(client, {}))["status"] == "COMPLETED"

    refused = await generated(client, {}, config={"extra": {"n": 128}})

    assert (refused["status"], refused["error"]["code"]) == ("FAILED", "budget_exceeded")
    assert refused["error"]["details"]["wanted_pico"] > 128 * 10 * 10_000_000


async def test_no_command_of_a_tenant_lifts_or_resets_the_operators_limit(client: PlainClient):
    script = {"type": "scripted", "model": "s", "responses": ["hi"], "delay_ms": 0}

    async def outcomes(count: int) -> list[str]:
        body = {
            "provider": script,
            "messages": [{"role": "user", "content": "x"}],
            "limits": {"timeout_seconds": 10, "max_attempts": 1},
        }
        handles = [await client.ask("llm.generate", body) for _ in range(count)]
        return [(await client.ended(each["execution_id"]))["status"] for each in handles]

    before = await outcomes(ALLOWED - 2)
    for limits in ({}, {"requests_per_minute": 10**9}, {"concurrent": 10**6}, {}):
        listed = await client.ask("limits.set", limits)
        assert [each["requests_per_minute"] for each in listed["ceilings"]] == [ALLOWED]
    after = await outcomes(6)

    assert before.count("COMPLETED") == ALLOWED - 2
    assert after.count("COMPLETED") == 2
    for verb, body in (
        ("budgets.remove", {"id": "cost-alert"}),
        ("budgets.set", {"id": "cost-alert", "limit_pico": 10**18}),
        ("budgets.top_up", {"id": "t", "budget_id": "cost-alert", "amount_pico": 1}),
    ):
        assert (await client.ask(verb, body))["code"] == "forbidden"


async def test_an_entry_of_a_used_id_and_another_amount_is_a_conflict(client: PlainClient):
    await set_budget(client, 1000)
    top_up = {"id": "t1", "budget_id": "cap", "amount_pico": 500}
    first = await client.ask("budgets.top_up", top_up)

    again = await client.ask("budgets.top_up", top_up)
    other = await client.ask("budgets.top_up", {**top_up, "amount_pico": 501})

    assert again["balances"][0]["granted_pico"] == first["balances"][0]["granted_pico"] == 500
    assert (other["code"], other["field"]) == ("conflict", "id")


async def test_a_new_limit_of_the_operator_reaches_an_account_that_stands(tmp_path: Path):
    async with running_fleet(tmp_path) as fleet:
        await fleet.start("pricing.0")
        await fleet.ready(3)
        async with fleet.client("standing") as client:
            await client.script("greeter", "Hello.")
            # Its record is stored, and names nobody who has to be asked.
            await client.ask("limits.set", {"requests_per_minute": 5})
            await client.ask("limits.set", {})
            for name in ("agents.0", "pricing.0"):
                await fleet.drain(name)
            fleet.set(RATE_LIMIT_PER_MINUTE="1")
            for name in ("agents.1", "pricing.1"):
                await fleet.start(name)
            await fleet.ready(3)

            found: list[str] = []
            for _ in range(2):
                handle = await client.ask("agents.execute", {"agent_id": "greeter", "task": "Go."})
                found.append((await client.ended(handle["execution_id"]))["status"])

    assert found == ["COMPLETED", "FAILED"]
