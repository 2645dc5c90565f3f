"""The bus as a simulated process sees it: every call is a message there and a message back.

Either may be late or lost. A request that is on its way still reaches the bus when its caller has
died, stands still or has given it up.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

from bus.config import Timing
from bus.errors import CallboardError, UnavailableError
from bus.kv import BucketEntry, MemoryBucket
from bus.memory import MemoryBus, MemoryOutbox
from bus.memory.states import MemoryStateStore
from bus.ports import Bus, Fill, Journal, Resting, StateWriter, StoredMessage
from bus.streams.spec import ARCHIVE, RECORDS, journal_spec
from schemas.terms import Terms
from tests.simulation.judge import Judge
from tests.simulation.site import LONGEST_PAUSE, Site

T = TypeVar("T")

PATIENCE = 0.5
"""Seconds after which a call that was not answered is given up."""


def process_bus(site: Site, world: MemoryBus, timing: Timing) -> Bus:
    """Return all that a process needs of the bus, with everything that can go wrong."""

    def journal(entity: str) -> Journal:
        spec = journal_spec(entity, timing)
        world.store.provide(spec)
        return SiteJournal(site, world, spec.name)

    return Bus(
        transport=site.transport,
        outbox=MemoryOutbox(site.transport, timing),
        blobs=SiteBlobs(site, world),
        clock=site.clock,
        journal=journal,
        states=lambda entity: SiteStates(site, world, entity),
        feed=world.feed,
        records=SiteJournal(site, world, RECORDS),
        archive=SiteJournal(site, world, ARCHIVE),
        erase=lambda left: call(site, f"erase {left.subject}", lambda: world.store.erase(left)),
    )


async def call(site: Site, what: str, do: Callable[[], T]) -> T:
    """Let the bus do something, and return its answer.

    Raises:
        UnavailableError: no answer; it may be done, or be done later.
    """
    chance, rates, loop = site.chance, site.rates, asyncio.get_running_loop()
    kind = f"{site.slot} {what}"
    is_lost = site.transport.is_lost or chance.befalls(f"{kind}: request lost", rates.request_lost)
    is_late = chance.befalls(f"{kind}: late", rates.call_late)
    is_unheard = chance.befalls(f"{kind}: answer lost", rates.answer_lost)
    incarnation = site.bus_life()
    answer: asyncio.Future[Callable[[], T]] = loop.create_future()

    def settle(outcome: Callable[[], T]) -> None:
        if not answer.done():
            answer.set_result(outcome)

    def reach() -> None:
        if site.bus_life() != incarnation:
            return
        outcome = _done(do)
        site.trace.note(site.name, f"{what}, {'unheard' if is_unheard else 'done'}")
        _stop_in_call(site, kind)
        if not is_unheard:
            settle(outcome)

    if not is_lost:
        there = chance.between(f"{kind}: late", 0.0, 2 * PATIENCE if is_late else 0.002)
        loop.call_later(there, reach, context=site.world.copy())
    if not site.chance.is_quiet:
        loop.call_later(PATIENCE, settle, _unanswered(what), context=site.world.copy())
    return (await answer)()


def _done(do: Callable[[], T]) -> Callable[[], T]:
    try:
        result = do()
    except CallboardError as error:
        return _raising(error)
    return lambda: result


def _raising(error: CallboardError) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


def _unanswered(what: str) -> Callable[[], Any]:
    return _raising(UnavailableError(what, "no answer"))


def _stop_in_call(site: Site, kind: str) -> None:
    """Kill the caller, or let it stand still, when what it asked for is done but not known."""
    if site.is_mortal and site.chance.befalls(f"{kind}: stopped", site.rates.stopped_in_call):
        seconds = site.chance.between(f"{kind}: stopped", -1.0, LONGEST_PAUSE)
        if seconds < 0:
            site.kill()
        else:
            site.pause(seconds)


class SiteJournal:
    """See ``Journal``."""

    def __init__(self, site: Site, world: MemoryBus, stream: str) -> None:
        self._site = site
        self._store = world.store
        self._stream = stream

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        return await call(
            self._site,
            f"append to {subject} after {expected}",
            lambda: self._store.append(self._stream, subject, data, expected),
        )

    async def last(self, subject: str) -> StoredMessage | None:
        return await call(
            self._site, f"last of {subject}", lambda: self._store.last(self._stream, subject)
        )

    async def first(self, subject: str, *, since: datetime | None = None) -> StoredMessage | None:
        return await call(
            self._site,
            f"first of {subject}",
            lambda: self._store.first(self._stream, subject, since),
        )

    async def fill(self) -> Fill:
        return await call(
            self._site, f"room in {self._stream}", lambda: self._store.fill(self._stream)
        )

    async def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        page = await call(
            self._site,
            f"read {subject} from {start}",
            lambda: list(self._store.read(self._stream, subject, start)),
        )
        for stored in page:
            yield stored

    async def purge(self, subject: str, *, below: int) -> None:
        await call(
            self._site,
            f"purge {subject} below {below}",
            lambda: self._store.purge(self._stream, subject, below),
        )


class SiteStates:
    """See ``States``."""

    def __init__(self, site: Site, world: MemoryBus, entity: str) -> None:
        self._site = site
        self._store = world.states
        self._entity = entity

    async def own(self, shard: int, epoch: int) -> StateWriter:
        place = (self._entity, shard)
        owner = await call(
            self._site,
            f"own the states of {self._entity}.{shard} in epoch {epoch}",
            lambda: self._store.own(place, epoch),
        )
        return SiteStateWriter(self._site, self._store, place, owner)

    async def read(self, shard: int, tenant: str, key: str) -> Resting | None:
        return await call(
            self._site,
            f"read the state of {self._entity} {key}",
            lambda: self._store.read((self._entity, shard), tenant, key),
        )

    async def forget(self, shard: int, *, below: int) -> bool:
        gone = await call(
            self._site,
            f"forget ended states of {self._entity}.{shard} below {below}",
            lambda: self._store.forget((self._entity, shard), below),
        )
        return bool(gone)

    async def read_all(self, shard: int) -> AsyncIterator[Resting]:
        found = await call(
            self._site,
            f"list the states of {self._entity}.{shard}",
            lambda: self._store.read_all((self._entity, shard)),
        )
        for state in found:
            yield state


class SiteStateWriter:
    """See ``StateWriter``."""

    def __init__(
        self, site: Site, store: MemoryStateStore, shard: tuple[str, int], owner: int
    ) -> None:
        self._site = site
        self._store = store
        self._shard = shard
        self._owner = owner

    async def write(self, states: Sequence[Resting]) -> None:
        entity, shard = self._shard
        await call(
            self._site,
            f"write {len(states)} states of {entity}.{shard}",
            lambda: self._store.write(self._shard, states, self._owner),
        )


class SiteBlobs:
    """See ``Blobs``."""

    def __init__(self, site: Site, world: MemoryBus) -> None:
        self._site = site
        self._blobs = world.blobs

    async def put(self, data: bytes, *, under: str = "", ttl: int | None = None) -> str:
        return await call(self._site, "put a blob", lambda: self._blobs.keep(data, under, ttl))

    async def names(self, under: str) -> list[str]:
        return await call(self._site, "names of blobs", lambda: self._blobs.found(under))

    async def fill(self) -> Fill:
        return await call(self._site, "room for blobs", self._blobs.filled)

    async def get(self, name: str) -> bytes:
        return await call(self._site, "get a blob", lambda: self._blobs.read(name))

    async def newest(self, name: str) -> StoredMessage | None:
        return await call(self._site, "age of a blob", lambda: self._blobs.last(name))

    async def remove(self, name: str, *, below: int | None = None) -> None:
        await call(self._site, "remove a blob", lambda: self._blobs.forget(name, below))


class SiteBucket(MemoryBucket[Terms]):
    """See ``Bucket``: that of terms, as ``shared`` by all processes."""

    def __init__(self, site: Site, shared: MemoryBucket[Terms], judge: Judge) -> None:
        super().__init__(Terms)
        self._site = site
        self._shared = shared
        self._judge = judge

    async def get(self, key: str) -> BucketEntry[Terms] | None:
        return await call(self._site, f"get {key}", lambda: _at_once(self._shared.get(key)))

    async def put(self, key: str, value: Terms, *, expected: int) -> int:
        def write() -> int:
            before = _at_once(self._shared.get(key))
            revision = _at_once(self._shared.put(key, value, expected=expected))
            self._judge.termed(before.value if before else None, value)
            return revision

        return await call(self._site, f"put {key} {value.revision}", write)


def _at_once(steps: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing."""
    try:
        steps.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
