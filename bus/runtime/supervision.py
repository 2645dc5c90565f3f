"""Running a process: its parts are supervised, drained on SIGTERM, honest about readiness."""

import signal
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, Self

import anyio
import structlog

from bus.config import Timing
from bus.errors import CallboardError
from bus.telemetry import metrics

log = structlog.get_logger()

EXIT_FAILURE = 1
EXIT_ALONE = 100
"""A process of several actors ends with this and the place of the one that is to run alone."""


class PartKind(IntEnum):
    """What a part is, in the order of draining: who takes work in comes before who carries it."""

    SERVICE = 0
    WORKER = 1
    HOST = 2
    PROJECTION = 3
    FAREWELL = 4


class Drainable(Protocol):
    """What most parts are: it runs, is drained, and says what it lacks."""

    async def run(self) -> None:
        """Run until cancelled or drained."""
        ...

    async def drain(self) -> None:
        """End in good order."""
        ...

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until it is ready."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a process.

    ``run`` lasts as long as the process; when it ends or raises it is started again, within the
    restart budget. ``drain`` ends it in good order, ``not_ready_reason`` names what it lacks to be
    ready.
    """

    name: str
    kind: PartKind = PartKind.PROJECTION
    run: Callable[[], Awaitable[None]]
    drain: Callable[[], Coroutine[Any, Any, None]] | None = None
    not_ready_reason: Callable[[], str | None] = lambda: None

    @classmethod
    def of(cls, name: str, kind: PartKind, this: Drainable) -> Self:
        """Return what runs, drains and judges this."""
        return cls(
            name=name,
            kind=kind,
            run=this.run,
            drain=this.drain,
            not_ready_reason=this.not_ready_reason,
        )


class RestartsSpentError(CallboardError):
    """A part has failed too often. ``exit_code`` is with which its process ends."""

    def __init__(self, part: Part, message: str) -> None:
        super().__init__(message)
        self.part = part
        self.exit_code = EXIT_FAILURE


class Runtime:
    """Starts parts in order, restarts those that fail, and drains them kind by kind.

    The parts may be those of several actors: parts of one kind are drained at the same time. A part
    that fails more often than ``restarts`` times in ``restart_window_seconds`` ends the process:
    whoever started it may start it afresh.
    """

    def __init__(self, parts: Sequence[Part], timing: Timing) -> None:
        self._parts = tuple(parts)
        self._timing = timing
        self._failures: dict[Part, deque[float]] = {part: deque() for part in parts}
        self._stopping = anyio.Event()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain.

        Raises:
            RestartsSpentError: a part failed too often.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_on_signal)
            for part in self._parts:
                tasks.start_soon(self._supervise, part)
            await self._stopping.wait()
            await self._drain()
            tasks.cancel_scope.cancel()

    def not_ready_reasons(self, parts: Sequence[Part] | None = None) -> list[str]:
        """Return what all parts, or some of them, still lack to be ready; empty if nothing."""
        lacks = [part.not_ready_reason() for part in (self._parts if parts is None else parts)]
        stopping = ["the process is stopping"] if self._stopping.is_set() else []
        return [lack for lack in lacks if lack is not None] + stopping

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._stopping.set()

    async def _stop_on_signal(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for received in signals:
                log.info("runtime.stopping", signal=received.name)
                self.stop()

    async def _supervise(self, part: Part) -> None:
        while not self._stopping.is_set():
            try:
                await part.run()
                reason = "ended"
            except Exception as error:  # the supervisor is where failures end
                reason = f"{type(error).__name__}: {error}"
                log.exception("runtime.part_failed", part=part.name)
            if self._stopping.is_set():
                return
            metrics.PART_RESTARTS.at(part.name).inc()
            spent = self._spend(part, reason)
            await anyio.sleep(self._timing.restart_pause_seconds * 2 ** (spent - 1))

    def _spend(self, part: Part, reason: str) -> int:
        """Note a failure and return how many there were of late."""
        now, failures = anyio.current_time(), self._failures[part]
        failures.append(now)
        while failures and failures[0] < now - self._timing.restart_window_seconds:
            failures.popleft()
        if len(failures) > self._timing.restarts:
            message = f"{part.name} failed {len(failures)} times: {reason}"
            raise RestartsSpentError(part, message)
        return len(failures)

    async def _drain(self) -> None:
        with anyio.move_on_after(self._timing.drain_seconds) as scope:
            for kind in PartKind:
                async with anyio.create_task_group() as tasks:
                    for part in self._parts:
                        if part.kind is kind and part.drain is not None:
                            tasks.start_soon(part.drain)
        if scope.cancelled_caught:
            log.warning("runtime.drain_cut", seconds=self._timing.drain_seconds)
        log.info("runtime.stopped")
