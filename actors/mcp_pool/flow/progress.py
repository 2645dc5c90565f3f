"""Telling on an execution's stream how far a tool has come, and what its server logs."""

from typing import get_args

from bus.codec import encode
from bus.ports import Bus
from bus.subjects import fill
from bus.tasks import loop_time
from schemas.streams import MOST_PROGRESS, STREAM_SUBJECT, LogLevel, ToolProgressed
from schemas.tools import ToolWork

EACH_SECONDS = 0.1
"""What a server says more often is not told: somebody reads it."""

MOST_TOLD = min(1000, MOST_PROGRESS)
MOST_LOGGED = 100
MOST_TEXT = 1000

_LEVELS = get_args(LogLevel)


def teller(bus: Bus, work: ToolWork) -> "Teller | None":
    """Return what publishes what is told of a call, None where nobody is told."""
    if work.segment is None:
        return None
    return Teller(bus, work, work.segment)


class Teller:
    """Publishes progress and logs without waiting; they are lost where the bus is away."""

    def __init__(self, bus: Bus, work: ToolWork, segment: int) -> None:
        self._bus = bus
        self._work = work
        self._segment = segment
        self._subject = fill(STREAM_SUBJECT, tenant=work.tenant, execution_id=work.execution_id)
        self._told = 0
        self._logged = 0
        self._progress = 0.0
        self._next = float("-inf")

    def progressed(self, progress: float, total: float | None, message: str) -> None:
        """See ``Progress``."""
        self._progress = progress
        now = loop_time()
        if now >= self._next:
            self._next = now + EACH_SECONDS
            self._tell(total, message)

    def logged(self, level: str, message: str) -> None:
        """See ``Log``."""
        self._logged += 1
        if self._logged <= MOST_LOGGED:
            known: LogLevel = level if level in _LEVELS else "info"  # pyright: ignore[reportAssignmentType]  one of them
            self._tell(None, message, known)

    def _tell(self, total: float | None, message: str, level: LogLevel | None = None) -> None:
        if self._told >= MOST_TOLD:
            return
        work = self._work
        event = ToolProgressed(
            execution_id=work.execution_id,
            segment=self._segment,
            sequence=work.sequence + self._told,
            at=self._bus.clock(),
            call_id=work.call_id,
            tool_name=work.name or work.tool,
            progress=self._progress,
            total=total,
            message=message[:MOST_TEXT],
            level=level,
        )
        self._told += 1
        data = encode(event)
        if not self._bus.outbox.offer(self._subject, data):
            self._bus.transport.tell(self._subject, data)
