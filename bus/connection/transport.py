"""Plain messages and requests on NATS, and telling others when the bus was away."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import nats.errors
import structlog

from bus.config import Timing
from bus.connection.client import NatsAddress, NatsClient, open_client
from bus.connection.frames import sized
from bus.connection.replies import Replies
from bus.connection.subscription import Handling, Reception
from bus.errors import (
    DeadlineError,
    NobodyListensError,
    ProblemError,
    TransientError,
    UnavailableError,
    problem,
)
from bus.ports import Delivery, Handler, Receiver
from bus.tasks import background, within
from bus.telemetry import metrics

log = structlog.get_logger()

SUBSCRIBE_SECONDS = 5.0
"""How long a subscription waits for the server to know of it."""

CLOSE_SECONDS = 2
"""How long the last messages of a process may take to leave."""

NO_RESPONDERS = "503"

PERMISSIONS = "permissions violation"
"""What the server calls it when a user does what it may not."""


class NatsTransport:
    """See ``Transport``. Made by ``connect``."""

    client: NatsClient
    replies: Replies

    def __init__(self, address: NatsAddress, timing: Timing) -> None:
        self._address = address
        self._timing = timing
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._on_loss: list[Callable[[], None]] = []
        self._connected = anyio.Event()
        self._came_back = anyio.Event()
        self._closed = anyio.Event()

    @property
    def connected(self) -> bool:
        """Whether the server is there at present."""
        return self._connected.is_set()

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """See ``Transport.publish``. While the bus is away messages wait, up to 2 MiB of them."""
        if self.client.put(subject, data, reply, headers):
            return
        if sized(data, headers) > self.client.max_payload:
            # The library looks at the data alone, and the server cuts the connection.
            raise self._too_large()
        try:
            await self.client.publish(subject, data, reply, headers)
        except nats.errors.MaxPayloadError:
            raise self._too_large() from None
        except nats.errors.Error as error:
            raise UnavailableError(subject, str(error)) from None

    def _too_large(self) -> ProblemError:
        limit = self.client.max_payload
        return problem("validation", f"a message must not exceed {limit} bytes")

    def tell(self, subject: str, data: bytes) -> None:
        """See ``Transport.tell``."""
        self.client.put(subject, data)

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivery:
        """See ``Transport.request``. A request whose connection is lost is ``unavailable``."""
        if not self.connected:
            raise UnavailableError(subject, "the bus is away")
        future: asyncio.Future[Delivery | None] = self._loop.create_future()

        def answered(message: Delivery | None) -> None:
            if future.done():
                return
            if message is None:
                future.set_exception(UnavailableError(subject, "the connection was lost"))
            else:
                future.set_result(message)

        reply = self.replies.expect(answered)
        try:
            await self.publish(subject, data, reply=reply, headers=headers)
            message = await within(future, timeout)
        finally:
            self.replies.forget(reply)
        if message is None:
            raise DeadlineError(subject, timeout)
        if status_of(message) == NO_RESPONDERS:
            raise NobodyListensError(subject)
        return message

    async def may_publish(self, subject: str) -> bool:
        """Try it with an empty message, and say whether the server allows it to this user.

        Raises:
            UnavailableError: the server does not answer.
        """
        await self.publish(subject, b"")
        try:
            # The server refuses before it confirms.
            await self.client.confirm()
        except nats.errors.Error as error:
            raise UnavailableError(subject, str(error)) from None
        refusal = str(self.client.last_error).lower()
        return not (PERMISSIONS in refusal and subject.lower() in refusal)

    @asynccontextmanager
    async def subscription(
        self, subject: str, handler: Handler, *, queue: str = ""
    ) -> AsyncGenerator[None]:
        """See ``Transport.subscription``. What has arrived is handled before the context closes.

        Raises:
            UnavailableError: the server does not learn of it in time.
        """
        handling = Handling(self.client, subject, handler)
        reception = Reception(self.client, subject, handling.put, queue=queue)
        async with self._opened(reception, subject):
            # In a task of the connection's: a scope that was open here over the ``yield`` could not
            # be left by a generator whose reader has opened one since.
            self._tasks.start_soon(handling.feed)
            try:
                yield
                if self.connected:
                    await reception.stop()
                    await handling.finish()
            finally:
                handling.stop()

    @asynccontextmanager
    async def reception(
        self, subject: str, receiver: Receiver, *, queue: str = ""
    ) -> AsyncGenerator[None]:
        """See ``Transport.reception``. Raises as ``subscription`` does."""
        reception = Reception(self.client, subject, receiver, queue=queue)
        async with self._opened(reception, subject):
            yield
            if self.connected:
                await reception.stop()

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """See ``Transport.on_reconnect``. Callbacks run one after another, the eldest first."""
        self._callbacks.append(callback)

        def forget() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return forget

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call back at once each time the bus is lost."""
        self._on_loss.append(callback)

    # Life

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["NatsTransport"]:
        """Stay connected while the context is open; see ``connect``."""
        self._loop = asyncio.get_running_loop()
        self.client = await open_client(
            self._address,
            self._timing,
            lost=self._lost,
            found=self._found,
            closed=self._was_closed,
        )
        try:
            self.replies = Replies(self.client)
            await self.replies.start()
            self._connected.set()
            loops = (self._tell_of_reconnects, self._watch_for_the_end)
            async with background(*loops) as self._tasks:
                yield self
        finally:
            await self._close()

    @asynccontextmanager
    async def _opened(self, reception: Reception, subject: str) -> AsyncGenerator[None]:
        """Be subscribed while the context is open."""
        try:
            await self._open(reception, subject)
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await reception.close()

    async def _open(self, reception: Reception, subject: str) -> None:
        try:
            with anyio.fail_after(SUBSCRIBE_SECONDS):
                await reception.open()
                while not await self._confirmed():
                    await self._connected.wait()
        except (TimeoutError, nats.errors.Error) as error:
            reason = str(error) or "not subscribed in time"
            raise UnavailableError(subject, reason) from None

    async def _confirmed(self) -> bool:
        """Say whether the server has taken in what was sent; not if it is lost meanwhile."""
        with anyio.CancelScope() as lost:
            self._on_loss.append(lost.cancel)
            try:
                await self._connected.wait()
                await self.client.confirm()
            finally:
                self._on_loss.remove(lost.cancel)
        return not lost.cancelled_caught

    async def _close(self) -> None:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                if self.client.is_connected:
                    await self.client.confirm()
            except nats.errors.Error as error:
                log.warning("nats.last_messages_lost", error=str(error))
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await self.client.close()
            except OSError as error:
                log.info("nats.closed_without_farewell", error=str(error))

    async def _lost(self) -> None:
        if not self._connected.is_set() or self.client.is_closed:
            return
        log.warning("nats.lost", connection=self._address.name)
        self._connected = anyio.Event()
        self.replies.lose()
        for callback in self._on_loss:
            callback()

    async def _found(self) -> None:
        log.info("nats.found", connection=self._address.name)
        metrics.BUS_RECONNECTS.at().inc()
        self._connected.set()
        self._came_back.set()

    async def _was_closed(self) -> None:
        self._closed.set()

    async def _tell_of_reconnects(self) -> None:
        while True:
            await self._came_back.wait()
            self._came_back = anyio.Event()
            for callback in list(self._callbacks):
                try:
                    await callback()
                except TransientError as error:
                    log.warning("nats.reconnect_incomplete", error=str(error))

    async def _watch_for_the_end(self) -> None:
        """End the work when the server ends the connection for good, as for a revoked user."""
        await self._closed.wait()
        raise UnavailableError("nats", f"the connection is closed: {self.client.last_error}")


@asynccontextmanager
async def connect(
    address: NatsAddress, timing: Timing | None = None
) -> AsyncGenerator[NatsTransport]:
    """Be connected while the context is open, through any number of restarts of the bus.

    Raises:
        UnavailableError: no server answered, or the server ended the connection for good.
        ConfigError: the server refuses the user.
    """
    async with NatsTransport(address, timing or Timing()).opened() as transport:
        yield transport


def status_of(message: Delivery) -> str | None:
    """Return the status code of a message that the server itself has made."""
    return message.headers.get("Status") if message.headers and not message.data else None
