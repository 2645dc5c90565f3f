"""Who is alive, and who should own which shard.

This is for efficiency only: two processes that disagree are kept apart by the fence of the journal.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2b

import anyio
import msgspec

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError, UnavailableError
from bus.ports import Delivery, Transport
from schemas.fleet import FAREWELL_SUBJECT, HEARTBEAT_SUBJECT, WHO_SUBJECT, Alive, Gone


def rendezvous(processes: Iterable[str], shard: str) -> str | None:
    """Return the process that should own a shard: the highest hash of the pair wins.

    When a process comes or goes, only the shards it wins or held change hands.
    """
    return max(processes, key=lambda process: _weight(process, shard), default=None)


def _weight(process: str, shard: str) -> bytes:
    return blake2b(f"{process}/{shard}".encode(), digest_size=8).digest()


class Membership:
    """Announces this process and listens for the others."""

    def __init__(self, transport: Transport, alive: Callable[[], Alive], timing: Timing) -> None:
        self._transport = transport
        self._alive = alive
        self._timing = timing
        self._seen: dict[str, tuple[float, Alive]] = {}
        self._refused: set[str] = set()
        self._retired: set[str] = set()
        self._leaving = False
        self._process = alive().process
        self.changed = anyio.Event()

    async def run(self) -> None:
        """Send heartbeats and keep the list of members until cancelled."""
        async with (
            self._transport.subscription(HEARTBEAT_SUBJECT, self._heard),
            self._transport.subscription(FAREWELL_SUBJECT, self._left),
            self._transport.subscription(WHO_SUBJECT, self._answer),
        ):
            while True:
                await self._beat()
                await anyio.sleep(self._timing.heartbeat_seconds)
                self._forget_silent()

    def owners(self, entity: str) -> list[str]:
        """Return the live processes that can own shards of an entity, this one included."""
        return [process for process, (_, alive) in self._seen.items() if entity in alive.entities]

    def refuses(self, process: str, shard: str) -> bool:
        """Say whether a process has found that it cannot serve a shard."""
        if self._is_me(process):
            return shard in self._refused
        known = self._seen.get(process)
        return known is not None and shard in known[1].refused

    def refuse(self, shard: str) -> None:
        """Leave a shard to others, by the next heartbeat."""
        self._refused.add(shard)
        self._notify()

    def readmit(self, shard: str) -> None:
        """Be ready for a shard again."""
        self._refused.discard(shard)
        self._notify()

    async def retire(self, entity: str) -> None:
        """Say from now on that shards of an entity are for others; the process itself lives on."""
        self._retired.add(entity)
        await self._beat()

    @property
    def is_deaf(self) -> bool:
        """Whether we do not even hear ourselves, so that nobody's silence means anything."""
        mine = self._seen.get(self._process)
        late = 2 * self._timing.heartbeat_seconds
        return mine is None or anyio.current_time() - mine[0] > late

    def members(self) -> list[Alive]:
        """Return the newest heartbeat of every live process."""
        return [alive for _, alive in self._seen.values()]

    async def leave(self) -> None:
        """Say goodbye, so that the others need not wait for the silence."""
        self._leaving = True
        await self._transport.publish(FAREWELL_SUBJECT, encode(Gone(process=self._process)))

    async def _beat(self) -> None:
        if not self._leaving:
            await self._say(HEARTBEAT_SUBJECT)

    async def _answer(self, delivery: Delivery) -> None:
        """Answer whoever counts the processes, also on the way out."""
        await self._say(delivery.reply)

    async def _say(self, subject: str) -> None:
        alive = self._alive()
        if self._refused or self._retired:
            entities = [each for each in alive.entities if each not in self._retired]
            refused = sorted(self._refused)
            alive = msgspec.structs.replace(alive, entities=entities, refused=refused)
        with suppress(UnavailableError):
            await self._transport.publish(subject, encode(alive))

    async def _heard(self, delivery: Delivery) -> None:
        try:
            alive = decode(Alive, delivery.data)
        except ProblemError:
            return
        now = anyio.current_time()
        heard = self._seen.get(alive.process)
        if heard is not None and self._is_gone(heard[0], now) and self._is_me(alive.process):
            self._seen = {name: (now, known) for name, (_, known) in self._seen.items()}
        self._seen[alive.process] = (now, alive)
        if heard is None or _owns(heard[1]) != _owns(alive):
            self._notify()

    async def _left(self, delivery: Delivery) -> None:
        try:
            gone = decode(Gone, delivery.data)
        except ProblemError:
            return
        if self._seen.pop(gone.process, None) is not None:
            self._notify()

    def _forget_silent(self) -> None:
        """Forget who fell silent.

        Nobody while we do not hear ourselves, for then the bus is away.
        """
        now = anyio.current_time()
        silent = [name for name, (heard, _) in self._seen.items() if self._is_gone(heard, now)]
        if any(self._is_me(process) for process in silent):
            return
        for process in silent:
            del self._seen[process]
        if silent:
            self._notify()

    def _is_gone(self, heard: float, now: float) -> bool:
        return now - heard > self._timing.member_gone_seconds

    def _is_me(self, process: str) -> bool:
        return process == self._process

    def _notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


def _owns(alive: Alive) -> tuple[list[str], list[str]]:
    """Return what of a heartbeat says which shards a process may own."""
    return alive.entities, alive.refused
