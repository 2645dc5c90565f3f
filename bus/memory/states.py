"""States at rest in memory."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from bus.errors import FencedError, UnavailableError
from bus.memory.store import MESSAGE_BYTES, MemoryStore
from bus.ports import Resting, StateWriter
from bus.streams.spec import journal_stream
from bus.subjects import owner_subject

FORGOTTEN_PART = 8
"""One of so many states of ended entities is forgotten at a time, the oldest ones."""

Shard = tuple[str, int]
"""The name of an entity type, and a shard of it."""


class _Owner(NamedTuple):
    epoch: int
    sequence: int


class _Kept(NamedTuple):
    state: Resting
    until: float | None
    after: int


def _size(state: Resting) -> int:
    return len(state.data) + MESSAGE_BYTES


class MemoryStateStore:
    """The states of all shards, and who owns these: what outlives processes.

    They take room in the journals of ``streams``.
    """

    def __init__(self) -> None:
        self.streams = MemoryStore()
        self._sequence = 0
        self._owners: dict[Shard, _Owner] = {}
        self._kept: dict[Shard, dict[tuple[str, str], _Kept]] = defaultdict(dict)

    def own(self, shard: Shard, epoch: int) -> int:
        """Note the owner of a shard and return what its writes are to expect.

        Raises:
            FencedError: the owner of a later epoch has come before.
        """
        known = self._owners.get(shard)
        if known is not None and known.epoch > epoch:
            raise FencedError(owner_subject(*shard), known.sequence)
        self._sequence += 1
        self._owners[shard] = _Owner(epoch, self._sequence)
        return self._sequence

    def write(self, shard: Shard, states: Sequence[Resting], owner: int) -> None:
        """Store states if ``owner`` is the newest of the shard.

        Raises:
            FencedError: it is not.
            UnavailableError: there is no room.
        """
        if self._owners[shard].sequence != owner:
            raise FencedError(owner_subject(*shard), owner)
        stream = journal_stream(shard[0])
        if not self.streams.fill(stream).leaves(sum(map(_size, states)), reserve=0):
            raise UnavailableError(owner_subject(*shard), "maximum bytes exceeded")
        now = anyio.current_time()
        for state in states:
            until = None if state.ttl is None else now + state.ttl
            address = (state.tenant, state.key)
            # As on a stream, what is written again is the newest.
            self._remove(shard, address)
            bare = state._replace(ttl=None, slept=True)
            self._kept[shard][address] = _Kept(bare, until, self.streams.newest(stream))
            self.streams.weigh(stream, _size(state))

    def _remove(self, shard: Shard, address: tuple[str, str]) -> None:
        if (kept := self._kept[shard].pop(address, None)) is not None:
            self.streams.weigh(journal_stream(shard[0]), -_size(kept.state))

    def read(self, shard: Shard, tenant: str, key: str) -> Resting | None:
        """Return the state of an entity, None if there is none any more."""
        kept = self._kept[shard].get((tenant, key))
        if kept is None or (kept.until is not None and kept.until <= anyio.current_time()):
            return None
        return kept.state

    def forget(self, shard: Shard, below: int) -> list[tuple[str, str]]:
        """Remove the oldest states of ended entities stored before ``below``; return whose."""
        kept = self._kept[shard]
        old = [
            address
            for address, each in kept.items()
            if each.until is not None and each.after < below
        ]
        gone = old[: -(-len(old) // FORGOTTEN_PART)]
        for address in gone:
            self._remove(shard, address)
        return gone

    def read_all(self, shard: Shard) -> list[Resting]:
        """Return all states of a shard."""
        found = (self.read(shard, *address) for address in list(self._kept[shard]))
        return [state for state in found if state is not None]


class MemoryStates:
    """See ``States``."""

    def __init__(self, store: MemoryStateStore, entity: str) -> None:
        self._store = store
        self._entity = entity

    async def own(self, shard: int, epoch: int) -> StateWriter:
        """See ``States.own``."""
        await checkpoint()
        sequence = self._store.own((self._entity, shard), epoch)
        return _Writer(self._store, (self._entity, shard), sequence)

    async def read(self, shard: int, tenant: str, key: str) -> Resting | None:
        """See ``States.read``."""
        await checkpoint()
        return self._store.read((self._entity, shard), tenant, key)

    async def forget(self, shard: int, *, below: int) -> bool:
        """See ``States.forget``."""
        await checkpoint()
        return bool(self._store.forget((self._entity, shard), below))

    async def read_all(self, shard: int) -> AsyncIterator[Resting]:
        """See ``States.read_all``."""
        await checkpoint()
        for state in self._store.read_all((self._entity, shard)):
            yield state


class _Writer:
    """See ``StateWriter``."""

    def __init__(self, store: MemoryStateStore, shard: Shard, owner: int) -> None:
        self._store = store
        self._shard = shard
        self._owner = owner

    async def write(self, states: Sequence[Resting]) -> None:
        """See ``StateWriter.write``."""
        await checkpoint()
        self._store.write(self._shard, states, self._owner)
