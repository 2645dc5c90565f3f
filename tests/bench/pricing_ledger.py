"""Reservations and bills of one tenant through the one owner of its account, synced journal.

Ten thousand holds stand all the time. Each pair is a command that holds money and, once that is
answered, one that pays; both concern a budget of the tenant, one of the user, and the alert.
Commands come alone, and as the shards of executions send them: what one turn asks comes together.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count, islice

import msgspec

from bus.jetstream.bus import system_clock
from bus.subjects import mailbox_subject, shard_of
from schemas.journal import CommandEnvelope
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    Charge,
    Party,
    Reference,
    Reserve,
    Settle,
)
from schemas.usage import Usage
from tests.bench.executions import Counter
from tests.bench.fleet import Fleet, fleet
from tests.bench.rows import Row, percentile
from tests.bench.wire import encoded

NAME = "ledger"
SHARDS = 16
TENANT = "local"
HOLDS = 10_000
LIGHT = 200
PAIRS = 20_000
LOADS = ((20, 1), (500, 1), (16, 32))
"""How many messages are under way at once, and of how many commands each."""

MOST_UNDER_WAY = 512
LEAST_PAIRS = 5_000
ANSWERS = "_INBOX.bench.ledger"
BUDGETS = (
    {"id": "tenant", "limit_pico": 10**18, "window": "daily"},
    {"id": "users", "limit_pico": 10**18, "scope": "user", "name": "*", "window": "monthly"},
)
CHARGE = Charge(
    provider="openai",
    model="gpt-4o-mini",
    usage=Usage(input=812, cache_read=2_048, output=164),
    cost_pico=373_800_000,
    book_id="2f0b5e7a9c1d4e63",
    row="openai/gpt-4o-mini",
)


async def measure() -> list[Row]:
    """Measure one caller, then many, then those that ask together."""
    async with fleet(["pricing"]) as running:
        for budget in BUDGETS:
            await running.ask("budgets.set", budget)
        load = Load(running)
        await load.begin()
        rows = [*await load.light()]
        for callers, together in LOADS:
            rows += await load.pairs(callers, together)
        size = running.memory()["pricing"]
        return [*rows, Row(NAME, "memory of the owner (PSS)", size, "MB")]


class Load:
    """Sends commands to the mailbox of the account, and what follows from the answers."""

    def __init__(self, running: Fleet) -> None:
        self._running = running
        self._wire = running.wire
        self._answers = Counter()
        self._names = count(1)
        self._subject = mailbox_subject(ACCOUNT_ENTITY, shard_of(TENANT, ACCOUNT_KEY, SHARDS))

    async def begin(self) -> None:
        """Make the holds that stand."""
        await self._wire.subscribe(ANSWERS, self._take)
        for number in range(HOLDS):
            self._wire.write(self._mailed(self._reserve(self._reference(), f"u{number % 50}")))
            if number % 250 == 249:
                await self._answers.reach(number + 1)

    async def light(self) -> list[Row]:
        """Measure a reservation of one caller, beside nothing else."""
        self._answers.times.clear()
        takes: list[float] = []
        for turn in range(1, LIGHT + 1):
            began = time.perf_counter()
            self._wire.write(self._mailed(self._reserve(self._reference(), "ann")))
            takes.append(await self._answers.reach(turn) - began)
        return [Row(NAME, "one caller, reserve p50", percentile(takes, 0.5) * 1e3, "ms")]

    async def pairs(self, callers: int, together: int) -> list[Row]:
        """Measure pairs of so many callers, each of which sends so many commands at once."""
        answers = self._answers
        answers.times.clear()
        messages = [self._mailed(*some) for some in _batches(self._commands(), together)]
        left = iter(messages)
        answers.then = lambda: self._send(next(left, b""))
        before = self._running.processor_seconds()
        began = time.perf_counter()
        for _ in range(callers):
            self._send(next(left))
        ended = await answers.reach(len(messages))
        answers.then = lambda: None
        after = self._running.processor_seconds()
        used = {who: (after[who] - before[who]) / PAIRS * 1e3 for who in after}
        what = f"reserve + settle, {callers} callers" + f" of {together}" * (together > 1)
        least = LEAST_PAIRS if together > 1 else None
        return [
            Row(NAME, what, PAIRS / (ended - began), "1/s", least=least),
            *(Row(NAME, f"    {who} a pair", each, "ms") for who, each in used.items()),
        ]

    def _take(self, subject: bytes, data: bytes) -> None:
        assert b'"problem"' not in data, data
        self._answers.take(subject, data)

    def _commands(self) -> Iterator[bytes]:
        """Yield each reservation, and its bill when it is answered: so many commands later."""
        held: list[Reference] = []
        for number in range(PAIRS):
            held.append(self._reference())
            yield self._reserve(held[-1], f"u{number % 50}")
            if len(held) > MOST_UNDER_WAY:
                yield self._settle(held.pop(0), "u0")
        for reference in held:
            yield self._settle(reference, "u0")

    def _send(self, command: bytes) -> None:
        if command:
            self._wire.write(command)

    def _reference(self) -> Reference:
        name = f"0190c2a4-8b7e-7f00-a000-{next(self._names):012x}"
        return Reference(execution_id=name, step=1, attempt=1, at=system_clock())

    def _reserve(self, reference: Reference, user: str) -> bytes:
        return _enveloped(
            Reserve(
                reference=reference,
                party=Party(user=user, agent_id="reviewer"),
                amount_pico=1_000_000_000,
                tokens=4_000,
                lease_until=_lease(reference.at),
            )
        )

    def _settle(self, reference: Reference, user: str) -> bytes:
        party = Party(user=user, agent_id="reviewer")
        return _enveloped(
            Settle(reference=reference, party=party, charges=[CHARGE], at=reference.at)
        )

    def _mailed(self, *commands: bytes) -> bytes:
        together = b",".join(commands)
        data = b"[%b]" % together if len(commands) > 1 else together
        return encoded(self._subject, data, ANSWERS)


def _enveloped(body: msgspec.Struct) -> bytes:
    envelope = CommandEnvelope(
        id="", tenant=TENANT, key=ACCOUNT_KEY, body=msgspec.Raw(msgspec.json.encode(body))
    )
    return msgspec.json.encode(envelope)


def _lease(at: datetime) -> datetime:
    return at + timedelta(seconds=360)


def _batches(commands: Iterator[bytes], size: int) -> Iterator[tuple[bytes, ...]]:
    while batch := tuple(islice(commands, size)):
        yield batch
