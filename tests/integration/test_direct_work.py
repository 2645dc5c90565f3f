"""Items that go straight to a worker, in real processes: it is killed, stands still, or leaves."""

import signal
from collections import Counter as Tally
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from tests.bench.durable import ACCEPTED, DONE, OWNER, WORKER, start
from tests.bench.executions import Counter
from tests.bench.fleet import Fleet, fleet
from tests.bench.flow import LEDGER

FLOWS, STEP_SECONDS = 20, 1.0
SECONDS = 30.0


class Flows:
    """Flows that run, and the ledger in which the workers note what they do."""

    def __init__(self, running: Fleet, ledger: Path) -> None:
        self.running = running
        self.done = Counter()
        self._ledger = ledger

    async def begin(self) -> None:
        """Start all flows, and return when the first step of each is in the works."""
        self.running.wire.write(start(STEP_SECONDS) * FLOWS)
        with anyio.fail_after(SECONDS):
            while len(self.noted("begun")) < FLOWS:
                await anyio.sleep(0.01)

    async def end(self) -> None:
        """Return when all are done."""
        with anyio.fail_after(SECONDS):
            await self.done.reach(FLOWS)

    def noted(self, what: str) -> Tally[str]:
        """Count what the workers have noted of each step."""
        lines = self._ledger.read_text().splitlines() if self._ledger.exists() else []
        pairs = (line.split() for line in lines)
        return Tally(step for noted, step in pairs if noted == what)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the eldest worker."""
        self.running.running[WORKER][0].send_signal(number)


@asynccontextmanager
async def flows(folder: Path) -> AsyncGenerator[Flows]:
    ledger = folder / "ledger"
    async with fleet([OWNER, WORKER, WORKER], {LEDGER: str(ledger)}) as running:
        begun = Flows(running, ledger)
        await running.wire.subscribe(DONE, begun.done.take)
        await running.wire.subscribe(ACCEPTED, Counter().take)
        yield begun


async def test_what_a_killed_worker_had_is_begun_by_another_and_what_it_finished_stands(
    tmp_path: Path,
):
    async with flows(tmp_path) as running:
        await running.begin()
        running.running.kill(WORKER)
        await running.end()
        begun, ended = running.noted("begun"), running.noted("ended")

    assert set(begun.values()) == {1, 2}
    assert set(ended.values()) == {1}
    assert len(ended) == 3 * FLOWS


async def test_a_worker_that_stands_still_is_given_up_and_what_it_says_later_counts_for_nothing(
    tmp_path: Path,
):
    async with flows(tmp_path) as running:
        await running.begin()
        running.signal(signal.SIGSTOP)
        await running.end()
        twice = {step for step, times in running.noted("begun").items() if times == 2}
        running.signal(signal.SIGCONT)
        with anyio.fail_after(SECONDS):
            while {step for step, times in running.noted("ended").items() if times == 2} != twice:
                await anyio.sleep(0.01)
        results, begun = len(running.done.times), running.noted("begun")

    assert twice
    assert results == FLOWS
    assert set(begun.values()) == {1, 2}


async def test_a_worker_that_leaves_ends_what_it_has_and_takes_no_more(tmp_path: Path):
    async with flows(tmp_path) as running:
        await running.begin()
        running.signal(signal.SIGTERM)
        await running.end()
        begun, ended = running.noted("begun"), running.noted("ended")

    assert set(begun.values()) == set(ended.values()) == {1}
    assert len(ended) == 3 * FLOWS
