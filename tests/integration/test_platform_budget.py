"""A budget over all tenants, with real accounts, executions and a killed owner."""

from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest
from click.testing import CliRunner

from actors.cli.commands import main
from bus.jetstream.bus import system_clock
from schemas.ids import PLATFORM
from schemas.ledger import MoneyHeld, Party, Reference, Reserve, Void
from schemas.problems import Problem
from tests.fleet import PlainClient, RunningFleet
from tests.integration.test_budgets import PRICING, Account, pricing

TENANTS = ("acme", "bolt")
WORTH = 20
EACH = 10


class Spender:
    """Holds the platform's money for attempts of a tenant, as executions do."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.answers: dict[str, MoneyHeld | Problem] = {}

    async def hold(self, name: str) -> MoneyHeld | Problem:
        """Ask until it is held or refused."""
        at = system_clock()
        wanted = Reserve(
            reference=Reference(execution_id=name, step=1, attempt=1, at=at),
            party=Party(user="ann"),
            amount_pico=EACH,
            tokens=1,
            lease_until=at + timedelta(seconds=300),
            platform=True,
        )
        with anyio.fail_after(150):
            while True:
                answer: MoneyHeld | Problem = msgspec.json.decode(
                    await self._account.ask(wanted), type=MoneyHeld | Problem
                )
                if not isinstance(answer, Problem) or answer.code != "unavailable":
                    self.answers[name] = answer
                    return answer
                await anyio.sleep(answer.retry_after or 0)

    async def let_go(self, name: str) -> None:
        """Void a hold."""
        reference = Reference(execution_id=name, step=1, attempt=1, at=system_clock())
        await self._account.ask(Void(reference=reference))

    def admitted(self) -> list[str]:
        """Return the attempts for which money is held."""
        return [name for name, each in self.answers.items() if isinstance(each, MoneyHeld)]


async def on_the_command_line(fleet: RunningFleet, *arguments: str) -> str:
    """Run ``callboard budgets --platform``."""
    line = ["--url", fleet.server.url, "budgets", "--platform", *arguments]
    result = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(main, line))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [False, True])
async def test_two_tenants_together_never_exceed_it(tmp_path: Path, *, kills: bool):
    async with pricing(tmp_path) as (fleet, _, account):
        limit = f"{WORTH * EACH / 10**12:.12f}"
        await on_the_command_line(fleet, "set", "all", "--limit", limit, "--window", "total")
        spenders = [Spender(Account(account.owners, tenant)) for tenant in TENANTS]

        async def spend(spender: Spender) -> None:
            for number in range(WORTH):
                await spender.hold(f"e{number}")
                if kills and number in (3, 10):
                    await fleet.kill(PRICING if number == 3 else "pricing.1")
                    await fleet.start("pricing.1" if number == 3 else "pricing.2")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spend, spenders[0])
            tasks.start_soon(_hold_all, spenders[1])
        with anyio.fail_after(150):
            while sum(len(each.admitted()) for each in spenders) < WORTH:
                await spenders[1].hold(f"more{len(spenders[1].answers)}")
        assert sum(len(each.admitted()) for each in spenders) == WORTH
        told = {
            (each.code, each.details["scope"])
            for spender in spenders
            for each in spender.answers.values()
            if isinstance(each, Problem)
        }
        assert told == {("budget_exceeded", "platform")}

        for name in spenders[0].admitted():
            await spenders[0].let_go(name)
        with anyio.fail_after(30):
            while not isinstance(await spenders[1].hold("late"), MoneyHeld):
                pass


async def _hold_all(spender: Spender) -> None:
    for number in range(WORTH):
        await spender.hold(f"e{number}")


async def test_it_is_set_listed_and_told_for_the_platform_alone(tmp_path: Path):
    async with pricing(tmp_path) as (fleet, client, account):
        heard = await client.nats.subscribe("cb.*.events.budget.>")
        line = ("set", "all", "--limit", "0.000001", "--threshold", "1")
        assert "all" in await on_the_command_line(fleet, *line)
        assert "all" in await on_the_command_line(fleet, "list")
        assert [each["budget"]["id"] for each in (await _listed(client))] == ["cost-alert"]
        spender = Spender(Account(account.owners, "acme"))
        refused = [await spender.hold(f"e{number}") for number in range(2)]
        assert all(isinstance(each, MoneyHeld) for each in refused)
        await on_the_command_line(fleet, "set", "all", "--limit", "0")
        with anyio.fail_after(30):
            while isinstance(await spender.hold(f"f{len(spender.answers)}"), MoneyHeld):
                pass
        event = msgspec.json.decode((await heard.next_msg(20)).data)
        assert event["type"] == "budget.exhausted"


async def _listed(client: PlainClient) -> list[dict[str, dict[str, str]]]:
    return (await client.ask("budgets.list", {}))["budgets"]


async def test_a_tenant_cannot_ask_in_its_name(tmp_path: Path):
    async with pricing(tmp_path) as (_, client, _account):
        answer = await client.nats.request(
            f"cb.{PLATFORM}.limits.set", b'{"requests_per_minute":1}', timeout=10
        )
        assert msgspec.json.decode(answer.data)["field"] == "tenant"
