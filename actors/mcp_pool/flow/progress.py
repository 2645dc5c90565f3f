"""Telling on an execution's stream how far a tool has come."""

from actors.mcp_pool.core.upstream import Progress
from bus.codec import encode
from bus.ports import Bus
from bus.subjects import fill
from bus.tasks import loop_time
from schemas.streams import MOST_PROGRESS, STREAM_SUBJECT, ToolProgressed
from schemas.tools import ToolWork

EACH_SECONDS = 0.1
"""What a server says more often is not told: somebody reads it."""

MOST_TOLD = min(1000, MOST_PROGRESS)
MOST_TEXT = 1000


def teller(bus: Bus, work: ToolWork) -> Progress | None:
    """Return what publishes the progress of a call, None where nobody is told."""
    if work.segment is None:
        return None
    return _Teller(bus, work, work.segment)


class _Teller:
    """Publishes progress without waiting; it is lost where the bus is away."""

    def __init__(self, bus: Bus, work: ToolWork, segment: int) -> None:
        self._bus = bus
        self._work = work
        self._segment = segment
        self._subject = fill(STREAM_SUBJECT, tenant=work.tenant, execution_id=work.execution_id)
        self._told = 0
        self._next = float("-inf")

    def __call__(self, progress: float, total: float | None, message: str) -> None:
        now = loop_time()
        if now < self._next or self._told >= MOST_TOLD:
            return
        work = self._work
        event = ToolProgressed(
            execution_id=work.execution_id,
            segment=self._segment,
            sequence=work.sequence + self._told,
            at=self._bus.clock(),
            call_id=work.call_id,
            tool_name=work.name or work.tool,
            progress=progress,
            total=total,
            message=message[:MOST_TEXT],
        )
        self._told += 1
        self._next = now + EACH_SECONDS
        data = encode(event)
        if not self._bus.outbox.offer(self._subject, data):
            self._bus.transport.tell(self._subject, data)
