"""One run of a function for all who need its result at the same time."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from actors.mcp_pool.core.upstream import UpstreamError

T = TypeVar("T")


class _Flight(Generic[T]):
    """One run: ``done`` is set when it has a ``result`` or an ``error``."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.result: list[T] = []
        self.error: UpstreamError | None = None


class SingleFlight(Generic[T]):
    """Runs ``fly`` in a task of its own, so that who leaves takes it from nobody else.

    ``fly`` has a deadline of its own and raises ``UpstreamError`` alone.
    """

    def __init__(self, tasks: TaskGroup, fly: Callable[[], Awaitable[T]]) -> None:
        self._tasks = tasks
        self._fly = fly
        self._flight: _Flight[T] | None = None

    async def result(self, deadline: float) -> T:
        """Return the result of the run that is under way, or else of a new one.

        Raises:
            UpstreamError: that of the run, or ``deadline``.
        """
        flight = self._flight
        if flight is None:
            flight = self._flight = _Flight()
            self._tasks.start_soon(self._run, flight)
        with anyio.CancelScope(deadline=deadline):
            await flight.done.wait()
        if flight.error is not None:
            # A copy: each who waits raises its own.
            raise copied(flight.error)
        if not flight.result:
            raise UpstreamError("deadline", "the deadline passed while the server was being opened")
        return flight.result[0]

    async def _run(self, flight: _Flight[T]) -> None:
        try:
            flight.result.append(await self._fly())
        except UpstreamError as error:
            flight.error = error
        finally:
            self._flight = None
            if not flight.result and flight.error is None:
                flight.error = UpstreamError("cancelled", "the pool is being closed")
            flight.done.set()


def copied(error: UpstreamError) -> UpstreamError:
    """Return an error anew, to be raised once more."""
    return UpstreamError(
        error.outcome,
        error.message,
        sent=error.sent,
        session_lost=error.session_lost,
        retry_after=error.retry_after,
    )
