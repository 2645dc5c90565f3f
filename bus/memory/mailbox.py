"""One subscription in memory: what has arrived waits here for its handler."""

from collections import deque

import anyio
import structlog

from bus.errors import CallboardError
from bus.ports import Delivery, Handler

log = structlog.get_logger()

MAX_WAITING = 65_536
"""Messages above this, for one subscription whose handler does not keep up, are lost."""


class Mailbox:
    """A bounded queue, and the task that feeds the handler of ``connection`` from it."""

    def __init__(self, pattern: str, handler: Handler, queue: str, connection: str) -> None:
        self.pattern = pattern
        self.queue = queue
        self.connection = connection
        self._handler = handler
        self._waiting: deque[Delivery] = deque()
        self._arrived = anyio.Event()
        self._is_idle = False
        self._drained = anyio.Event()
        self._scope = anyio.CancelScope()

    def put(self, delivery: Delivery) -> None:
        """Add a message if there is room."""
        if len(self._waiting) >= MAX_WAITING:
            log.warning("transport.message_lost", subject=self.pattern)
            return
        self._waiting.append(delivery)
        self._arrived.set()

    async def pump(self) -> None:
        """Hand over one message after another until stopped."""
        with self._scope:
            while True:
                while self._waiting:
                    await self._handle(self._waiting.popleft())
                self._is_idle = True
                self._drained.set()
                self._arrived = anyio.Event()
                await self._arrived.wait()
                self._is_idle = False

    async def drain(self, seconds: float) -> None:
        """Return when all that has arrived is handled, or after ``seconds``."""
        with anyio.move_on_after(seconds):
            if self._waiting or not self._is_idle:
                self._drained = anyio.Event()
                self._arrived.set()
                await self._drained.wait()

    def stop(self) -> None:
        """End the pump."""
        self._scope.cancel()

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._handler(delivery)
        except CallboardError as error:
            log.warning("transport.handler_refused", subject=self.pattern, error=str(error))
