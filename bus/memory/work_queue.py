"""A work queue in memory."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime

import anyio
from anyio.lowlevel import checkpoint

from bus.config import Timing
from bus.ports import Clock, Ticket

CREDIT_POLL_SECONDS = 0.1
"""How often a consumer without credit is asked again, if no finished ticket tells of it."""


class _Item:
    def __init__(self, data: bytes, stored_at: datetime, life: str | None) -> None:
        self.data = data
        self.stored_at = stored_at
        self.deliveries = 0
        self.life = life


class _Lane:
    """The items of one queue for one tenant: waiting, or handed out with a deadline."""

    def __init__(self) -> None:
        self.ready: deque[_Item] = deque()
        self.taken: dict[_Item, float] = {}

    def take_back_expired(self, now: float) -> None:
        for item in [item for item, deadline in self.taken.items() if deadline <= now]:
            del self.taken[item]
            self.ready.append(item)


class MemoryTicket:
    """An item in somebody's hands. ``finish``, ``release`` and ``extend`` are what a sign does."""

    def __init__(self, queue: "MemoryWorkQueue", lane: _Lane, item: _Item) -> None:
        self._queue = queue
        self._lane = lane
        self._item = item
        self._deliveries = item.deliveries

    @property
    def data(self) -> bytes:
        """See ``Ticket.data``."""
        return self._item.data

    @property
    def deliveries(self) -> int:
        """See ``Ticket.deliveries``."""
        return self._deliveries

    @property
    def life(self) -> str | None:
        """See ``Ticket.life``."""
        return self._item.life

    @property
    def age(self) -> float:
        """See ``Ticket.age``."""
        return self._queue.age(self._item.stored_at)

    async def ack(self) -> None:
        """See ``Ticket.ack``."""
        await checkpoint()
        self.finish()

    async def drop(self, reason: str) -> None:
        """See ``Ticket.drop``."""
        del reason
        await checkpoint()
        self.finish()

    async def nak(self, delay: float) -> None:
        """See ``Ticket.nak``."""
        await checkpoint()
        self.release(delay)

    async def in_progress(self) -> None:
        """See ``Ticket.in_progress``."""
        await checkpoint()
        self.extend()

    def finish(self) -> None:
        """Remove the item for good."""
        self._lane.taken.pop(self._item, None)
        if self._item in self._lane.ready:
            self._lane.ready.remove(self._item)
        self._queue.notify()

    def release(self, delay: float) -> None:
        """Let the item be handed out again after ``delay`` seconds."""
        if self._item.deliveries == self._deliveries and self._item in self._lane.taken:
            self._lane.taken[self._item] = anyio.current_time() + delay
        self._queue.notify()

    def extend(self) -> None:
        """Restart the time after which the item is handed out again."""
        if self._item in self._lane.taken:
            self._lane.taken[self._item] = self._queue.deadline()


class MemoryWorkQueue:
    """Work items by queue and tenant."""

    def __init__(self, clock: Clock, timing: Timing) -> None:
        self._clock = clock
        self._ack_wait = timing.ack_wait_seconds
        self._window = timing.duplicate_window_seconds
        self._lanes: dict[str, dict[str, _Lane]] = {}
        self._seen: dict[tuple[str, str, str], float] = {}
        self._lives = 1
        self._changed = anyio.Event()

    async def send(
        self, queue: str, tenant: str, data: bytes, *, item: str, life: str | None = None
    ) -> bool:
        """See ``WorkQueue.send``."""
        await checkpoint()
        return self.put(queue, tenant, data, item=item, life=life)

    def put(
        self, queue: str, tenant: str, data: bytes, *, item: str, life: str | None = None
    ) -> bool:
        """Store an item unless it repeats one; say whether."""
        if self._repeats((queue, tenant, item)):
            return False
        lane = self._lanes.setdefault(queue, {}).setdefault(tenant, _Lane())
        lane.ready.append(_Item(data, self._clock(), life))
        self.notify()
        return True

    @asynccontextmanager
    async def pull(
        self, queue: str, *, credit: Callable[[str], int]
    ) -> AsyncGenerator[AsyncIterator[tuple[str, Ticket]]]:
        """See ``WorkQueue.pull``. What is neither finished nor kept alive is handed out again."""
        async with aclosing(self._tickets(queue, credit)) as tickets:
            yield tickets

    async def generation(self) -> str:
        """See ``WorkQueue.generation``."""
        await checkpoint()
        return self.life

    @property
    def life(self) -> str:
        """The name of the present life."""
        return str(self._lives)

    def lose_all(self) -> None:
        """Forget all items and begin a new life, as a restarted server does."""
        self._lives += 1
        self._lanes.clear()
        self._seen.clear()
        self.notify()

    def notify(self) -> None:
        """Let the consumers look again."""
        self._changed.set()
        self._changed = anyio.Event()

    def age(self, stored_at: datetime) -> float:
        """Return the seconds since a moment."""
        return (self._clock() - stored_at).total_seconds()

    def deadline(self) -> float:
        """Return when an item that is handed out now is handed out again."""
        return anyio.current_time() + self._ack_wait

    def _repeats(self, item: tuple[str, str, str]) -> bool:
        now = anyio.current_time()
        while self._seen and next(iter(self._seen.values())) < now - self._window:
            del self._seen[next(iter(self._seen))]
        if item in self._seen:
            return True
        self._seen[item] = now
        return False

    async def _tickets(
        self, queue: str, credit: Callable[[str], int]
    ) -> AsyncGenerator[tuple[str, Ticket]]:
        while True:
            changed = self._changed
            found = self._take(queue, credit)
            if found is not None:
                yield found
                continue
            with anyio.move_on_after(self._patience(queue)):
                await changed.wait()

    def _take(self, queue: str, credit: Callable[[str], int]) -> tuple[str, Ticket] | None:
        """Take an item of the tenant whose turn it is, and send that tenant to the end."""
        lanes = self._lanes.get(queue, {})
        now = anyio.current_time()
        for tenant, lane in lanes.items():
            lane.take_back_expired(now)
            if lane.ready and credit(tenant) > 0:
                item = lane.ready.popleft()
                item.deliveries += 1
                lane.taken[item] = self.deadline()
                lanes[tenant] = lanes.pop(tenant)
                return tenant, MemoryTicket(self, lane, item)
        return None

    def _patience(self, queue: str) -> float:
        """Return the seconds until an item can come back by itself, or credit is to be asked."""
        lanes = self._lanes.get(queue, {}).values()
        if any(lane.ready for lane in lanes):
            return CREDIT_POLL_SECONDS
        deadlines = [deadline for lane in lanes for deadline in lane.taken.values()]
        return max(min(deadlines) - anyio.current_time(), 0) if deadlines else self._ack_wait
