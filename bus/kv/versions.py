"""How versions lie in their bucket: the newest under a head key, earlier ones by number.

Keys are ``<tenant>.<id>`` for the head and ``<tenant>.<id>.v<version>`` for an earlier version. The
head is the commit: it holds a whole value and is written by compare-and-set. Before it is
written anew, the version it held is archived under its own key, where it never changes. A process
that dies in between leaves nothing to mend: what is archived twice is the same twice.
"""

import contextlib
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Generic

import anyio

from bus import subjects
from bus.errors import DeadlineError, FencedError, ProblemError, UnavailableError, problem
from bus.fairness.slices import Slices
from bus.kv.bucket import Bucket, BucketEntry
from schemas.problems import Problem
from schemas.versioned import V

HEAD = "{tenant}.{id}"
HEADS = "*.*"
EVERYTHING = ">"

MAX_TRIES = 8
"""Of several that change one value at once, one wins each round; the others try again."""

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.5

CHANGE_SECONDS = 5.0
"""Long enough for the bus to be started anew meanwhile."""

Change = Callable[[V | None], V | Problem]
"""From the value that stands (None: never was one) to the one that shall stand."""

_random = SystemRandom()


class Versions(Generic[V]):
    """All versions of all values of one kind. A change may take ``patience`` seconds.

    Methods raise ``UnavailableError`` when the bucket does not answer, and ``ProblemError``
    ``validation`` for a tenant or id that is not one.
    """

    def __init__(self, bucket: Bucket[V], *, patience: float = CHANGE_SECONDS) -> None:
        self._bucket = bucket
        self._patience = patience
        self._slices = Slices()

    async def head(self, tenant: str, name: str) -> BucketEntry[V] | None:
        """Read the newest version, also of a deleted value."""
        return await self._bucket.get(_head_key(tenant, name))

    async def archived(self, tenant: str, name: str, version: int) -> V | None:
        """Read a version that was replaced."""
        entry = await self._bucket.get(_version_key(_head_key(tenant, name), version))
        return entry.value if entry else None

    async def drop(self, tenant: str, name: str, version: int) -> None:
        """Forget a version that was replaced. Raises ``FencedError`` if that is under way."""
        await self._bucket.erase(_version_key(_head_key(tenant, name), version))

    async def replace(self, tenant: str, name: str, change: Change[V]) -> BucketEntry[V]:
        """Store what ``change`` makes of the newest version, and return it.

        Its revision is 0 if it was stored, but has been replaced by another since.

        ``change`` is called again when another writer was faster. If it returns the value it was
        given, nothing is stored.

        Raises:
            ProblemError: what ``change`` refuses; ``conflict``, if others were faster every time.
            DeadlineError: the bucket did not answer in time; the outcome is unknown.
        """
        key = _head_key(tenant, name)
        try:
            with anyio.fail_after(self._patience):
                return await self._replace(key, change)
        except TimeoutError:
            raise DeadlineError(key, self._patience) from None

    async def _replace(self, key: str, change: Change[V]) -> BucketEntry[V]:
        unsure: list[V] = []
        slower, pause = 0, FIRST_PAUSE_SECONDS
        while slower < MAX_TRIES:
            try:
                return await self._try(key, change, unsure)
            except FencedError:
                slower += 1
            except UnavailableError:
                pause = max(pause, LONGEST_PAUSE_SECONDS / 4)
            await anyio.sleep(_random.uniform(0, pause))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        raise problem("conflict", "it is being changed by many at once", retryable=True)

    async def _try(self, key: str, change: Change[V], unsure: list[V]) -> BucketEntry[V]:
        head = await self._bucket.get(key)
        if head is not None and (ours := await self._found(head, unsure)):
            return ours
        standing = head.value if head else None
        # Large values take tens of milliseconds to check: one at a time.
        wanted = await self._slices.whole(lambda: change(standing), key.partition(".")[0])
        if isinstance(wanted, Problem):
            raise ProblemError(wanted)
        if head is not None and wanted is head.value:
            return head
        try:
            return await self._write(key, head, wanted)
        except UnavailableError:
            unsure.append(wanted)
            raise

    async def _write(self, key: str, head: BucketEntry[V] | None, wanted: V) -> BucketEntry[V]:
        if head is not None:
            with contextlib.suppress(FencedError):
                archive = _version_key(key, head.value.version)
                await self._bucket.put(archive, head.value, expected=0)
        revision = await self._bucket.put(key, wanted, expected=head.revision if head else 0)
        return BucketEntry(key, revision, wanted)

    async def _found(self, head: BucketEntry[V], unsure: Sequence[V]) -> BucketEntry[V] | None:
        """Return the one of our writes of unknown outcome that was stored after all."""
        for value in unsure:
            if head.value == value:
                return head
            if await self._is_archived(head.key, value):
                return BucketEntry(head.key, 0, value)
        return None

    async def _is_archived(self, key: str, value: V) -> bool:
        entry = await self._bucket.get(_version_key(key, value.version))
        return entry is not None and entry.value == value


def _head_key(tenant: str, name: str) -> str:
    return subjects.fill(HEAD, tenant=tenant, id=name)


def _version_key(head_key: str, version: int) -> str:
    return f"{head_key}.v{version}"
