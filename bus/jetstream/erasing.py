"""Removing what a deleted entity has left in streams."""

from bus.errors import UnavailableError
from bus.jetstream.journal import JetStreamJournal
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import captor
from schemas.decision import Left


class StreamEraser:
    """See ``Erase``."""

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def __call__(self, left: Left) -> None:
        """Remove the messages, overwriting them where the subject is shared with other entities.

        Raises:
            UnavailableError: not known to be done.
        """
        stream = captor(left.subject)
        if left.is_its is None:
            await self._call(f"STREAM.PURGE.{stream}", {"filter": left.subject})
            return
        kept = JetStreamJournal(self._jetstream.transport, self._jetstream, stream)
        async for stored in kept.read(left.subject, start=1):
            if left.is_its(stored.data):
                await self._call(f"STREAM.MSG.DELETE.{stream}", {"seq": stored.sequence})

    async def _call(self, request: str, body: dict[str, str | int]) -> None:
        try:
            await self._jetstream.call(request, body)
        except JetStreamError as error:
            raise UnavailableError(request, error.description) from None
