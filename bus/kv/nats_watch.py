"""A watch on JetStream: a push consumer of our own that is checked message by message.

The consumers that nats-py keeps in order notice a loss only by their heartbeat and need 20 s to
come back after a restart of the bus. This one counts: a message out of turn, a heartbeat that knows
of more, or silence ends the session, and the next one goes on behind the last message seen.
"""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from random import SystemRandom
from typing import Generic, NamedTuple, TypeVar

import anyio
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo
from nats.js.errors import NotFoundError

from bus import codec
from bus.errors import ProblemError, UnavailableError
from bus.kv.bucket import Entry, Watch, Watcher
from bus.kv.client import Connection, JetStream

T = TypeVar("T")

HEARTBEAT_SECONDS = 0.5
"""How often the server speaks when there is nothing to tell."""

SILENCE_SECONDS = 1.5
"""Two heartbeats may be lost; after that the watch is stale and begins anew."""

ABANDONED_SECONDS = 5.0
"""The server forgets the consumer of a process that is gone."""

LOOK_SECONDS = 0.25
"""How often a waiting watch looks whether the connection was lost."""

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 2.0
"""Between two tries, drawn at random, so that a fleet does not come back all at once."""

REQUEST_SECONDS = 2.0

OPERATION = "KV-Operation"
_MARKER = "Nats-Marker-Reason"

_random = SystemRandom()


class Source(NamedTuple):
    """What is watched: the keys of a bucket that match ``pattern``."""

    nc: Connection
    js: JetStream
    stream: str
    prefix: str
    pattern: str

    @property
    def subject(self) -> str:
        """The filter of the stream's subjects."""
        return self.prefix + self.pattern


def value_of(headers: dict[str, str] | None, data: bytes | None) -> bytes | None:
    """Return the value in a message of a bucket, None if it is a removal or a marker of expiry."""
    removal = headers is not None and (OPERATION in headers or _MARKER in headers)
    return None if removal else data


@asynccontextmanager
async def following(source: Source, kind: type[T], watcher: Watcher[T]) -> AsyncGenerator[Watch]:
    """Tell ``watcher`` of all changes while the context is open."""
    watch = _NatsWatch(source, kind, watcher)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        try:
            yield watch
        finally:
            tasks.cancel_scope.cancel()


class _NatsWatch(Generic[T]):
    def __init__(self, source: Source, kind: type[T], watcher: Watcher[T]) -> None:
        self._source = source
        self._kind = kind
        self._watcher = watcher
        self._created: datetime | None = None
        self._position = 0
        self._current = False
        self._heard_at = 0.0
        self._reconnects = 0
        self._heard = anyio.Event()

    # What users ask

    @property
    def fresh(self) -> bool:
        """See ``Watch.fresh``."""
        return (
            self._current
            and self._is_same_connection()
            and anyio.current_time() - self._heard_at < SILENCE_SECONDS
        )

    async def catch_up(self, *, timeout: float) -> None:
        """See ``Watch.catch_up``."""
        try:
            with anyio.fail_after(timeout):
                newest = await self._newest()
                while not self.fresh or self._position < newest:
                    await self._heard.wait()
        except (nats.errors.Error, TimeoutError) as error:
            raise UnavailableError(self._source.subject, "cannot catch up") from error

    async def _newest(self) -> int:
        try:
            found = await self._source.js.get_msg(self._source.stream, subject=self._source.subject)
        except NotFoundError:
            return 0
        return found.seq or 0

    # Sessions

    async def run(self) -> None:
        """Follow the bucket for ever, one session after another."""
        delay = FIRST_DELAY_SECONDS
        while True:
            if self._source.nc.is_connected:
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
                with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
                    await self._session()
            if self._current:
                delay = FIRST_DELAY_SECONDS
            self._current = False
            await anyio.sleep(_random.uniform(0, delay))

    async def _session(self) -> None:
        nc, js, stream = self._source.nc, self._source.js, self._source.stream
        self._reconnects = nc.stats["reconnects"]
        with anyio.fail_after(REQUEST_SECONDS):
            self._begin(await js.stream_info(stream))
        inbox = nc.new_inbox()
        subscription = await nc.subscribe(inbox)
        name = inbox.rpartition(".")[2]
        try:
            with anyio.fail_after(REQUEST_SECONDS):
                consumer = await js.add_consumer(stream, self._consumer(name, inbox))
            if not consumer.num_pending:
                self._caught_up()
            await self._follow(subscription)
        finally:
            await self._leave(subscription, name)

    def _begin(self, info: StreamInfo) -> None:
        """Go on behind the last message seen, or from the start if that is not there any more."""
        if self._created != info.created or info.state.last_seq < self._position:
            self._created = info.created
            self._position = 0
            self._watcher.cleared()

    def _consumer(self, name: str, inbox: str) -> ConsumerConfig:
        resumed = self._position > 0
        return ConsumerConfig(
            name=name,
            deliver_subject=inbox,
            deliver_policy=(
                DeliverPolicy.BY_START_SEQUENCE if resumed else DeliverPolicy.LAST_PER_SUBJECT
            ),
            opt_start_seq=self._position + 1 if resumed else None,
            filter_subject=self._source.subject,
            ack_policy=AckPolicy.NONE,
            flow_control=True,
            idle_heartbeat=HEARTBEAT_SECONDS,
            inactive_threshold=ABANDONED_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )

    async def _follow(self, subscription: Subscription) -> None:
        """Take messages until one is missing or none comes."""
        taken = 0
        self._heard_at = anyio.current_time()
        while self._is_same_connection():
            message = await self._next(subscription)
            if message is None:
                continue
            self._heard_at = anyio.current_time()
            headers = message.headers or {}
            if "Status" in headers:
                if headers["Status"] != "100":
                    return
                await self._answer_flow_control(message, headers)
                if int(headers.get("Nats-Last-Consumer", taken)) != taken:
                    return
            else:
                taken += 1
                if message.metadata.sequence.consumer != taken:
                    return
                self._tell(message)
            self._heard.set()
            self._heard = anyio.Event()

    async def _next(self, subscription: Subscription) -> Msg | None:
        """Take the next message; None if there is none yet.

        Raises:
            TimeoutError: the server has been silent for too long.
        """
        try:
            return await subscription.next_msg(timeout=LOOK_SECONDS)
        except TimeoutError:
            if anyio.current_time() - self._heard_at > SILENCE_SECONDS:
                raise
            return None

    async def _answer_flow_control(self, message: Msg, headers: dict[str, str]) -> None:
        reply = message.reply or headers.get("Nats-Consumer-Stalled")
        if reply:
            await self._source.nc.publish(reply)

    def _tell(self, message: Msg) -> None:
        key = message.subject.removeprefix(self._source.prefix)
        revision = message.metadata.sequence.stream
        data = value_of(message.headers, message.data)
        try:
            if data:
                value = codec.decode(self._kind, data)
                self._watcher.changed(Entry(key, revision, value))
            else:
                self._watcher.removed(key, revision)
        except ProblemError:
            self._watcher.removed(key, revision)
        self._position = revision
        if message.metadata.num_pending == 0:
            self._caught_up()

    def _caught_up(self) -> None:
        self._heard_at = anyio.current_time()
        self._current = True

    def _is_same_connection(self) -> bool:
        nc = self._source.nc
        return nc.is_connected and nc.stats["reconnects"] == self._reconnects

    async def _leave(self, subscription: Subscription, name: str) -> None:
        """Take the consumer along, if the bus is there; otherwise it forgets it by itself."""
        with (
            anyio.move_on_after(REQUEST_SECONDS, shield=True),
            contextlib.suppress(nats.errors.Error, OSError),
        ):
            await subscription.unsubscribe()
            if self._source.nc.is_connected:
                await self._source.js.delete_consumer(self._source.stream, name)
