"""Which messages ask for a receipt, where one can speak for many. Knows no network and no clock.

One server stores what one connection sends to a stream in the order in which it was sent, so that
a receipt says of all messages before it that they are stored too. A receipt costs its server and
its reader as much as the message itself.
"""

from bus.jetstream.ring import Posted

ASK_SECONDS = 0.05
"""A frequent message asks if none has for so long: what comes seldom always does."""

MOST_UNASKED = 64
"""So many at most wait for one receipt; a window of thousands never fills up unasked."""


class Receipts:
    """Keeps what was sent without asking, until the receipt of a later message speaks for it."""

    def __init__(self) -> None:
        self._unasked: list[Posted] = []
        self._spoken_for: dict[int, list[Posted]] = {}
        self._asked_at = float("-inf")

    def asks(self, message: Posted, now: float) -> bool:
        """Say whether a frequent message that is sent now asks for a receipt, also for others."""
        if now - self._asked_at < ASK_SECONDS and len(self._unasked) < MOST_UNASKED:
            self._unasked.append(message)
            return False
        self.ask(message, now)
        return True

    def ask(self, message: Posted, now: float) -> None:
        """Let the receipt of a message speak for all that were sent without asking."""
        self._asked_at = now
        if self._unasked:
            self._spoken_for[message.mark] = self._unasked
            self._unasked = []

    @property
    def lacking(self) -> bool:
        """Whether messages wait for a later one to ask."""
        return bool(self._unasked)

    def settled(self, message: Posted) -> list[Posted]:
        """Return for what else a receipt speaks, once."""
        return self._spoken_for.pop(message.mark, [])

    def refused(self, message: Posted) -> list[Posted]:
        """Return what may have been refused as well: nobody has said otherwise of it."""
        doubtful = [*self.settled(message), *self._unasked]
        self._unasked = []
        return doubtful

    def clear(self) -> None:
        """Forget everything: it is sent again, and each asks for itself."""
        self._unasked = []
        self._spoken_for.clear()
