"""One inbox for all answers of a process: one subscription, and who waits for which token."""

import itertools
from collections.abc import Callable

from bus.connection.client import NatsClient
from bus.ports import Delivery

Waiter = Callable[[Delivery | None], None]
"""Is given each answer, or None when the connection is lost and answers may be too."""


class Replies:
    """Hands each answer to the one who expects it; unexpected ones are dropped."""

    def __init__(self, client: NatsClient) -> None:
        self._client = client
        self._prefix = f"{client.new_inbox()}."
        self._tokens = itertools.count(1)
        self._waiters: dict[str, Waiter] = {}

    async def start(self) -> None:
        """Subscribe to the inbox."""
        await self._client.receive(f"{self._prefix}*", self._arrived)

    def expect(self, waiter: Waiter) -> str:
        """Return a subject whose messages go to ``waiter`` until it is forgotten."""
        subject = f"{self._prefix}{next(self._tokens)}"
        self._waiters[subject] = waiter
        return subject

    def forget(self, subject: str) -> None:
        """Expect no more answers on a subject."""
        self._waiters.pop(subject, None)

    def lose(self) -> None:
        """Tell all who wait that the connection is lost."""
        for waiter in list(self._waiters.values()):
            waiter(None)

    def _arrived(self, message: Delivery) -> None:
        waiter = self._waiters.get(message.subject)
        if waiter is not None:
            waiter(message)
