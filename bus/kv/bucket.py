"""What a key-value bucket promises.

Keys are tokens with dots between them, as subjects are, so that a pattern (``acme.*``) names many.
Each write has a revision, which grows over the whole bucket.
"""

from contextlib import AbstractAsyncContextManager
from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class BucketEntry(NamedTuple, Generic[T]):
    """A value with the revision that wrote it."""

    key: str
    revision: int
    value: T


class Watcher(Protocol[T]):
    """What is told of changes, in the order in which they were stored. Must not block."""

    def changed(self, entry: BucketEntry[T]) -> None:
        """A key has this value now."""
        ...

    def removed(self, key: str, revision: int) -> None:
        """A key has no value any more, or one that cannot be read."""
        ...

    def cleared(self) -> None:
        """Forget everything: what is told from now on begins with all keys that stand."""
        ...


class BucketWatch(Protocol):
    """The state of a watch."""

    @property
    def fresh(self) -> bool:
        """Whether the watcher knows what was stored until a moment ago.

        False while the keys are read for the first time, after a restart of the bus until the
        watch is back, and when the bus has been silent for longer than its heartbeat allows.
        """
        ...

    async def catch_up(self, *, timeout: float) -> None:
        """Wait until the watcher knows all that was stored before this call.

        Raises:
            UnavailableError: not within ``timeout`` seconds.
        """
        ...


class Bucket(Protocol[T]):
    """Values of one type by key. A write that was answered is seen by every later ``get``."""

    async def get(self, key: str) -> BucketEntry[T] | None:
        """Return the newest entry of a key, None if there is none.

        Raises:
            UnavailableError: the bucket does not answer.
            ProblemError: ``internal``, if what is stored cannot be read.
        """
        ...

    async def put(self, key: str, value: T, *, expected: int) -> int:
        """Store a value if the key's revision is ``expected`` (0 = no value); return the new one.

        Raises:
            FencedError: the key has another revision; nothing was stored.
            UnavailableError: the outcome is unknown; read the key to learn it.
            ProblemError: ``validation``, if the value is too large for one message.
        """
        ...

    async def remove(self, key: str, *, expected: int) -> None:
        """Remove a value if the key's revision is ``expected``. Raises as ``put`` does."""
        ...

    async def erase(self, key: str) -> None:
        """Remove a key and every trace of it, whatever its revision; watchers are told.

        Raises:
            UnavailableError: not known to be erased.
            FencedError: somebody writes the key meanwhile.
        """
        ...

    def watch_sizes(
        self, pattern: str, watcher: Watcher[int]
    ) -> AbstractAsyncContextManager[BucketWatch]:
        """Tell ``watcher`` as ``watch`` does, but only how many bytes each value has."""
        ...

    def watch(self, pattern: str, watcher: Watcher[T]) -> AbstractAsyncContextManager[BucketWatch]:
        """Tell ``watcher`` of the keys that match, and of each change, while the context is open.

        Entering does not wait for the bus; ``BucketWatch.fresh`` says when the first reading is
        through.
        """
        ...
