"""Blobs in memory."""

from hashlib import sha256

from anyio.lowlevel import checkpoint

from bus.errors import problem


class MemoryBlobs:
    """Bytes by the hash of their content."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        """See ``Blobs.put``."""
        await checkpoint()
        name = sha256(data).hexdigest()
        self._blobs[name] = data
        return name

    async def get(self, name: str) -> bytes:
        """See ``Blobs.get``."""
        await checkpoint()
        if name not in self._blobs:
            raise problem("not_found", f"no blob {name}")
        return self._blobs[name]

    async def remove(self, name: str) -> None:
        """See ``Blobs.remove``."""
        await checkpoint()
        self._blobs.pop(name, None)
