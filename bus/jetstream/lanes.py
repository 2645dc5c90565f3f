"""Finding the tenants that have work in a queue, and making their consumers."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import structlog

from bus.codec import decode
from bus.errors import UnavailableError
from bus.jetstream.lane import Lane
from bus.ports import Delivery
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import WORK
from bus.subjects import parse, work_subject
from bus.waiting import loop_time
from schemas.fleet import LaneOpened

log = structlog.get_logger()

LOOK_SECONDS = 2.0
"""How often it is looked for tenants whose first item was not announced to us."""

MAX_AT_ONCE = 16
"""Consumers that are made at once; in a cluster each takes a tenth of a second."""

ABANDONED_SECONDS = 600
"""The server forgets the consumer of a tenant for whom no worker has asked for this long."""

MAX_REQUESTS = 8192
MAX_IN_HANDS = 100_000
"""Requests that stand, and items in the hands of workers, for one tenant of one queue."""

UNLIMITED = -1
NANOSECONDS = 1_000_000_000

WORK_SUBJECT = "_cb.work.{queue}.{tenant}"


async def tenants_with_items(jetstream: JetStream, queue: str) -> set[str]:
    """Return the tenants for whom items are stored.

    Raises:
        UnavailableError: there is no answer, or no such stream at present.
    """
    request, body = f"STREAM.INFO.{WORK}", {"subjects_filter": f"_cb.work.{queue}.*"}
    found: set[str] = set()
    offset = 0
    while True:
        page = await _ask(jetstream, request, {**body, "offset": offset})
        subjects: dict[str, int] = page["state"].get("subjects") or {}
        tokens = [parse(WORK_SUBJECT, subject) for subject in subjects]
        found.update(names["tenant"] for names in tokens if names is not None)
        offset += len(subjects)
        if not subjects or offset >= int(page.get("total", 0)):
            return found


async def tenants_with_consumers(jetstream: JetStream, queue: str) -> set[str]:
    """Return the tenants for whom workers have asked lately. Raises as ``tenants_with_items``."""
    found: set[str] = set()
    offset = 0
    while True:
        page = await _ask(jetstream, f"CONSUMER.NAMES.{WORK}", {"offset": offset})
        names: list[str] = page.get("consumers") or []
        found.update(name.partition(":")[2] for name in names if name.startswith(f"{queue}:"))
        offset += len(names)
        if not names or offset >= int(page.get("total", 0)):
            return found


async def provide_consumer(
    jetstream: JetStream, queue: str, lane: Lane, ack_wait_seconds: float
) -> None:
    """Make the consumer of a lane, or find that it is there. Raises as ``tenants_with_items``."""
    subject = work_subject(queue, lane.tenant)
    config = {
        "durable_name": lane.consumer,
        "filter_subject": subject,
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": "explicit",
        "ack_wait": round(ack_wait_seconds * NANOSECONDS),
        "max_deliver": UNLIMITED,
        "max_ack_pending": MAX_IN_HANDS,
        "max_waiting": MAX_REQUESTS,
        "mem_storage": True,
        "inactive_threshold": ABANDONED_SECONDS * NANOSECONDS,
    }
    request = f"CONSUMER.CREATE.{WORK}.{lane.consumer}.{subject}"
    await _ask(jetstream, request, {"stream_name": WORK, "config": config})


async def _ask(jetstream: JetStream, request: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        return await jetstream.call(request, body)
    except JetStreamError as error:
        raise UnavailableError(WORK, error.description) from None


class Lanes:
    """The lanes of one queue that a worker knows. Calls ``opened`` when one can be asked."""

    def __init__(
        self,
        queue: str,
        jetstream: JetStream,
        ack_wait_seconds: float,
        opened: Callable[[Lane], None],
    ) -> None:
        self._queue = queue
        self._jetstream = jetstream
        self._ack_wait = ack_wait_seconds
        self._opened = opened
        self._lanes: dict[str, Lane] = {}
        self._look = anyio.Event()

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def __len__(self) -> int:
        return len(self._lanes)

    def get(self, tenant: str) -> Lane | None:
        """Return the lane of a tenant."""
        return self._lanes.get(tenant)

    async def keep_looking(self) -> None:
        """Look for tenants we do not know, and make the consumers that are missing."""
        await self._try(self._find_all)
        while True:
            await self._try(self._find_those_with_items)
            await self._provide_consumers()
            with anyio.move_on_after(LOOK_SECONDS):
                await self._look.wait()
            self._look = anyio.Event()

    async def announced(self, delivery: Delivery) -> None:
        """Take the news that a tenant has work."""
        opened = decode(LaneOpened, delivery.data)
        if opened.queue == self._queue and self._touch(opened.tenant):
            self._look.set()

    def forget_idle(self, now: float) -> None:
        """Forget the lanes of tenants without work, so that they cost nothing."""
        for lane in [lane for lane in self if lane.is_forgotten(now)]:
            del self._lanes[lane.tenant]

    def closed(self, lane: Lane) -> None:
        """Note that the server has no consumer for a lane, so that it is made again."""
        lane.recall()
        lane.ready = False
        self._look.set()

    async def begin_anew(self) -> None:
        """Provide all consumers again: the server may have forgotten everything."""
        for lane in self._lanes.values():
            self.closed(lane)

    async def _find_all(self) -> None:
        self._add(await tenants_with_consumers(self._jetstream, self._queue))

    async def _find_those_with_items(self) -> None:
        self._add(await tenants_with_items(self._jetstream, self._queue))

    def _add(self, tenants: set[str]) -> None:
        for tenant in tenants:
            self._touch(tenant)

    def _touch(self, tenant: str) -> bool:
        """Note that a tenant has work; say whether its lane is a new one."""
        lane = self._lanes.get(tenant)
        is_new = lane is None
        if lane is None:
            lane = self._lanes[tenant] = Lane(self._queue, tenant)
        lane.touch(loop_time())
        return is_new

    async def _provide_consumers(self) -> None:
        limit = anyio.CapacityLimiter(MAX_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for lane in [lane for lane in self if not lane.ready]:
                tasks.start_soon(self._provide, lane, limit)

    async def _provide(self, lane: Lane, limit: anyio.CapacityLimiter) -> None:
        async with limit:
            await self._try(partial(self._provide_one, lane))

    async def _provide_one(self, lane: Lane) -> None:
        await provide_consumer(self._jetstream, self._queue, lane, self._ack_wait)
        lane.ready = True
        self._opened(lane)

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step that is taken again soon if the bus does not answer."""
        try:
            await step()
        except UnavailableError as error:
            log.info("work.lanes_unknown", queue=self._queue, reason=error.reason)
