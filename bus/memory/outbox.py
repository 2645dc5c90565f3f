"""An outbox in memory."""

from collections import deque
from typing import NamedTuple

import anyio

from bus.config import Timing
from bus.memory.transport import MemoryTransport
from bus.ports import MESSAGE_ID, Still, voided

MAX_PAYLOAD = 16 * 1024**2
"""What the servers of a fleet are set to."""


class _Posted(NamedTuple):
    at: float
    subject: str
    data: bytes
    message_id: str | None
    still: Still | None


class MemoryOutbox:
    """Publishes into the store of a transport, and again what a restart may have lost."""

    def __init__(self, transport: MemoryTransport, timing: Timing) -> None:
        self._transport = transport
        self._window = timing.resend_window_seconds
        self._recent: deque[_Posted] = deque()
        self._posted = 0
        self._losses = transport.losses
        self.close = transport.on_reconnect(self._post_again)

    async def post(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str | None = None,
        still: Still | None = None,
        frequent: bool = False,
        ttl: int | None = None,
    ) -> None:
        """See ``Outbox.post``."""
        del frequent, ttl
        self._forget_safe()
        self._posted += 1
        await self._send(_Posted(anyio.current_time(), subject, data, message_id, still))

    def offer(self, subject: str, data: bytes) -> bool:
        """See ``Outbox.offer``: whatever is stored in memory is waited for."""
        del subject, data
        return False

    async def flush(self, *, timeout: float) -> None:
        """See ``Outbox.flush``: everything is stored at once."""

    @property
    def posted(self) -> int:
        """See ``Outbox.posted``."""
        return self._posted

    @property
    def safe(self) -> int:
        """See ``Outbox.safe``."""
        self._forget_safe()
        return self._posted - len(self._recent)

    @property
    def max_payload(self) -> int:
        """See ``Outbox.max_payload``."""
        return MAX_PAYLOAD

    async def _send(self, message: _Posted) -> None:
        self._recent.append(message)
        if not self._is_away:
            headers = {MESSAGE_ID: message.message_id} if message.message_id is not None else None
            await self._transport.publish(message.subject, message.data, headers=headers)

    @property
    def _is_away(self) -> bool:
        """Whether the bus was lost and not everything was posted again since."""
        return self._transport.losses != self._losses

    async def _post_again(self) -> None:
        losses = self._transport.losses
        void = await voided(message.still for message in self._recent)
        self._losses = losses
        again, self._recent = self._recent, deque()
        for message in again:
            if message.still in void:
                continue
            await self._send(message._replace(at=anyio.current_time()))

    def _forget_safe(self) -> None:
        """Forget what is stored for good. While the bus is away nothing becomes safe by waiting."""
        oldest = anyio.current_time() - self._window
        while not self._is_away and self._recent and self._recent[0].at < oldest:
            self._recent.popleft()
