"""Knowing what a bucket holds: a process that has watched it to its end knows, no other does."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar

from bus.errors import ProblemError, UnavailableError
from bus.kv.bucket import Bucket, BucketWatch, Watcher
from schemas.problems import Problem

T = TypeVar("T")

PATIENCE_SECONDS = 4.0
"""A watch is back this long after a restart of the bus; a public request may take 5 s."""


class Followed:
    """Says whether a watch has come to its end and is still there. ``what`` names what it tells."""

    def __init__(
        self, watch: BucketWatch, what: str, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._watch = watch
        self._what = what
        self._patience_seconds = patience_seconds

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until the process knows: for the readiness of a part."""
        return None if self._watch.fresh else f"{self._what} not known yet"

    async def known(self) -> None:
        """Return at once if the process knows; else wait until it knows all stored before.

        Raises:
            ProblemError: ``unavailable``: it does not know in time, so nothing may be concluded
                from what it has not heard of.
        """
        if self._watch.fresh:
            return
        try:
            await self._watch.catch_up(timeout=self._patience_seconds)
        except UnavailableError:
            raise ProblemError(self._unknown()) from None

    def _unknown(self) -> Problem:
        message = f"{self._what} not known in this process at present; ask again"
        return Problem(code="unavailable", message=message, retryable=True, retry_after=1.0)


@asynccontextmanager
async def followed(
    bucket: Bucket[T], pattern: str, watcher: Watcher[T], what: str
) -> AsyncGenerator[Followed]:
    """Tell ``watcher`` of the keys that match while the context is open, and say how far it is.

    ``what`` is followed by "not known": ``the terms of tenants are``.
    """
    async with bucket.watch(pattern, watcher) as watch:
        yield Followed(watch, what)
