"""Plain messages in memory, between all who share one transport."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import structlog
from anyio.abc import TaskGroup

from bus.errors import CallboardError, DeadlineError, UnavailableError
from bus.memory.store import MemoryStore
from bus.ports import Delivery, Handler
from bus.subjects import matches

log = structlog.get_logger()

Fate = Callable[[str], Sequence[float]]
"""What happens to a message on a subject: the seconds until each of its copies arrives."""

MAX_WAITING = 65_536
"""Messages above this, for one subscription whose handler does not keep up, are lost."""

MESSAGE_ID = "Nats-Msg-Id"


class _Mailbox:
    """One subscription: a bounded queue and the task that feeds the handler from it."""

    def __init__(self, pattern: str, handler: Handler, queue: str) -> None:
        self.pattern = pattern
        self.queue = queue
        self._handler = handler
        self._waiting: deque[Delivery] = deque()
        self._arrived = anyio.Event()
        self._idle = anyio.Event()
        self._scope = anyio.CancelScope()

    def put(self, delivery: Delivery) -> None:
        if len(self._waiting) >= MAX_WAITING:
            log.warning("transport.message_lost", subject=self.pattern)
            return
        self._waiting.append(delivery)
        self._arrived.set()

    async def pump(self) -> None:
        with self._scope:
            while True:
                while self._waiting:
                    await self._handle(self._waiting.popleft())
                self._idle.set()
                self._arrived = anyio.Event()
                await self._arrived.wait()
                self._idle = anyio.Event()

    async def drain(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            if self._waiting or not self._idle.is_set():
                self._idle = anyio.Event()
                self._arrived.set()
                await self._idle.wait()

    def stop(self) -> None:
        self._scope.cancel()

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._handler(delivery)
        except CallboardError as error:
            log.warning("transport.handler_refused", subject=self.pattern, error=str(error))


class MemoryTransport:
    """A bus for as long as its context is open.

    Messages arrive at once and in order unless ``fate`` says otherwise. What is published on a
    subject that a stream of ``store`` captures is stored too. A handler that raises one of our
    errors loses that message; any other error is a defect and ends the context.
    """

    DRAIN_SECONDS = 1.0

    def __init__(self, store: MemoryStore | None = None, fate: Fate | None = None) -> None:
        self._store = store or MemoryStore()
        self._fate = fate
        self._mailboxes: list[_Mailbox] = []
        self._answers: dict[str, Callable[[Delivery], None]] = {}
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._turn = 0
        self._requests = 0
        self._tasks: TaskGroup

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["MemoryTransport"]:
        """Carry messages while the context is open."""
        async with anyio.create_task_group() as self._tasks:
            yield self
            self._tasks.cancel_scope.cancel()

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """See ``Transport.publish``."""
        self._store.keep(subject, data, message_id=(headers or {}).get(MESSAGE_ID))
        self._send(Delivery(subject, data, reply, headers))

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivery:
        """See ``Transport.request``."""
        if not any(matches(mailbox.pattern, subject) for mailbox in self._mailboxes):
            raise UnavailableError(subject, "nobody listens")
        self._requests += 1
        reply = f"_INBOX.memory.{self._requests}"
        answers: list[Delivery] = []
        answered = anyio.Event()

        def answer(delivery: Delivery) -> None:
            answers.append(delivery)
            answered.set()

        self._answers[reply] = answer
        try:
            await self.publish(subject, data, reply=reply, headers=headers)
            with anyio.move_on_after(timeout):
                await answered.wait()
        finally:
            del self._answers[reply]
        if not answers:
            raise DeadlineError(subject, timeout)
        return answers[0]

    @asynccontextmanager
    async def subscription(
        self, subject: str, handler: Handler, *, queue: str = ""
    ) -> AsyncGenerator[None]:
        """See ``Transport.subscription``. What has arrived is handled before the context closes."""
        mailbox = _Mailbox(subject, handler, queue)
        self._mailboxes.append(mailbox)
        self._tasks.start_soon(mailbox.pump)
        try:
            try:
                yield
            finally:
                self._mailboxes.remove(mailbox)
            await mailbox.drain(self.DRAIN_SECONDS)
        finally:
            mailbox.stop()

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """See ``Transport.on_reconnect``."""
        self._callbacks.append(callback)

        def forget() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return forget

    async def reconnect(self) -> None:
        """Tell everybody that the bus was away."""
        for callback in list(self._callbacks):
            await callback()

    # Delivery

    def _send(self, delivery: Delivery) -> None:
        if self._fate is None:
            self._arrive(delivery)
            return
        for delay in self._fate(delivery.subject):
            self._tasks.start_soon(self._arrive_later, delivery, delay)

    async def _arrive_later(self, delivery: Delivery, delay: float) -> None:
        await anyio.sleep(delay)
        self._arrive(delivery)

    def _arrive(self, delivery: Delivery) -> None:
        answer = self._answers.get(delivery.subject)
        if answer is not None:
            answer(delivery)
            return
        groups: dict[str, list[_Mailbox]] = {}
        for mailbox in self._mailboxes:
            if not matches(mailbox.pattern, delivery.subject):
                continue
            if mailbox.queue:
                groups.setdefault(mailbox.queue, []).append(mailbox)
            else:
                mailbox.put(delivery)
        for members in groups.values():
            self._turn += 1
            members[self._turn % len(members)].put(delivery)
