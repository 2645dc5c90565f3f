"""Plain messages in memory, as one process sees them: its connection to the exchange."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from bus.errors import DeadlineError, NobodyListensError, UnavailableError
from bus.memory.exchange import MemoryExchange
from bus.memory.mailbox import Mailbox
from bus.ports import Delivery, Handler, Receiver

MAX_PENDING = 65_536
"""Messages published while the connection is lost; above this none is taken."""


class MemoryTransport:
    """One connection. It can be lost, and found again as a client finds its server.

    While it is lost nothing arrives, and what is published waits. A handler that raises one of our
    errors loses that message; any other error is a defect and ends the exchange's context.
    """

    DRAIN_SECONDS = 1.0

    def __init__(self, exchange: MemoryExchange, name: str) -> None:
        self._exchange = exchange
        self._name = name
        self._mailboxes: list[Mailbox] = []
        self._pending: deque[Delivery] = deque()
        self._callbacks: list[Mailbox] = []
        self.is_lost = False
        self.losses = 0

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """See ``Transport.publish``."""
        delivery = Delivery(subject, data, reply, headers)
        if not self.is_lost:
            self._exchange.publish(self._name, delivery)
        elif len(self._pending) < MAX_PENDING:
            self._pending.append(delivery)
        else:
            raise UnavailableError(subject, "too much waits for the bus")

    def tell(self, subject: str, data: bytes) -> None:
        """See ``Transport.tell``."""
        if not self.is_lost:
            self._exchange.publish(self._name, Delivery(subject, data))

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivery:
        """See ``Transport.request``."""
        if not self.is_lost and not self._exchange.is_heard(subject):
            raise NobodyListensError(subject)
        reply = self._exchange.new_inbox()
        answers: list[Delivery] = []
        answered = anyio.Event()

        def answer(delivery: Delivery) -> None:
            answers.append(delivery)
            answered.set()

        self._exchange.answers[reply] = (self._name, answer)
        try:
            await self.publish(subject, data, reply=reply, headers=headers)
            with anyio.move_on_after(timeout):
                await answered.wait()
        finally:
            del self._exchange.answers[reply]
        if not answers:
            raise DeadlineError(subject, timeout)
        if answers[0].is_unheard:
            raise NobodyListensError(subject)
        return answers[0]

    @asynccontextmanager
    async def subscription(
        self, subject: str, handler: Handler, *, queue: str = ""
    ) -> AsyncGenerator[None]:
        """See ``Transport.subscription``. What has arrived is handled before the context closes."""
        mailbox = Mailbox(subject, handler, queue, self._name)
        self._listen(mailbox)
        self._exchange.tasks.start_soon(mailbox.pump)
        try:
            try:
                yield
            finally:
                self._mailboxes.remove(mailbox)
                if not self.is_lost:
                    self._exchange.forget([mailbox])
            await mailbox.drain(self.DRAIN_SECONDS)
        finally:
            mailbox.stop()

    @asynccontextmanager
    async def reception(self, subject: str, receiver: Receiver) -> AsyncGenerator[None]:
        """See ``Transport.reception``."""

        async def receive(delivery: Delivery) -> None:
            receiver(delivery)

        async with self.subscription(subject, receive):
            yield

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """See ``Transport.on_reconnect``."""

        async def call(delivery: Delivery) -> None:
            del delivery
            await callback()

        waiting = Mailbox("", call, "", self._name)
        self._callbacks.append(waiting)
        self._exchange.tasks.start_soon(waiting.pump)

        def forget() -> None:
            if waiting in self._callbacks:
                self._callbacks.remove(waiting)
                waiting.stop()

        return forget

    # The connection

    def lose(self) -> None:
        """Lose the bus."""
        if not self.is_lost:
            self.is_lost = True
            self.losses += 1
            self._exchange.forget(self._mailboxes)

    def find(self) -> None:
        """Find the bus again: listen as before, send what waits, and tell who wants to know."""
        if self.is_lost:
            self.is_lost = False
            self._exchange.listen(self._mailboxes)
            while self._pending:
                self._exchange.publish(self._name, self._pending.popleft())
            for waiting in self._callbacks:
                waiting.put(Delivery("", b""))

    def _listen(self, mailbox: Mailbox) -> None:
        self._mailboxes.append(mailbox)
        if not self.is_lost:
            self._exchange.listen([mailbox])
