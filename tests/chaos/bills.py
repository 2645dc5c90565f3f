"""Judging by the account's journal: has each execution been billed for what it used, and once?"""

from collections import defaultdict
from collections.abc import Iterable

import anyio
import msgspec

from actors.agents.config import AgentsConfig
from bus.archive import archive_of
from bus.codec import decode
from bus.jetstream import NatsBus
from bus.subjects import shard_of
from schemas.executions import ExecutionRecord
from schemas.ledger import ACCOUNT_ENTITY, ACCOUNT_KEY, Charged
from tests.chaos.patience import patiently

TENANT = "local"
BOOKED_SECONDS, LOOK_SECONDS = 60.0, 0.5
"""Bills are sent after the end, and the account may just be changing hands."""


class _Event(msgspec.Struct):
    type: str


class Bills:
    """All that was booked for executions, read as the account's journal grows."""

    def __init__(self, bus: NatsBus) -> None:
        self._shard = shard_of(TENANT, ACCOUNT_KEY, AgentsConfig().shards)
        self._archive = archive_of(bus, ACCOUNT_ENTITY)
        self._known = 0
        self._booked: defaultdict[str, list[Charged]] = defaultdict(list)

    async def wrong(self, records: Iterable[ExecutionRecord]) -> list[str]:
        """Return what is wrong with the bills of executions, once all that comes has come."""
        waiting = list(records)
        with anyio.move_on_after(BOOKED_SECONDS):
            while waiting:
                await patiently(self._read)
                waiting = [record for record in waiting if self._fault(record)]
                await anyio.sleep(LOOK_SECONDS)
        return [f"{record.execution_id}: {self._fault(record)}" for record in waiting]

    async def _read(self) -> None:
        async for one in self._archive.commits(self._shard, after=self._known):
            self._known = one.n
            for entry in one.found.commit.entries if one.found.commit else ():
                for event in entry.events:
                    if decode(_Event, event).type == "charged":
                        charged = decode(Charged, event)
                        self._booked[charged.reference.execution_id].append(charged)

    def _fault(self, record: ExecutionRecord) -> str:
        booked = self._booked[record.execution_id]
        names = {(each.reference.step, each.reference.attempt) for each in booked}
        tokens = sum(each.tokens for each in booked)
        if len(names) < len(booked):
            return f"{len(booked)} bills for {len(names)} attempts"
        if sum(each.completed for each in booked) != 1:
            return f"{len(booked)} bills, and the one of its answer not once"
        used = record.tokens_used or 0
        return f"{tokens} tokens billed of {used} used" if tokens != used else ""
