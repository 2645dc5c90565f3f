"""What is held for those who die, and for one who only slept: it lapses, and late bills post."""

import signal
from pathlib import Path

import anyio
import pytest

from schemas.ledger import Charged, Extended, Lapsed
from tests.account_journal import journal
from tests.books import kept, name_of
from tests.fleet import HURRIED, running_fleet
from tests.hurried import GRACE_SECONDS
from tests.prices import balance, set_budget, with_prices

EXECUTIONS = 12
SLICES = {"CALLBOARD_BUDGET_SLICE_TOKENS": "10", "EXECUTION_TIMEOUT": "10", HURRIED: "yes"}
LEASE_SECONDS = 10 + GRACE_SECONDS
"""Until the end of the execution's time, and some for its worker to say what was spent."""


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_what_the_dead_held_lapses_and_what_a_sleeper_tells_takes_its_place(tmp_path: Path):
    async with running_fleet(tmp_path, agents=1, streaming=2, **SLICES) as fleet:
        await with_prices(fleet)
        async with fleet.client("victim") as client:
            await client.script("slow", "word " * 60, delay_ms=150)
            await set_budget(client, 10**15, window="total")
            for number in range(EXECUTIONS):
                body = {"agent_id": "slow", "task": "t", "id": f"e{number}", "max_tokens": 100}
                await client.ask("agents.execute", body)
            with anyio.fail_after(30):
                while not any(
                    isinstance(each, Extended) for each in await journal(fleet, "victim")
                ):
                    await anyio.sleep(0.1)

            sleeper = fleet.processes["streaming.0"]
            sleeper.send_signal(signal.SIGSTOP)
            await fleet.kill("streaming.1")
            await fleet.kill("agents.0")
            await fleet.start("agents.1")
            with anyio.fail_after(3 * LEASE_SECONDS):
                while (await balance(client)).get("held_pico"):
                    await anyio.sleep(0.2)
            lapsed = await journal(fleet, "victim")
            sleeper.send_signal(signal.SIGCONT)
            with anyio.fail_after(60):
                while not any(
                    isinstance(each, Charged) and each.late
                    for each in await journal(fleet, "victim")
                ):
                    await anyio.sleep(0.5)
            events = await journal(fleet, "victim")
            lives = await balance(client)

    books, faults = kept(events)
    assert [*faults, *books.standing()] == []
    assert any(isinstance(each, Lapsed) for each in lapsed)
    late = [each for each in events if isinstance(each, Charged) and each.late]
    assert all(each.booked_pico == books.granted[name_of(each.reference)] for each in late)
    (key,) = (key for key in books.spent if key.startswith("cap/"))
    assert lives.get("held_pico", 0) == books.held[key] == 0
    assert lives["spent_pico"] == sum(books.paid.values()) + sum(books.booked.values())
