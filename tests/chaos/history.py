"""What the journal holds of each execution, read as it grows."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import anyio
import msgspec

from actors.agents.config import AgentsConfig
from bus.codec import decode
from bus.jetstream import NatsBus
from bus.shard.report import owned_shards
from bus.subjects import journal_subject
from schemas.journal import Commit

ENTITY = "execution"
ENDS = ("completed", "failed", "cancelled", "timed_out")
READY_SECONDS, LOOK_SECONDS = 60.0, 0.1


class _Event(msgspec.Struct):
    type: str
    at: datetime | None = None


@dataclass(slots=True)
class Past:
    """How often each type of event was journalled, and how many attempts before the answer was.

    ``finished_at`` is the moment at which the owner took the answer, by the time of day.
    """

    kinds: Counter[str] = field(default_factory=Counter[str])
    attempts: int = 0
    late_attempts: int = 0
    finished_at: float | None = None

    @property
    def ends(self) -> int:
        """How often it has ended."""
        return sum(self.kinds[kind] for kind in ENDS)

    def add(self, event: _Event) -> None:
        """Take in the next event."""
        self.kinds[event.type] += 1
        if event.type == "attempt_started":
            self.attempts += 1
            self.late_attempts += self.finished_at is not None or self.ends > 0
        elif event.type == "generation_finished" and event.at is not None:
            self.finished_at = self.finished_at or event.at.timestamp()


class History:
    """All executions that are in the journal. ``read`` goes on where it had come to."""

    def __init__(self, bus: NatsBus) -> None:
        self.pasts: dict[str, Past] = {}
        self._bus = bus
        self._journal = bus.journal(ENTITY)
        self._next = dict.fromkeys(range(AgentsConfig().shards), 1)

    async def readable(self) -> None:
        """Wait until the journal is shown as far as its owners have written it.

        A server that was cut off may still answer for a moment as the leader that it was.

        Raises:
            TimeoutError: it is not.
        """
        with anyio.fail_after(READY_SECONDS):
            for answer in await owned_shards(self._bus.transport, seconds=1.0):
                for owned in answer.owned if answer.entity == ENTITY else ():
                    subject = journal_subject(ENTITY, owned.shard)
                    while not await self._shows(subject, owned.commit):
                        await anyio.sleep(LOOK_SECONDS)

    async def _shows(self, subject: str, commit: int) -> bool:
        newest = await self._journal.last(subject)
        return commit == 0 or (newest is not None and decode(Commit, newest.data).n >= commit)

    async def read(self) -> None:
        """Read what has been added."""
        for shard in self._next:
            subject = journal_subject(ENTITY, shard)
            async for stored in self._journal.read(subject, start=self._next[shard]):
                self._next[shard] = stored.sequence + 1
                for entry in decode(Commit, stored.data).entries:
                    past = self.pasts.setdefault(entry.key, Past())
                    for event in entry.events:
                        past.add(decode(_Event, event))

    @property
    def running(self) -> bool:
        """Whether some execution has not ended."""
        return not all(past.ends for past in self.pasts.values())
