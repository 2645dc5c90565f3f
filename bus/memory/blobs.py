"""Blobs in memory."""

from hashlib import sha256

from anyio.lowlevel import checkpoint

from bus.errors import FullError, problem
from bus.ports import Fill


class MemoryBlobs:
    """Bytes by their names, of ``most`` bytes in all where that is set."""

    def __init__(self, most: int | None = None) -> None:
        self.kept: dict[str, bytes] = {}
        self.most = most

    async def put(self, data: bytes, *, under: str = "") -> str:
        """See ``Blobs.put``."""
        await checkpoint()
        return self.keep(data, under)

    def keep(self, data: bytes, under: str) -> str:
        """Store the bytes now. Raises as ``put`` does."""
        digest = sha256(data).hexdigest()
        name = f"{under}.{digest}" if under else digest
        if name not in self.kept and not self.filled().leaves(len(data), reserve=0):
            raise FullError(name, "maximum bytes exceeded")
        self.kept[name] = data
        return name

    async def names(self, under: str) -> list[str]:
        """See ``Blobs.names``."""
        await checkpoint()
        return self.found(under)

    def found(self, under: str) -> list[str]:
        """Return what lies under something now."""
        return [name for name in self.kept if name.startswith(f"{under}.")]

    async def fill(self) -> Fill:
        """See ``Blobs.fill``."""
        await checkpoint()
        return self.filled()

    def filled(self) -> Fill:
        """Say how full it is now."""
        return Fill(sum(map(len, self.kept.values())), self.most or 0)

    async def get(self, name: str) -> bytes:
        """See ``Blobs.get``."""
        await checkpoint()
        if name not in self.kept:
            raise problem("not_found", f"no blob {name}")
        return self.kept[name]

    async def remove(self, name: str) -> None:
        """See ``Blobs.remove``."""
        await checkpoint()
        self.kept.pop(name, None)
