"""Blobs in memory."""

from hashlib import sha256
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from bus.errors import FullError, problem
from bus.memory.store import moment
from bus.ports import Fill, StoredMessage


class _Put(NamedTuple):
    """When a blob was stored, by the loop's clock."""

    sequence: int
    at: float


class MemoryBlobs:
    """Bytes by their names, of ``most`` bytes in all where that is set."""

    def __init__(self, most: int | None = None) -> None:
        self.kept: dict[str, bytes] = {}
        self.most = most
        self._puts: dict[str, _Put] = {}
        self._ends: dict[str, float] = {}
        self._sequence = 0

    async def put(self, data: bytes, *, under: str = "", ttl: int | None = None) -> str:
        """See ``Blobs.put``."""
        await checkpoint()
        return self.keep(data, under, ttl)

    def keep(self, data: bytes, under: str, ttl: int | None = None) -> str:
        """Store the bytes now. Raises as ``put`` does."""
        digest = sha256(data).hexdigest()
        name = f"{under}.{digest}" if under else digest
        is_new = self.most is not None and name not in self.kept
        if is_new and not self.filled().leaves(len(data), reserve=0):
            raise FullError(name, "maximum bytes exceeded")
        now = anyio.current_time()
        self._sequence += 1
        self._puts[name] = _Put(self._sequence, now)
        self._ends.pop(name, None)
        if ttl is not None:
            self._ends[name] = now + ttl
        self.kept[name] = data
        return name

    async def names(self, under: str) -> list[str]:
        """See ``Blobs.names``."""
        await checkpoint()
        return self.found(under)

    def found(self, under: str) -> list[str]:
        """Return what lies under something now."""
        self._expire()
        return [name for name in self.kept if name.startswith(f"{under}.")]

    async def fill(self) -> Fill:
        """See ``Blobs.fill``."""
        await checkpoint()
        return self.filled()

    def filled(self) -> Fill:
        """Say how full it is now."""
        self._expire()
        return Fill(sum(map(len, self.kept.values())), self.most or 0)

    async def get(self, name: str) -> bytes:
        """See ``Blobs.get``."""
        await checkpoint()
        return self.read(name)

    def read(self, name: str) -> bytes:
        """Return the bytes now. Raises as ``get`` does."""
        self._expire()
        data = self.kept.get(name)
        if data is None or sha256(data).hexdigest() != name.rpartition(".")[2]:
            raise problem("not_found", f"no blob {name}")
        return data

    async def newest(self, name: str) -> StoredMessage | None:
        """See ``Blobs.newest``."""
        await checkpoint()
        return self.last(name)

    def last(self, name: str) -> StoredMessage | None:
        """Say when a blob was stored that is there now."""
        self._expire()
        put = self._puts.get(name)
        return StoredMessage(put.sequence, b"", moment(put.at).isoformat()) if put else None

    async def remove(self, name: str, *, below: int | None = None) -> None:
        """See ``Blobs.remove``."""
        await checkpoint()
        self.forget(name, below)

    def forget(self, name: str, below: int | None = None) -> None:
        """Forget the bytes now."""
        put = self._puts.get(name)
        if put is not None and (below is None or put.sequence < below):
            self._forget(name)

    def _expire(self) -> None:
        now = anyio.current_time()
        for name in [name for name, end in self._ends.items() if end <= now]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        del self._puts[name]
        self._ends.pop(name, None)
        self.kept.pop(name, None)
