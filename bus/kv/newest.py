"""Which subjects of a stream match a filter, each with the sequence of its newest message.

No message is read: the server sends one headline a subject, however many messages each has.
"""

from bus.connection import NatsTransport
from bus.kv.bucket import Entry
from bus.kv.nats_watch import Source, following
from bus.streams.api import JetStream

LISTING_SECONDS = 4.0
"""A public request is answered within 5 s; a hundred thousand subjects take less."""


async def newest_of_each(transport: NatsTransport, stream: str, pattern: str) -> dict[str, int]:
    """Return the subjects that match, with the sequence of the newest message of each.

    Raises:
        UnavailableError: they are not all known in time.
    """
    found = _Found()
    source = Source(transport, JetStream(transport), stream, "", pattern, sizes=True)
    async with following(source, int, found) as watch:
        await watch.catch_up(timeout=LISTING_SECONDS)
    return found.newest


class _Found:
    """A watcher that keeps where each subject stands."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}

    def changed(self, entry: Entry[int]) -> None:
        self.newest[entry.key] = entry.revision

    def removed(self, key: str, revision: int) -> None:
        del revision
        self.newest.pop(key, None)

    def cleared(self) -> None:
        self.newest.clear()
