"""Key-value buckets in tests: a value, a watcher that remembers, and a bucket on a server."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from nats.js.api import KeyValueConfig

from bus.connection import NatsAddress, NatsTransport, connect
from bus.kv import BucketEntry, BucketWatch, NatsBucket
from bus.streams.api import JetStream
from bus.testing import Server
from schemas.base import Message


class Note(Message):
    text: str
    number: int = 0


class Seen:
    """A watcher that remembers what it is told."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.log: list[str] = []

    def changed(self, entry: BucketEntry[Note]) -> None:
        self.notes[entry.key] = entry.value
        self.log.append(f"{entry.key}={entry.value.text}")

    def removed(self, key: str, revision: int) -> None:
        assert revision > 0
        self.notes.pop(key, None)
        self.log.append(f"-{key}")

    def cleared(self) -> None:
        self.notes.clear()
        self.log.append("clear")


def connected(server: Server) -> AbstractAsyncContextManager[NatsTransport]:
    return connect(NatsAddress(urls=server.urls, name="test"))


def bucket_of(transport: NatsTransport) -> NatsBucket[Note]:
    return NatsBucket(transport, JetStream(transport), "notes", Note)


@asynccontextmanager
async def made(
    transport: NatsTransport, config: KeyValueConfig | None = None
) -> AsyncGenerator[NatsBucket[Note]]:
    js = transport.client.jetstream()
    await js.create_key_value(config or KeyValueConfig(bucket="notes"))
    yield bucket_of(transport)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(15):
        while not condition():
            await anyio.sleep(0.01)


async def caught_up(watch: BucketWatch) -> None:
    await watch.catch_up(timeout=15)
