"""A watch on JetStream: a push consumer of our own that is checked message by message.

The consumers that nats-py keeps in order notice a loss only by their heartbeat and need 20 s to
come back after a restart of the bus. This one counts: a message out of turn, a heartbeat that knows
of more, silence or a lost connection ends the session, and the next one goes on behind the last
message seen.
"""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import Any, Generic, NamedTuple, TypeVar

import anyio
import nats.errors
from nats.aio.msg import Msg

from bus import codec
from bus.connection import NatsTransport
from bus.errors import ProblemError, UnavailableError
from bus.ids import new_id
from bus.kv.bucket import BucketEntry, BucketWatch, Watcher
from bus.kv.message import KeyPlace, newest, value_in
from bus.streams.api import CONSUMER_NOT_FOUND, JetStream, JetStreamError
from bus.tasks import background, loop_time

T = TypeVar("T")

HEARTBEAT_SECONDS = 0.5
"""How often the server speaks when there is nothing to tell."""

SILENCE_SECONDS = 1.5
"""Two heartbeats may be lost; after that the watch is stale and begins anew."""

ABANDONED_SECONDS = 5.0
"""The server forgets the consumer of a process that is gone."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
"""Between two tries, drawn at random, so that a fleet does not come back all at once."""

_NANOSECONDS = 1_000_000_000
_CONTROL = "100"

SIZE = "Nats-Msg-Size"
"""The header in which a server that sends no values says how large they are."""

_FAILURES = (JetStreamError, UnavailableError, nats.errors.Error)

_random = SystemRandom()


class WatchSource(NamedTuple):
    """What is watched: the keys of a bucket that match ``pattern``.

    With ``sizes`` the server sends no values, and their sizes are told in their place.
    """

    transport: NatsTransport
    jetstream: JetStream
    stream: str
    prefix: str
    pattern: str
    sizes: bool = False

    @property
    def subject(self) -> str:
        """The filter of the stream's subjects."""
        return self.prefix + self.pattern


@asynccontextmanager
async def following(
    source: WatchSource, kind: type[T], watcher: Watcher[T]
) -> AsyncGenerator[BucketWatch]:
    """Tell ``watcher`` of all changes while the context is open."""
    watch = _NatsWatch(source, kind, watcher)
    forget = source.transport.on_reconnect(watch.returned)
    # An answer that never comes: whoever waits for one is told at once when the bus is lost.
    loss = source.transport.replies.expect(watch.lost)
    try:
        async with background(watch.run):
            yield watch
    finally:
        source.transport.replies.forget(loss)
        forget()


class _NatsWatch(Generic[T]):
    def __init__(self, source: WatchSource, kind: type[T], watcher: Watcher[T]) -> None:
        self._source = source
        self._kind = kind
        self._watcher = watcher
        self._consumer = f"watch-{new_id()}"
        # What has been seen, over all sessions.
        self._created = ""
        self._position = 0
        # The present session.
        self._running = False
        self._current = False
        self._taken = 0
        self._heard_at = 0.0
        # What waits, waits for one of these.
        self._heard = anyio.Event()
        self._back = anyio.Event()

    # What users ask

    @property
    def fresh(self) -> bool:
        """See ``BucketWatch.fresh``."""
        return self._current and self._silence() < SILENCE_SECONDS

    async def catch_up(self, *, timeout: float) -> None:
        """See ``BucketWatch.catch_up``."""
        source = self._source
        try:
            with anyio.fail_after(timeout):
                await self._until_fresh(0)
                cell = await newest(source.jetstream, source.stream, source.subject)
                await self._until_fresh(cell.revision if cell else 0)
        except (JetStreamError, TimeoutError):
            raise UnavailableError(source.subject, "cannot catch up") from None

    async def _until_fresh(self, revision: int) -> None:
        while not self.fresh or self._position < revision:
            await self._heard.wait()

    # Sessions

    async def run(self) -> None:
        """Follow the bucket for ever, one session after another."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            with contextlib.suppress(*_FAILURES):
                await self._session()
                pause = FIRST_PAUSE_SECONDS
            self._end()
            with anyio.move_on_after(LONGEST_PAUSE_SECONDS):
                await self._wait_for_the_bus()
            await anyio.sleep(_random.uniform(0, pause))

    def lost(self, _: object) -> None:
        """The bus is away: whatever changes now is not told."""
        self._end()

    async def returned(self) -> None:
        """The bus was away and is there again."""
        self._back.set()

    async def _wait_for_the_bus(self) -> None:
        while not self._source.transport.connected:
            self._back = anyio.Event()
            await self._back.wait()

    async def _session(self) -> None:
        source = self._source
        await self._begin()
        inbox = source.transport.client.new_inbox()
        # The server learns of the subscription before the consumer, because it reads in order.
        subscription = await source.transport.client.listen(inbox, self._take)
        try:
            await self._create_consumer(inbox)
            await self._follow()
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(*_FAILURES):
                await subscription.unsubscribe()
                await self._remove_consumer()

    async def _begin(self) -> None:
        """Go on behind the last message seen, or from the start if that is not there any more."""
        await self._remove_consumer()
        info = await self._source.jetstream.stream_info(self._source.stream)
        if self._created != info["created"] or info["state"]["last_seq"] < self._position:
            self._created = info["created"]
            self._position = 0
            self._watcher.cleared()
        self._running, self._taken = True, 0
        self._heard_at = loop_time()

    async def _create_consumer(self, inbox: str) -> None:
        stream, subject = self._source.stream, self._source.subject
        created = await self._source.jetstream.call(
            f"CONSUMER.CREATE.{stream}.{self._consumer}.{subject}",
            {"stream_name": stream, "config": self._settings(inbox)},
        )
        if not created["num_pending"]:
            self._current = self._running
            self._wake()

    async def _remove_consumer(self) -> None:
        """Remove the consumer of this session, or what an earlier one left behind."""
        request = f"CONSUMER.DELETE.{self._source.stream}.{self._consumer}"
        try:
            await self._source.jetstream.call(request)
        except JetStreamError as error:
            if error.code != CONSUMER_NOT_FOUND:
                raise

    def _settings(self, inbox: str) -> dict[str, Any]:
        start: dict[str, Any] = {"deliver_policy": "last_per_subject"}
        if self._position:
            start = {
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self._position + 1,
            }
        return start | {
            "name": self._consumer,
            "deliver_subject": inbox,
            "filter_subject": self._source.subject,
            "headers_only": self._source.sizes,
            "ack_policy": "none",
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_SECONDS * _NANOSECONDS),
            "inactive_threshold": int(ABANDONED_SECONDS * _NANOSECONDS),
            "mem_storage": True,
            "num_replicas": 1,
        }

    async def _follow(self) -> None:
        """Stay until the session ends or the server has been silent for too long."""
        while self._running and self._silence() < SILENCE_SECONDS:
            with anyio.move_on_after(SILENCE_SECONDS - self._silence()):
                await self._heard.wait()

    # Messages

    async def _take(self, message: Msg) -> None:
        if not self._running:
            return
        self._heard_at = loop_time()
        headers = message.headers or {}
        if "Status" in headers:
            in_turn = await self._control(message, headers)
        else:
            in_turn = self._tell(message, headers)
        if in_turn:
            self._wake()
        else:
            self._end()

    async def _control(self, message: Msg, headers: Mapping[str, str]) -> bool:
        """Answer flow control; say whether nothing was lost until now."""
        reply = message.reply or headers.get("Nats-Consumer-Stalled")
        if reply:
            await self._source.transport.publish(reply, b"")
        taken = int(headers.get("Nats-Last-Consumer", self._taken))
        return headers["Status"] == _CONTROL and taken == self._taken

    def _tell(self, message: Msg, headers: Mapping[str, str]) -> bool:
        """Tell the watcher of a message, unless one before it is missing."""
        about = KeyPlace.of(message.reply)
        self._taken += 1
        if about.number != self._taken:
            return False
        self._position = about.revision
        key = message.subject.removeprefix(self._source.prefix)
        shown = headers.get(SIZE, "0").encode() if self._source.sizes else message.data
        data = value_in(shown, headers)
        try:
            if data is None:
                self._watcher.removed(key, self._position)
            else:
                value = codec.decode(self._kind, data)
                self._watcher.changed(BucketEntry(key, self._position, value))
        except ProblemError:
            self._watcher.removed(key, self._position)
        self._current = self._current or about.pending == 0
        return True

    def _end(self) -> None:
        self._running = self._current = False
        self._wake()

    def _wake(self) -> None:
        self._heard.set()
        self._heard = anyio.Event()

    def _silence(self) -> float:
        return loop_time() - self._heard_at
