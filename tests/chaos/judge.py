"""Judging each execution by the journal, its record, its stored stream and what clients saw."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import anyio
import msgspec

from actors.agents.config import AgentsConfig
from bus.codec import decode
from bus.jetstream import NatsBus
from bus.subjects import journal_subject
from schemas.assembly import Assembly
from schemas.executions import ENDED, ExecuteAgent, ExecutionRecord, GetExecution
from schemas.journal import Commit
from tests.chaos.clients import ChaosClient
from tests.chaos.ledger import Account, Ledger

AT_ONCE = 20
END_SECONDS, LOOK_SECONDS = 60.0, 1.0
REPEATS = 50
ENDS = ("completed", "failed", "cancelled", "timed_out")


class _Tag(msgspec.Struct):
    type: str


@dataclass(slots=True)
class Verdict:
    """What is wrong, by kind, each with the execution it concerns.

    ``thinned`` are stored streams that lack text although their end has it: these streams are
    synced lazily, so that a server whose disk is full loses what it has acknowledged, and a worker
    that dies before the server is back cannot publish it again.
    """

    executions: int = 0
    failed: int = 0
    attempts: Counter[int] = field(default_factory=Counter[int])
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    mismatched: list[str] = field(default_factory=list[str])
    thinned: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.mismatched or self.faults)


async def journalled(bus: NatsBus) -> dict[str, Counter[str]]:
    """Return how often the journal holds each type of event, by execution."""
    journal, found = bus.journal("execution"), dict[str, Counter[str]]()
    for shard in range(AgentsConfig().shards):
        async for stored in journal.read(journal_subject("execution", shard), start=1):
            for entry in decode(Commit, stored.data).entries:
                types = [decode(_Tag, event).type for event in entry.events]
                found.setdefault(entry.key, Counter()).update(types)
    return found


async def _ended(bus: NatsBus) -> dict[str, Counter[str]]:
    """Return what is journalled when all executions have ended.

    Some may still run: those whose acceptance no client heard of, so that it asked for another.
    """
    with anyio.move_on_after(END_SECONDS):
        while not all(_ends(kinds) for kinds in (await journalled(bus)).values()):
            await anyio.sleep(LOOK_SECONDS)
    return await journalled(bus)


def _ends(events: Counter[str]) -> int:
    return sum(events[kind] for kind in ENDS)


async def judge(
    bus: NatsBus, client: ChaosClient, ledger: Ledger, given: dict[str, ExecuteAgent]
) -> Verdict:
    """Judge all executions that a client or the journal knows."""
    verdict = Verdict(faults=list(ledger.faults))
    await _ask_again(client, list(given.values())[-REPEATS:])
    events = await _ended(bus)
    ids = sorted(events.keys() | ledger.accepted_ids())
    verdict.executions = len(ids)
    limiter = anyio.CapacityLimiter(AT_ONCE)
    async with anyio.create_task_group() as tasks:
        for execution in ids:
            tasks.start_soon(_judge_one, limiter, client, ledger, execution, events, verdict)
    verdict.lost.extend(
        f"{execution}: no client saw its end"
        for execution in ledger.accepted_ids() - ledger.ended_ids()
    )
    return verdict


async def _ask_again(client: ChaosClient, wanted: Iterable[ExecuteAgent]) -> None:
    """Ask for executions that have ended: the journal must know of one run each afterwards."""
    async with anyio.create_task_group() as tasks:
        for request in wanted:
            tasks.start_soon(client.execute, request)


async def _judge_one(
    limiter: anyio.CapacityLimiter,
    client: ChaosClient,
    ledger: Ledger,
    execution: str,
    events: dict[str, Counter[str]],
    verdict: Verdict,
) -> None:
    async with limiter:
        record: ExecutionRecord = await client.ask(GetExecution(execution_id=execution))
        late = await client.stored(execution)
    account = ledger.account(execution, record.agent_id or "")
    verdict.attempts[record.attempts] += 1
    verdict.failed += record.status != "COMPLETED"
    verdict.faults.extend(f"{execution}: {fault}" for fault in account.faults)
    _judge_ends(execution, record, account, events.get(execution, Counter()), verdict)
    if record.status == "COMPLETED":
        _judge_stored(execution, record, late, verdict)
        verdict.mismatched.extend(
            f"{execution}: {reader} has {len(text)} of {len(record.output or '')} characters"
            for reader, text in account.texts
            if text != record.output
        )


def _judge_stored(
    execution: str, record: ExecutionRecord, late: Assembly, verdict: Verdict
) -> None:
    told = f"{execution}: late reader has {len(late.text)} of {len(record.output or '')} characters"
    end = getattr(late.terminal, "final_response", None)
    if end != record.output:
        verdict.mismatched.append(f"{told}, and not its end")
    elif late.text != record.output:
        verdict.thinned.append(told)


def _judge_ends(
    execution: str,
    record: ExecutionRecord,
    account: Account,
    events: Counter[str],
    verdict: Verdict,
) -> None:
    ends = _ends(events)
    if not events or not ends or record.status not in ENDED or not account.ends:
        verdict.lost.append(
            f"{execution}: {record.status}, {ends} ends journalled, seen {account.ends}"
        )
        return
    last = max(account.ends)
    if ends > 1 or events["accepted"] != 1 or len(account.ends) > 1:
        verdict.doubled.append(f"{execution}: journal {dict(events)}, seen {account.ends}")
    if events["generation_finished"] > 1 or max(account.places) != last:
        verdict.doubled.append(
            f"{execution}: generated again, {dict(events)}, {max(account.places)}"
        )
    if record.status == "COMPLETED" and max(account.contents) != last[0] - 1:
        verdict.doubled.append(f"{execution}: text in {account.contents}, its end in {last}")
