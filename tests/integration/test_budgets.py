"""Budgets and limits as any user sets and sees them, with real pricing processes."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from click.testing import CliRunner

from actors.cli.commands import main
from bus.codec import decode
from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.jetstream.bus import system_clock
from bus.requests.rpc import Owners, command
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    AccountCommand,
    Booked,
    Charge,
    MoneyHeld,
    Party,
    Reference,
    Reserve,
    Settle,
)
from schemas.problems import Problem
from schemas.usage import Usage
from tests.fleet import PlainClient, RunningFleet, running_fleet

PRICING = "pricing.0"
SHARDS = 16
ANN = Party(user="ann", project="apollo")


class Account:
    """What an execution asks of the account of a tenant."""

    def __init__(self, owners: Owners, tenant: str = "local") -> None:
        self.owners = owners
        self._tenant = tenant

    async def ask(self, wanted: AccountCommand) -> bytes:
        envelope = command("", self._tenant, ACCOUNT_KEY, wanted)
        with anyio.fail_after(60):
            while (answers := await self.owners.ask_once([envelope])) is None:
                await anyio.sleep(0.1)
        return answers[0]

    async def reserve(self, name: str, amount: int, party: Party = ANN) -> MoneyHeld | Problem:
        now = system_clock()
        wanted = Reserve(
            reference=_reference(name, now),
            party=party,
            amount_pico=amount,
            tokens=100,
            lease_until=now + timedelta(seconds=120),
        )
        return msgspec.json.decode(await self.ask(wanted), type=MoneyHeld | Problem)

    async def settle(self, name: str, cost: int, party: Party = ANN) -> None:
        now = system_clock()
        usage = Usage(output=10)
        charge = Charge(provider="openai", model="gpt-4o-mini", usage=usage, cost_pico=cost)
        reference = _reference(name, now)
        decode(
            Booked,
            await self.ask(Settle(reference=reference, party=party, charges=[charge], at=now)),
        )


def _reference(name: str, at: datetime) -> Reference:
    return Reference(execution_id=name, step=1, attempt=1, at=at)


@asynccontextmanager
async def pricing(
    directory: Path, **environ: str
) -> AsyncGenerator[tuple[RunningFleet, PlainClient, Account]]:
    """Run a fleet of one pricing process."""
    async with running_fleet(directory, agents=0, streaming=0, **environ) as fleet:
        await fleet.start(PRICING)
        await fleet.ready(1)
        address = NatsAddress(urls=fleet.server.urls, name="execution")
        async with fleet.client() as client, connect(address) as transport:
            owners = Owners(transport, ACCOUNT_ENTITY, SHARDS, Timing())
            yield fleet, client, Account(owners)


Shared = tuple[RunningFleet, PlainClient, Account]


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shared]:
    """One such fleet for tests that leave it as it is, each with a tenant of its own."""
    async with pricing(tmp_path_factory.mktemp("shared")) as fleet:
        yield fleet


async def test_a_budget_is_set_listed_topped_up_corrected_and_lifted(shared: Shared):
    fleet, _, local = shared
    account = Account(local.owners, "lifted")
    async with fleet.client("lifted") as client:
        wanted = {"id": "day", "limit_pico": 1000, "window": "daily", "zone": "Europe/Berlin"}
        stands = await client.ask("budgets.set", wanted)
        assert (stands["budget"]["limit_pico"], stands["balances"]) == (1000, [])
        assert isinstance(await account.reserve("e1", 600), MoneyHeld)
        refused = await account.reserve("e2", 600)
        assert isinstance(refused, Problem)
        assert refused.code == "budget_exceeded"

        top_up = {"id": "t1", "budget_id": "day", "amount_pico": 500}
        for _ in range(2):
            stands = await client.ask("budgets.top_up", top_up)
        assert stands["balances"][0]["available_pico"] == 900
        assert isinstance(await account.reserve("e2", 600), MoneyHeld)
        await account.settle("e1", 250)
        await account.settle("e2", 300)
        adjust = {"id": "a1", "budget_id": "day", "amount_pico": -50, "reason": "refund"}
        await client.ask("budgets.adjust", adjust)
        (balance,) = (await client.ask("budgets.get", {"id": "day"}))["balances"]
        assert (balance["spent_pico"], balance["available_pico"]) == (500, 1000)

        assert await client.ask("budgets.remove", {"id": "day"}) == {"id": "day"}
        listed = await client.ask("budgets.list", {})
        assert [each["budget"]["id"] for each in listed["budgets"]] == ["cost-alert"]


@pytest.mark.parametrize(
    ("verb", "wanted", "field"),
    [
        ("budgets.set", {"id": "b", "limit_pico": 1, "scope": "user"}, "name"),
        ("budgets.set", {"id": "b", "limit_pico": 1, "zone": "Mars/Olympus"}, "zone"),
        ("budgets.set", {"id": "b", "limit_pico": -1}, "limit_pico"),
        ("budgets.get", {"id": "nobody"}, "id"),
        ("limits.set", {"name": "ann"}, "name"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    shared: Shared, verb: str, wanted: dict[str, Any], field: str
):
    async with shared[0].client("senseless") as client:
        answer = await client.ask(verb, wanted)
        assert (answer["type"], answer["field"]) == ("problem", field)


@pytest.mark.timeout(180)
async def test_each_threshold_is_told_once_and_survives_a_killed_owner(tmp_path: Path):
    async with pricing(tmp_path) as (fleet, client, account):
        await client.ask("budgets.set", {"id": "all", "limit_pico": 1000, "window": "total"})
        heard = await client.nats.subscribe("cb.local.events.budget.>")
        for incarnation, number in enumerate((1, 1, 2)):
            await account.settle(f"e{number}", 600)
            await fleet.kill(f"pricing.{incarnation}")
            await fleet.start(f"pricing.{incarnation + 1}")
        await account.settle("e3", 600)
        stored = await stored_alerts(fleet, 4)
        repeats = [each.data for each in await pending(heard)]

    told = Counter((event["type"], event.get("percent")) for event in map(parsed, stored))
    crossed = "budget.threshold_crossed"
    wanted = {(crossed, 50), (crossed, 80), (crossed, 100), ("budget.exhausted", None)}
    assert told == dict.fromkeys(wanted, 1)
    assert set(repeats) <= set(stored)


def parsed(data: bytes) -> Any:
    return msgspec.json.decode(data)


async def stored_alerts(fleet: RunningFleet, least: int) -> list[bytes]:
    """Return the events of budgets that everybody finds stored, once there are so many."""
    async with fleet.client() as client:
        stream = client.nats.jetstream()
        found = await stream.pull_subscribe("cb.local.events.budget.>", stream="EVENTS")
        with anyio.fail_after(30):
            while ((await found.consumer_info()).num_pending or 0) < least:
                await anyio.sleep(0.1)
        number = (await found.consumer_info()).num_pending or 0
        return [each.data for each in await found.fetch(number, timeout=5)]


async def pending(subscription: Any) -> list[Any]:
    """Return what a subscription has received."""
    return [await subscription.next_msg(1) for _ in range(subscription.pending_msgs)]


async def test_the_operators_limit_holds_for_every_tenant(tmp_path: Path):
    async with pricing(tmp_path, RATE_LIMIT_PER_MINUTE="2") as (_, _client, account):
        answers = [await account.reserve(f"e{number}", 1) for number in range(3)]
        refused = answers[2]
        assert isinstance(refused, Problem)
        assert refused.code == "rate_limited"
        assert refused.details["limit"] == "requests_per_minute"
        assert refused.retry_after is not None


async def test_budgets_and_limits_are_set_and_shown_on_the_command_line(shared: Shared):
    fleet, _, account = shared

    async def call(*arguments: str) -> str:
        line = ["--url", fleet.server.url, *arguments]
        result = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(main, line))
        assert result.exit_code == 0, result.output
        return result.output

    await call("budgets", "set", "each", "--limit", "2.50", "--scope", "user", "--name", "*")
    await call("budgets", "set", "each", "--limit", "2.50")
    await call("limits", "set", "--requests-per-minute", "9")
    assert isinstance(await account.reserve("e1", 10**12), MoneyHeld)
    await call("budgets", "top-up", "each", "--amount", "0.25", "--name", "ann")
    less = ("--amount", "-0.05", "--name", "ann", "--reason", "less")
    await call("budgets", "adjust", "each", *less)
    listed = await call("budgets", "list")
    (row,) = (line for line in listed.splitlines() if " ann " in line)
    amounts = [cell for cell in row.split() if "$" in cell]
    assert amounts == ["$2.50", "$1.80", "$1.00", "$-0.0500", "$0.250"]
    assert "requests per minute" in listed
    assert (await call("budgets", "remove", "each")) == "id  each\n"
