"""Storing, reading and removing bodies. They share a store with the snapshots of all shards.

That store keeps what it has when it is full. A share of its room is left to snapshots, because
without them no journal could be purged: a body that would take from it is refused, and nothing
else is.
"""

from bus.bodies.names import Holder
from bus.errors import FullError, ProblemError, problem
from bus.ports import Blobs
from bus.streams.capacity import NEW_KEYS_STOP, Room, full
from bus.streams.spec import BLOBS
from bus.tasks import Wakeup, loop_time
from schemas.bodies import MOST_BODY_BYTES, BodyReference

LOOK_SECONDS = 1.0
"""How old may be what is known of the room that is left, when a body is to be stored."""

BODIES_FULL = "There is no room for large requests now; small ones go on."


class Bodies:
    """The bodies of all entities, as one process stores and reads them."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._room = Room(BLOBS, blobs.fill, Wakeup())
        self._looked_at = float("-inf")

    async def put(self, data: bytes, holder: Holder, *, ttl: int | None = None) -> BodyReference:
        """Store a body before the command that names it is sent; storing it twice is harmless.

        With ``ttl`` it expires after so many seconds; otherwise it is removed with its holder.

        Raises:
            ProblemError: ``unavailable`` where there is no room, ``validation`` above
                ``MOST_BODY_BYTES``.
            UnavailableError: not known to be stored.
        """
        size = len(data)
        if size > MOST_BODY_BYTES:
            raise problem("validation", f"a body has {size} bytes, {MOST_BODY_BYTES} are allowed")
        await self._expect_room(size)
        try:
            under = holder.under if ttl is None else holder.expiring
            name = await self._blobs.put(data, under=under, ttl=ttl)
        except FullError:
            await self._look()
            raise self._refusal() from None
        self._room.add(size)
        return BodyReference(name=name, digest=name.rpartition(".")[2], bytes=size)

    async def get(self, reference: BodyReference, *, most: int = MOST_BODY_BYTES) -> bytes:
        """Return a body, checked against its digest.

        Raises:
            ProblemError: ``corrupt``: it is gone, is not what was stored, or is larger than
                ``most`` bytes. No later try can succeed.
            UnavailableError: it cannot be read at present.
        """
        if reference.bytes > most or reference.name.rpartition(".")[2] != reference.digest:
            raise _damaged(reference)
        try:
            data = await self._blobs.get(reference.name)
        except ProblemError:
            raise _damaged(reference) from None
        if len(data) != reference.bytes:
            raise _damaged(reference)
        return data

    async def remove(self, name: str) -> None:
        """Remove the body of this name; nothing happens if it is not there.

        Raises:
            UnavailableError: not known to be removed.
        """
        await self._blobs.remove(name)

    async def _expect_room(self, size: int) -> None:
        """Check that there is room for a body beside what is left to snapshots."""
        if loop_time() - self._looked_at > LOOK_SECONDS:
            await self._look()
        if self._room.fits(size, NEW_KEYS_STOP):
            return
        # What was added here may be gone again.
        await self._look()
        if not self._room.fits(size, NEW_KEYS_STOP):
            raise self._refusal()

    async def _look(self) -> None:
        await self._room.look()
        self._looked_at = loop_time()

    def _refusal(self) -> ProblemError:
        return ProblemError(full(BLOBS, self._room.share, BODIES_FULL))


def _damaged(reference: BodyReference) -> ProblemError:
    """Return the refusal of a body that is not there as it was stored; its name has no secret."""
    message = f"a stored body of {reference.bytes} bytes is gone or damaged"
    return problem("corrupt", message)
