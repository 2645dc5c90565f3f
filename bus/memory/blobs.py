"""Blobs in memory."""

from hashlib import sha256

from anyio.lowlevel import checkpoint

from bus.errors import problem


class MemoryBlobs:
    """Bytes by the hash of their content."""

    def __init__(self, most: int | None = None) -> None:
        self.kept: dict[str, bytes] = {}
        self.most = most

    async def put(self, data: bytes) -> str:
        """See ``Blobs.put``."""
        await checkpoint()
        name = sha256(data).hexdigest()
        self.kept[name] = data
        return name

    async def has_room(self, size: int, *, reserve: float) -> bool:
        """See ``Blobs.has_room``."""
        if self.most is None:
            return True
        return sum(map(len, self.kept.values())) + size <= self.most * (1 - reserve)

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
