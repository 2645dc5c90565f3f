"""Declared buckets: what lies in one, whose it is, and what those know who follow it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from bus.connection import NatsTransport
from bus.kv.bucket import Bucket, Watcher
from bus.kv.nats_bucket import NatsBucket
from bus.streams.api import JetStream
from bus.streams.spec import StreamSpec, key_value_spec

T = TypeVar("T")
W = TypeVar("W", bound=Watcher[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Store(Generic[T]):
    """A bucket of ``kind`` with at most ``max_bytes``. One actor owns it; any may follow it.

    ``max_age`` is in seconds, 0 for ever. Where it ``forgets`` the oldest values go when it is
    full, and one server may acknowledge before a value is on disk; otherwise what does not fit is
    refused.
    """

    bucket: str
    kind: type[T]
    max_bytes: int
    max_age: float = 0
    forgets: bool = False

    def spec(self) -> StreamSpec:
        """Return the stream below the bucket."""
        spec = key_value_spec(self.bucket, max_bytes=self.max_bytes)
        keeps = not self.forgets
        return replace(spec, max_age=self.max_age, refuse_when_full=keeps, lazy=self.forgets)

    def open(self, transport: NatsTransport, jetstream: JetStream) -> Bucket[T]:
        """Return the bucket, which must stand."""
        return NatsBucket(transport, jetstream, self.bucket, self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow(Generic[W]):
    """A store that a process watches to its end before it is ready.

    ``make`` returns what is told of the keys that match ``pattern``, by the name of the process and
    its settings. ``what`` is followed by "not known": ``the terms of tenants are``.
    """

    store: Store[Any]
    pattern: str
    make: Callable[[str, Any], W]
    what: str
