"""Client processes that spend one tenant's money.

``python -m tests.spenders URL DIRECTORY PROCESSES RESERVATIONS MANNER``. All begin at the same time
and ask the account as executions do, again until they are answered. With the policy ``hold`` they
keep what they get; in ``spend`` most of it is settled, some is voided, and of some nobody ever says
anything. Each process writes down what it was told, a line an answer.
"""

import multiprocessing
import random
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec

from bus.codec import encode
from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.jetstream.bus import system_clock
from bus.requests.rpc import Owners, command
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    AccountCommand,
    Charge,
    MoneyHeld,
    Party,
    Reference,
    Reserve,
    Settle,
    Void,
)
from schemas.problems import Problem
from schemas.usage import Usage

TENANT, PARTY = "local", Party(user="ann", project="apollo")
SHARDS = 16
IN, OUT = 150_000, 600_000
"""Pico-dollars a token of gpt-4o-mini: what is charged is reckoned apart from our rate book."""

MOST = Usage(input=1000, output=100)
AMOUNT = MOST.input * IN + MOST.output * OUT
"""What one attempt may cost at most."""

TASKS = 4
LEASE, BRIEF_LEASE = timedelta(seconds=120), timedelta(seconds=4)

Manner = Literal["hold", "spend"]
Fate = Literal["settles", "voids", "vanishes"]


class Line(msgspec.Struct):
    """What became of one reservation; ``usage`` was settled."""

    name: str
    answer: MoneyHeld | Problem
    fate: Fate | None = None
    usage: Usage | None = None


class Spender:
    """Reserves for one attempt after the other, and ends what was granted."""

    def __init__(self, owners: Owners, chance: random.Random, policy: Manner) -> None:
        self._owners = owners
        self._chance = chance
        self._spending_policy = policy

    async def attempt(self, name: str) -> Line:
        """Reserve once; settle, void or forget what is held."""
        now = system_clock()
        reference = Reference(execution_id=name, step=1, attempt=1, at=now)
        fate = self._fate()
        lease = BRIEF_LEASE if fate == "vanishes" else LEASE
        reserve = Reserve(
            reference=reference,
            party=PARTY,
            amount_pico=AMOUNT,
            tokens=MOST.total,
            lease_until=now + lease,
        )
        line = Line(name, msgspec.json.decode(await self._ask(reserve), type=MoneyHeld | Problem))
        if isinstance(line.answer, Problem) or self._spending_policy == "hold":
            return line
        line.fate = fate
        if fate == "settles":
            line.usage = Usage(
                input=self._chance.randint(0, MOST.input), output=self._chance.randint(0, 100)
            )
            await self._ask(_settle(reference, line.usage, now))
        elif fate == "voids":
            await self._ask(Void(reference=reference))
        return line

    def _fate(self) -> Fate:
        lot = self._chance.random()
        return "settles" if lot < 0.7 else "voids" if lot < 0.85 else "vanishes"

    async def _ask(self, wanted: AccountCommand) -> bytes:
        envelope = command("", TENANT, ACCOUNT_KEY, wanted)
        with anyio.fail_after(120):
            while (answers := await self._owners.ask_once([envelope])) is None:
                await anyio.sleep(0.05)
        return answers[0]


def _settle(reference: Reference, usage: Usage, at: datetime) -> Settle:
    cost = usage.input * IN + usage.output * OUT
    charge = Charge(provider="openai", model="gpt-4o-mini", usage=usage, cost_pico=cost)
    return Settle(reference=reference, party=PARTY, charges=[charge], at=at)


async def spend(url: str, file: Path, names: Sequence[str], policy: Manner) -> None:
    """Make these reservations, some at a time."""
    left = iter(names)
    async with connect(NatsAddress(urls=(url,), name=file.stem)) as transport:
        owners = Owners(transport, ACCOUNT_ENTITY, SHARDS, Timing())
        spender = Spender(owners, random.Random(file.stem), policy)
        with file.open("ab", buffering=0) as written:

            async def run() -> None:
                for name in left:
                    written.write(encode(await spender.attempt(name)) + b"\n")

            async with anyio.create_task_group() as tasks:
                for _ in range(TASKS):
                    tasks.start_soon(run)


def _run(*arguments: Any) -> None:
    anyio.run(spend, *arguments)


def count(directory: Path) -> int:
    """Return how many answers were written down so far."""
    return sum(file.read_bytes().count(b"\n") for file in directory.glob("*.jsonl"))


def read(directory: Path) -> list[Line]:
    """Return what all processes have written down."""
    lines = (line for file in directory.glob("*.jsonl") for line in file.read_bytes().splitlines())
    return [msgspec.json.decode(line, type=Line) for line in lines]


def main(url: str, directory: str, processes: str, reservations: str, policy: Manner) -> int:
    """Run so many processes to their end; return how many of them failed."""
    count = int(processes)
    Path(directory).mkdir()
    names = [f"e{number}" for number in range(int(reservations))]
    fork = multiprocessing.get_context("fork")
    running = [
        fork.Process(
            target=_run,
            args=(url, Path(directory) / f"{n}.jsonl", names[n::count], policy),
        )
        for n in range(count)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    return sum(process.exitcode != 0 for process in running)


if __name__ == "__main__":
    _, *given = sys.argv
    sys.exit(main(*given))  # type: ignore[arg-type]  what is given is checked by what it does
