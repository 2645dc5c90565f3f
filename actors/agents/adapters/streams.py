"""Stored stream events, read by cursor for late, slow and returning readers."""

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, cast

import msgspec
import structlog

from actors.agents.adapters.conversations import ReadSubject
from bus.codec import decode
from bus.errors import ProblemError
from bus.ports import Stored
from bus.subjects import fill
from schemas.base import Value
from schemas.executions import ENDED, ExecutionRecord
from schemas.problems import Problem
from schemas.streams import (
    STREAM_SUBJECT,
    Cancelled,
    Completed,
    Failed,
    ReadStream,
    StreamEvent,
    StreamPage,
)
from schemas.usage import Usage

log = structlog.get_logger()

STREAM = "STREAMS"
BATCH = 1000


class _Place(Value):
    """The only fields needed to put an event in order."""

    segment: int
    sequence: int


class _Stored(NamedTuple):
    segment: int
    sequence: int
    data: bytes


class Streams:
    """The stored streams. Events pass through as they are stored, undecoded."""

    def __init__(self, read_subject: ReadSubject) -> None:
        self._read_subject = read_subject

    async def read(
        self, tenant: str, wanted: ReadStream, record: Callable[[], Awaitable[ExecutionRecord]]
    ) -> StreamPage:
        """Return a page: of what is stored, or of a stream that has expired its recorded end.

        An execution may end between the first look at its stream and the one at its record: only
        what is still empty after that has expired.
        """
        page = await self.page(tenant, wanted)
        if page.events:
            return page
        end = self.from_record(await record(), wanted)
        page = await self.page(tenant, wanted) if end.events else page
        return page if page.events else end

    async def page(self, tenant: str, wanted: ReadStream) -> StreamPage:
        """Return the events after a cursor, in order, each once."""
        subject = fill(STREAM_SUBJECT, tenant=tenant, execution_id=wanted.execution_id)
        after = _parsed(wanted.after)
        found = {
            place[:2]: place
            for stored in await self._all(subject)
            if (place := _placed(stored)) is not None and place[:2] > after
        }
        chosen = sorted(found.values())[: wanted.limit]
        return StreamPage(
            events=cast("list[StreamEvent]", [msgspec.Raw(place.data) for place in chosen]),
            next=_cursor(chosen[-1]) if chosen else wanted.after,
            more=len(found) > len(chosen),
        )

    async def _all(self, subject: str) -> Iterable[Stored]:
        """Return all events of a stream: arrival order is not cursor order after a restart."""
        events: list[Stored] = []
        start = 1
        while True:
            batch = await self._read_subject(STREAM, subject, start=start, limit=BATCH)
            events.extend(batch)
            if len(batch) < BATCH:
                return events
            start = batch[-1].sequence + 1

    def from_record(self, record: ExecutionRecord, wanted: ReadStream) -> StreamPage:
        """Return the page of a stream that has expired: its end, as the record tells it."""
        after = _parsed(wanted.after)
        if record.status not in ENDED or (record.segment, 0) <= after:
            return StreamPage(events=[], next=wanted.after, more=False)
        end = _terminal(record)
        return StreamPage(events=[end], next=end.cursor, more=False)


def _terminal(record: ExecutionRecord) -> Completed | Failed | Cancelled:
    at = record.completed_at or record.created_at
    error = record.error or Problem(code="internal", message="the execution ended")
    if record.status == "COMPLETED":
        return Completed(
            execution_id=record.execution_id,
            segment=record.segment,
            sequence=0,
            at=at,
            final_response=record.output or "",
            finish_reason=record.finish_reason or "other",
            usage=record.usage_at_end or record.usage or Usage(),
            cost=record.cost_at_end if record.usage_at_end else record.cost,
            reasoning=record.reasoning or "",
            tool_calls=record.tool_calls,
            model_served=record.model_served,
            cached=record.cached,
            text=record.text,
        )
    if record.status == "CANCELLED":
        return Cancelled(
            execution_id=record.execution_id,
            segment=record.segment,
            sequence=0,
            at=at,
            reason=error.message,
        )
    return Failed(
        execution_id=record.execution_id, segment=record.segment, sequence=0, at=at, error=error
    )


def _placed(stored: Stored) -> _Stored | None:
    """Return where an event stands; None where a server whose disk was full has kept none of it.

    For its reader such an event is one that was lost: it comes again, or the end tells the text.
    """
    try:
        place = decode(_Place, stored.data)
    except ProblemError as unread:
        size = len(stored.data)
        log.warning("stream.unreadable", sequence=stored.sequence, bytes=size, error=str(unread))
        return None
    return _Stored(place.segment, place.sequence, stored.data)


def _parsed(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return (-1, -1)
    segment, sequence = cursor.split(".")
    return int(segment), int(sequence)


def _cursor(place: _Stored) -> str:
    return f"{place.segment}.{place.sequence}"
