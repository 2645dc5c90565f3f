"""Judging each execution: by journal, record, stored stream, bill, clients and provider."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import anyio

from bus.jetstream import NatsBus
from schemas.assembly import Assembly
from schemas.executions import ENDED, ExecuteAgent, ExecutionRecord, GetExecution
from tests.chaos.bills import Bills
from tests.chaos.calls import Calls
from tests.chaos.clients import ChaosClient
from tests.chaos.faults import Woken
from tests.chaos.history import History, Past
from tests.chaos.ledger import Account, Ledger
from tests.chaos.load import WRITTEN_DOWN
from tests.chaos.patience import patiently
from tests.chaos.provider import Call, read_calls

AT_ONCE = 20
END_SECONDS, LOOK_SECONDS = 60.0, 1.0
REPEATS = 50


@dataclass(slots=True)
class Verdict:
    """What is wrong, by kind, each with the execution it concerns.

    ``thinned`` are stored streams that lack text although their end has it: these streams are
    synced lazily, so that a server whose disk is full loses what it has acknowledged, and a worker
    that dies before the server is back cannot publish it again. ``may_be_thinned`` says that this
    may have been so. ``surprises`` are what else must not have happened.
    """

    executions: int = 0
    failed: int = 0
    attempts: Counter[int] = field(default_factory=Counter[int])
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    mismatched: list[str] = field(default_factory=list[str])
    thinned: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])
    surprises: list[str] = field(default_factory=list[str])
    may_be_thinned: bool = False
    calls: Calls = field(default_factory=Calls)
    billed: int = 0
    misbilled: list[str] = field(default_factory=list[str])

    @property
    def wrong(self) -> list[str]:
        """Every promise that was not kept."""
        thinned = [] if self.may_be_thinned else self.thinned
        found = (
            self.calls.wrong,
            self.misbilled,
            self.lost,
            self.doubled,
            self.mismatched,
            thinned,
        )
        return [*chain(*found), *self.faults, *self.surprises]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong


class Judge:
    """Judges what has ended since it judged last, and remembers its verdict."""

    def __init__(self, bus: NatsBus, client: ChaosClient, ledger: Ledger, calls_file: Path) -> None:
        self.verdict = Verdict()
        self._history = History(bus)
        self._bills = Bills(bus)
        self._to_be_billed: list[ExecutionRecord] = []
        self._client = client
        self._ledger = ledger
        self._calls_file = calls_file
        self._judged: set[str] = set()

    async def judge(self, given: Iterable[ExecuteAgent], woken: Sequence[Woken]) -> None:
        """Judge all executions that a client or the journal knows and that were not judged yet.

        ``woken`` says when processes went on that stood still.
        """
        await self._ask_again(list(given)[-REPEATS:])
        await patiently(self._history.readable)
        await self._until_all_have_ended()
        calls = read_calls(self._calls_file)
        ids = sorted((self._history.pasts.keys() | self._ledger.accepted_ids()) - self._judged)
        limiter = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for execution in ids:
                asked = calls.get(execution, ())
                tasks.start_soon(self._judge_one, limiter, execution, asked, woken)
        self.verdict.misbilled += await self._bills.wrong(self._to_be_billed)
        self.verdict.billed += len(self._to_be_billed)
        self._to_be_billed.clear()
        self.verdict.executions += len(ids)
        self._judged.update(ids)
        self._judge_as_a_whole(calls.keys())

    async def _ask_again(self, wanted: Iterable[ExecuteAgent]) -> None:
        """Ask for executions that have ended: the journal must know of one run each afterwards."""
        async with anyio.create_task_group() as tasks:
            for request in wanted:
                tasks.start_soon(self._client.execute, request)

    async def _until_all_have_ended(self) -> None:
        """Read the journal until all have ended.

        Some may still run: those whose acceptance no client heard of, so that it asked for another.
        """
        await patiently(self._history.read)
        with anyio.move_on_after(END_SECONDS):
            while self._history.running:
                await anyio.sleep(LOOK_SECONDS)
                await patiently(self._history.read)

    async def _judge_one(
        self,
        limiter: anyio.CapacityLimiter,
        execution: str,
        calls: Sequence[Call],
        woken: Sequence[Woken],
    ) -> None:
        async with limiter:
            record: ExecutionRecord = await self._client.ask(GetExecution(execution_id=execution))
            late = await self._client.stored(execution)
        verdict, past = self.verdict, self._history.pasts.get(execution, Past())
        account = self._ledger.account(execution, record.agent_id or "")
        verdict.attempts[record.attempts] += 1
        verdict.failed += record.status != "COMPLETED"
        verdict.faults.extend(f"{execution}: {fault}" for fault in account.faults)
        _judge_ends(execution, record, account, past, verdict)
        if record.agent_id == WRITTEN_DOWN:
            verdict.calls.judge(record, past, calls, woken)
            if record.status == "COMPLETED":
                self._to_be_billed.append(record)
        if record.status == "COMPLETED":
            _judge_stored(execution, record, late, verdict)
            verdict.mismatched.extend(
                f"{execution}: {reader} has {len(text)} of {len(record.output or '')} characters"
                for reader, text in account.texts
                if text != record.output
            )
        account.forget()

    def _judge_as_a_whole(self, called: Iterable[str]) -> None:
        """Judge what belongs to no execution, and what became of those judged before."""
        verdict, pasts = self.verdict, self._history.pasts
        verdict.faults.extend(self._ledger.faults)
        self._ledger.faults.clear()
        found = [
            *(f"{name}: no client saw its end" for name in self._ledger.never_ended()),
            *(f"{name}: asked for, and not journalled" for name in called if name not in pasts),
        ]
        verdict.lost.extend(line for line in found if line not in verdict.lost)
        doubled = [f"{name}: {past.ends} ends" for name, past in pasts.items() if past.ends > 1]
        verdict.doubled.extend(line for line in doubled if line not in verdict.doubled)


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
    past: Past,
    verdict: Verdict,
) -> None:
    events, ends = past.kinds, past.ends
    if not ends or record.status not in ENDED or not account.ends:
        verdict.lost.append(
            f"{execution}: {record.status}, {ends} ends journalled, seen {account.ends}"
        )
        return
    last = max(account.ends)
    if events["accepted"] != 1 or len(account.ends) > 1:
        verdict.doubled.append(f"{execution}: journal {dict(events)}, seen {account.ends}")
    if events["generation_finished"] > 1 or max(account.places) != last:
        verdict.doubled.append(
            f"{execution}: generated again, {dict(events)}, {max(account.places)}"
        )
    if record.status == "COMPLETED" and max(account.contents) != last[0] - 1:
        verdict.doubled.append(f"{execution}: text in {account.contents}, its end in {last}")
