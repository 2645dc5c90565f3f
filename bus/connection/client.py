"""The client of nats-py: how it connects, comes back after a loss, and reports what goes wrong."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import anyio
import structlog
from anyio.lowlevel import checkpoint
from nats.aio.client import Client, Server
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bus.config import Timing
from bus.connection.frames import written
from bus.connection.parser import DirectParser, Gate
from bus.connection.socket import BoundedTcp
from bus.errors import ConfigError, UnavailableError
from bus.ports import Receiver

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.05
"""A restarted server is back within a tenth of a second; then each pause is twice as long."""

CONNECT_TRY_SECONDS = 2
PING_SECONDS = 2
"""With two outstanding pings a dead peer is noticed within 6 s."""

BUFFER_BYTES = 2 * 1024**2
"""What may be published while the bus is away; more is refused."""

MOST_UNWRITTEN_BYTES = BUFFER_BYTES // 2
"""With more that waits for the socket, who publishes waits too."""

AT_ONCE_BYTES = 8 * 1024
"""So much is written before the turn of the loop is over, and the server works meanwhile."""

MAX_WAITING = 65_536
MAX_WAITING_BYTES = 64 * 1024**2
"""Messages above these, for one handler that does not keep up, are lost."""

REFUSED = "authorization violation"
"""What the server calls it when it refuses a user."""

QUIET_SECONDS = 5.0
"""The same error is logged once in this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAddress:
    """Where to connect and as whom. User and password may stand in the URLs.

    ``credentials`` is the path of a credentials file. ``inbox_prefix`` is where answers to this
    process arrive; permissions may demand one of its own. ``patience`` is in seconds.
    """

    urls: Sequence[str]
    name: str
    credentials: str | None = None
    inbox_prefix: str = "_INBOX"
    patience: float = 10.0


class NatsClient(Client):
    """A nats-py client that takes messages at once, and can end a subscription without loss.

    ``reads_at_once`` is for plain NATS; else nats-py has a socket of its own, as for websockets.
    ``report`` is told of errors that nobody waits for.
    """

    def __init__(self, report: Callable[[Exception], None], *, reads_at_once: bool) -> None:
        super().__init__()
        self.report = report
        self._loop = asyncio.get_running_loop()
        self._parser = DirectParser(self, report)
        self._ps = self._parser
        self._socket = BoundedTcp(self._parser.take) if reads_at_once else None
        self._transport = self._socket
        self._writes_soon = False

    async def receive(self, subject: str, receiver: Receiver, *, queue: str = "") -> Subscription:
        """Subscribe, and have each message taken within the read from the socket."""
        # The number it will have: the first message may come before we are back.
        self._parser.receivers[self._sid + 1] = receiver
        return await self.subscribe(  # pyright: ignore[reportUnknownMemberType]  an open Future
            subject, queue=queue
        )

    def redirect(self, subscription: Subscription, receiver: Receiver, gate: Gate) -> None:
        """Have the messages of a subscription that is there taken within the read, too.

        ``gate`` says of each that does not come in one piece whether it is to be received.
        """
        for sid, known in self._subs.items():
            if known is subscription:
                self._parser.receivers[sid] = receiver
                self._parser.gates[sid] = gate

    @property
    def is_receiving(self) -> bool:
        """Whether a message has begun to arrive and is not whole: more is on its way."""
        return self._parser.is_receiving

    # Writing: once for all that one turn of the loop brings

    def takes(self, size: int) -> bool:
        """Say whether ``put`` takes so many bytes now: connected, and not much to be written."""
        return (
            self._status == Client.CONNECTED
            and self._pending_data_size < MOST_UNWRITTEN_BYTES
            and size <= self._max_payload
        )

    def put(
        self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> bool:
        """Queue a message for the next write to the socket; False if that is not possible now.

        It is what ``publish`` does at a fifth of its cost, where nothing stands in the way: a
        connection that is there, and not much that waits to be written.
        """
        if not self.takes(len(data)):
            return False
        command = written(subject, data, reply, headers)
        # The server bounds data and headers together; ``publish`` looks at what is so close to it.
        if headers is not None and len(command) > self._max_payload:
            return False
        self._pending.append(command)
        self._pending_data_size += len(command)
        stats = self.stats
        stats["out_msgs"] += 1
        stats["out_bytes"] += len(data)
        self._write_soon()
        return True

    async def _flush_pending(self, force_flush: bool = False) -> Any:  # noqa: FBT001, FBT002  theirs
        """Write what waits, by the task of nats-py only if somebody waits for it."""
        if force_flush or not self.is_connected:
            return await super()._flush_pending(force_flush)
        return self._write_soon()

    def _write_soon(self) -> None:
        if not self._writes_soon:
            self._writes_soon = True
            self._loop.call_soon(self._write_out)
        elif self._pending_data_size >= AT_ONCE_BYTES:
            self._write_out()

    def _write_out(self) -> None:
        """Write everything that waits with one call, after a turn of the loop.

        Where the socket does not take it, or is being closed, that is left to nats-py.
        """
        self._writes_soon = False
        if not self._pending:
            self._pending_data_size = 0
            return
        socket, kick = self._socket, self._flush_queue
        if socket is not None and socket.is_free and self.is_connected:
            waiting, self._pending, self._pending_data_size = self._pending, [], 0
            socket.write(b"".join(waiting))
        elif kick is not None and kick.empty():
            kick.put_nowait(self._loop.create_future())

    async def listen(
        self,
        subject: str,
        callback: Callable[[Msg], Awaitable[None]],
        *,
        queue: str = "",
        most: int = MAX_WAITING,
        most_bytes: int = MAX_WAITING_BYTES,
    ) -> Subscription:
        """Subscribe. At most so many messages and bytes wait for the callback; more are lost."""
        return await self.subscribe(  # pyright: ignore[reportUnknownMemberType]  an open Future
            subject,
            queue=queue,
            cb=callback,
            pending_msgs_limit=most,
            pending_bytes_limit=most_bytes,
        )

    async def stop_interest(self, subscription: Subscription) -> None:
        """Ask the server for no more messages, and return when the last one has arrived here."""
        for sid, known in list(self._subs.items()):
            if known is subscription:
                await self._send_unsubscribe(sid)
        await self.confirm()

    async def confirm(self) -> None:
        """Return when the server has taken in everything that was sent so far.

        The ``flush`` of nats-py alone lets its ping overtake what waits to be written.
        """
        await self._flush_pending(force_flush=True)
        await self.flush(CONNECT_TRY_SECONDS)

    async def _process_pong(self) -> None:
        """Take a pong, also a late one whose asker has given up: nats-py would stop reading."""
        pongs = cast("list[asyncio.Future[bool]]", self._pongs)
        if pongs and pongs[0].done():
            pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._parser.receivers.pop(sid, None)
        self._parser.gates.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def close(self) -> None:
        """Close. What waits for a server that is lost is given up, for sending it would fail."""
        if not self.is_connected:
            self._pending, self._pending_data_size = [], 0
        await super().close()

    async def retire(self, subscription: Subscription) -> None:
        """End a subscription whose callback never waits, after it has seen every message."""
        await self.stop_interest(subscription)
        while subscription.pending_msgs:
            await checkpoint()
        await subscription.unsubscribe()


class ErrorLog:
    """Logs the client's errors, each kind seldom: nats-py reports every single lost message.

    While ``connecting`` a refused user is an error at once, because trying again does not help.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._quiet_until: dict[str, float] = {}
        self._held_back: dict[str, int] = {}
        self.newest: Exception | None = None
        self.connecting = True

    async def note(self, error: Exception) -> None:
        """Take an error from the client.

        Raises:
            ConfigError: the server refuses the user, and ``connecting`` is set.
        """
        self.newest = error
        if self.connecting and REFUSED in str(error).lower():
            raise ConfigError("NATS_URL", "the server refuses this user, password or credentials")
        self.tell(error)

    def tell(self, error: Exception) -> None:
        """Log an error, unless one of its kind was logged a moment ago."""
        kind, now = type(error).__name__, anyio.current_time()
        if now < self._quiet_until.get(kind, 0):
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return
        more = self._held_back.pop(kind, 0)
        self._quiet_until[kind] = now + QUIET_SECONDS
        log.warning("nats.error", connection=self._name, kind=kind, error=str(error), more=more)


async def open_client(
    address: NatsAddress,
    timing: Timing,
    *,
    lost: Callable[[], Awaitable[None]],
    found: Callable[[], Awaitable[None]],
    closed: Callable[[], Awaitable[None]],
) -> NatsClient:
    """Connect, and stay connected whatever happens to the server.

    Raises:
        UnavailableError: no server answers within the address' patience.
        ConfigError: the server refuses the user.
    """
    is_websocket = any(url.startswith(("ws://", "wss://")) for url in address.urls)
    errors = ErrorLog(address.name)
    client = NatsClient(errors.tell, reads_at_once=not is_websocket)
    options: dict[str, Any] = {
        "servers": list(address.urls),
        "name": address.name,
        "user_credentials": address.credentials,
        "inbox_prefix": address.inbox_prefix,
        "error_cb": errors.note,
        "disconnected_cb": lost,
        "reconnected_cb": found,
        "closed_cb": closed,
        "reconnect_to_server_handler": Reconnection(timing.reconnect_seconds).next,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": timing.reconnect_seconds / 4,
        "connect_timeout": CONNECT_TRY_SECONDS,
        "ping_interval": PING_SECONDS,
        "pending_size": BUFFER_BYTES,
        # Subjects are built and checked in bus.subjects, or came from the server.
        "skip_subject_validation": True,
    }
    try:
        with anyio.move_on_after(address.patience):
            await client.connect(**options)
            errors.connecting = False
            return client
        raise _no_server(address, errors.newest)
    finally:
        if errors.connecting:
            await _give_up(client)


class Reconnection:
    """Chooses the next server to try, the one that failed least, and how long to wait before."""

    def __init__(self, longest: float) -> None:
        self._longest = longest

    def next(self, servers: list[Server], info: dict[str, Any]) -> tuple[Server, float]:
        """Answer nats-py. The pause is random, so that a fleet does not come back all at once."""
        del info
        server = min(servers, key=lambda candidate: candidate.reconnects)
        pause = FIRST_PAUSE_SECONDS * 2 ** min(server.reconnects, 16)
        return server, random.uniform(0.5, 1) * min(pause, self._longest)  # noqa: S311  spreads load


async def _give_up(client: NatsClient) -> None:
    with anyio.move_on_after(CONNECT_TRY_SECONDS, shield=True), contextlib.suppress(OSError):
        await client.close()


def _no_server(address: NatsAddress, error: Exception | None) -> UnavailableError:
    reason = f"{type(error).__name__}: {error}" if error else "no answer"
    return UnavailableError(
        "nats", f"no server answered in {address.patience:g} s; is NATS_URL right? ({reason})"
    )
