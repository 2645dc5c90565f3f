"""What an outbox has posted and may have to send again. Knows no network and no clock."""

from collections import defaultdict
from collections.abc import Iterator
from random import sample

import msgspec

from bus.ports import Still

MAX_MESSAGES = 65_536
MAX_BYTES = 64 * 1024**2
"""What is not safe is bounded, and posting beyond it waits: 13,000 messages a second pass."""


OVERHEAD_BYTES = 100
"""What a stored message takes beside its data: its subject, its headers, and the server's own."""

MOST_MEASURED = 512
"""Messages that are looked at to tell the sizes of all: some 0.2 ms, once a second."""


class Posted(msgspec.Struct, gc=False, eq=False):
    """A message with its mark. ``sent_at`` is None until it is sent, and once it was refused.

    Tens of thousands are kept at times, and the garbage collector would look through all of them.
    """

    mark: int
    subject: str
    data: bytes
    headers: dict[str, str] | None = None
    still: Still | None = None
    sent_at: float | None = None
    acked: bool = False
    refusals: int = 0


class Ring:
    """The messages that are not safe yet, oldest first, without a gap in their marks."""

    def __init__(self) -> None:
        self._messages: dict[int, Posted] = {}
        self._bytes = 0
        self.posted = 0

    def __iter__(self) -> Iterator[Posted]:
        return iter(list(self._messages.values()))

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be added at present."""
        return len(self._messages) >= MAX_MESSAGES or self._bytes >= MAX_BYTES

    @property
    def safe(self) -> int:
        """The mark up to which everything was released."""
        return self.posted - len(self._messages)

    def add(
        self,
        subject: str,
        data: bytes,
        headers: dict[str, str] | None,
        still: Still | None = None,
    ) -> Posted:
        """Add the next message."""
        self.posted += 1
        message = Posted(self.posted, subject, data, headers, still)
        self._messages[message.mark] = message
        self._bytes += len(data)
        return message

    def get(self, mark: int) -> Posted | None:
        """Return a message that is not safe yet."""
        return self._messages.get(mark)

    def sizes(self, since: int) -> dict[str, int]:
        """Return the bytes by subject of what was added after the mark ``since``.

        Of many messages some are looked at, chosen at random, and stand for the others. Counting
        each one where it is added would cost a tenth of what publishing a delta does.
        """
        added = range(since + 1, self.posted + 1)
        chosen = sample(added, MOST_MEASURED) if len(added) > MOST_MEASURED else added
        messages = [found for mark in chosen if (found := self._messages.get(mark)) is not None]
        sizes: defaultdict[str, float] = defaultdict(float)
        for message in messages:
            size = len(message.data) + OVERHEAD_BYTES
            sizes[message.subject] += size * len(added) / len(messages)
        return {subject: round(size) for subject, size in sizes.items()}

    def release(self, before: float) -> None:
        """Let go of the oldest messages, as far as they are acknowledged and sent ``before``."""
        messages, mark = self._messages, self.safe + 1
        while (message := messages.get(mark)) is not None:
            if not message.acked or (message.sent_at is not None and message.sent_at >= before):
                return
            del messages[mark]
            self._bytes -= len(message.data)
            mark += 1
