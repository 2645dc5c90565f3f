"""Parts of states that do not change are stored once, and snapshots name them.

A part lies in a blob of its own, under the snapshot that was the first to need it, and stays as
long as a snapshot needs it that is named by a commit, or may be. A former owner never removes what
a new one has stored: that lies under newer snapshots than any it knows.
"""

from collections.abc import Sequence

import msgspec
from anyio.lowlevel import checkpoint

from bus.codec import encode
from bus.ports import Blobs
from bus.shard.blob_names import blobs_under, parsed, shard_blobs
from bus.shard.book import Picture, ShardBook
from bus.streams.capacity import Room
from schemas.journal import SlotImage, Snapshot, SnapshotRef

SLICE_BYTES = 256 * 1024
"""So much of a snapshot is encoded at once: about a millisecond."""


class Parts:
    """The parts of one shard's states, for as long as it is owned."""

    def __init__(self, book: ShardBook, subject: str, blobs: Blobs, room: Room) -> None:
        self._entity = book.entity
        self._subject = subject
        self._blobs = blobs
        self._room = room
        n, self._stored = book.parts
        self._of = {n: frozenset(self._stored.values())}

    async def drawn(self, picture: Picture) -> Snapshot:
        """Return a snapshot whose new parts are stored; the loop goes on between two entities.

        Raises:
            TransientError: a part is not known to be stored.
        """
        outline, size = picture.outline, 0
        slots: list[SlotImage] = []
        for image, state in picture.slots:
            rest, parts = self._entity.split(state) if state is not None else (state, ())
            names = [await self._name(part, outline.n) for part in parts]
            raw = msgspec.Raw(encode(rest))
            slots.append(msgspec.structs.replace(image, state=raw, parts=names))
            size += len(raw)
            if size >= SLICE_BYTES:
                size = 0
                await checkpoint()
        self._of[outline.n] = frozenset(name for slot in slots for name in slot.parts)
        return msgspec.structs.replace(outline, slots=slots)

    async def _name(self, part: bytes, n: int) -> str:
        """Return where a part lies, once it is stored."""
        if part not in self._stored:
            under = blobs_under(self._subject, "part", n)
            self._stored[part] = await self._blobs.put(part, under=under)
            self._room.add(len(part))
        return self._stored[part]

    async def forget(self, named: SnapshotRef | None) -> None:
        """Remove the parts that no snapshot needs from the one that commits name on.

        Raises:
            UnavailableError: not known to be done.
        """
        if named is None or named.n not in self._of or not self._stored:
            return
        self._of = {n: names for n, names in self._of.items() if n >= named.n}
        needed = frozenset[str]().union(*self._of.values())
        self._stored = {part: name for part, name in self._stored.items() if name in needed}
        for name in _outdated(await self._blobs.names(shard_blobs(self._subject)), named.n):
            if name not in needed:
                await self._blobs.remove(name)


def _outdated(names: Sequence[str], n: int) -> list[str]:
    return [each.name for each in parsed(names) if each.kind == "part" and each.n <= n]
