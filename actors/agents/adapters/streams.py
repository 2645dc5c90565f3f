"""Stored stream events, read by cursor for late, slow and returning readers.

A page costs what it brings, wherever in its stream it lies. Where events lie is remembered for the
streams read last, so that each message of a stream is looked at once in a process, and no further
than a page needs. Only the newest page of a stream that goes on has to know all that came before.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, cast

import anyio
import msgspec
import structlog

from actors.agents.adapters.conversations import ReadSubject
from actors.agents.core.positions import Positions, key_of
from bus.codec import decode
from bus.errors import ProblemError
from bus.fairness import Turnstile
from bus.ports import StoredMessage
from bus.subjects import fill
from schemas.base import Value
from schemas.bounded import Bounded
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

BATCH = 64
"""Messages that one request to the store asks for: 32 MiB if all were as large as they can be."""

PAGE_BYTES = 768 * 1024
"""Events of one page; a server's own limit of a message is 1 MiB. One larger event comes alone."""

REMEMBERED = 1_000_000
"""Events whose place is remembered, of all streams together: some 20 MB."""

AT_ONCE, WAITING = 4, 256
"""Pages of one tenant that are read at once, and that wait for it. More are refused."""

AT_ONCE_ALL = 32
"""Pages that are read at once for all tenants together."""

_READS = 3
"""How often a page is begun anew because the store has lost events meanwhile."""


class _Place(Value):
    """The only fields needed to put an event in order."""

    segment: int
    sequence: int


class _Found(NamedTuple):
    place: tuple[int, int]
    data: bytes


class _Known:
    """What is known of one stream: from its beginning, and ``ahead`` of that around one cursor.

    One reader at a time looks further.
    """

    def __init__(self) -> None:
        self.positions = Positions()
        self.ahead = Positions()
        self.looking = anyio.Lock(fast_acquire=True)

    def __len__(self) -> int:
        return len(self.positions) + len(self.ahead)


class Streams:
    """The stored streams. Events pass through as they are stored, undecoded.

    ``read_subject`` may return fewer messages than it was asked for; none means the end.
    """

    def __init__(self, read_subject: ReadSubject, *, remembered: int = REMEMBERED) -> None:
        self._read_subject = read_subject
        self._known: Bounded[str, _Known] = Bounded(remembered, len)
        self._turns = Turnstile(
            "streams.read", at_once=AT_ONCE, waiting=WAITING, at_once_all=AT_ONCE_ALL
        )

    async def read(
        self, tenant: str, wanted: ReadStream, record: Callable[[], Awaitable[ExecutionRecord]]
    ) -> StreamPage:
        """Return a page: of what is stored, or of a stream that has expired its recorded end.

        An execution may end between the first look at its stream and the one at its record: only
        what is still empty after that has expired.

        Raises:
            ProblemError: ``rate_limited`` where the tenant reads too many pages at once.
        """
        async with self._turns.turn(tenant):
            page = await self.page(tenant, wanted)
        if page.events:
            return page
        try:
            known = await record()
        except ProblemError as refused:
            if refused.problem.code == "not_found" and await self._is_there(tenant, wanted):
                return page
            raise
        end = self.from_record(known, wanted)
        if end.events:
            async with self._turns.turn(tenant):
                page = await self.page(tenant, wanted)
        return page if page.events else end

    async def _is_there(self, tenant: str, wanted: ReadStream) -> bool:
        """Say whether anything is stored of a stream: that of a workflow has no record here."""
        first = msgspec.structs.replace(wanted, after=None, limit=1)
        async with self._turns.turn(tenant):
            return bool((await self.page(tenant, first)).events)

    async def page(self, tenant: str, wanted: ReadStream) -> StreamPage:
        """Return the events after a cursor, in order, each once, bounded in count and bytes."""
        subject = fill(STREAM_SUBJECT, tenant=tenant, execution_id=wanted.execution_id)
        after = _parsed(wanted.after)
        for _ in range(_READS):
            known = self._known.get(subject) or self._known.put(subject, _Known())
            positions = await self._look(known, subject, after, wanted.limit)
            stored, more = positions.choose(after, wanted.limit, PAGE_BYTES)
            found = await self._fetch(subject, stored)
            if found is not None:
                if self._known.get(subject) is known:
                    self._known.put(subject, known)
                break
            # Events have expired, or the store was replaced: what is remembered is wrong.
            self._known.drop(subject)
        else:
            found, more = [], False
        return StreamPage(
            events=cast("list[StreamEvent]", [msgspec.Raw(each.data) for each in found]),
            next=_cursor(found[-1].place) if found else wanted.after,
            more=more,
        )

    async def forget(self) -> None:
        """Forget where events lie: a restarted server may have given their places to others."""
        self._known.clear()

    async def _look(
        self, known: _Known, subject: str, after: tuple[int, int] | None, limit: int
    ) -> Positions:
        """Look on in the stream until it is certain which events come next; return where they lie.

        What is read around a far cursor is enough where events follow it without a gap.
        """
        positions = known.positions
        async with known.looking:
            if after is not None and not positions.reaches(after):
                is_far = await self._look_once(positions, subject) and not positions.reaches(after)
                if is_far and await self._look_ahead(known, subject, after, limit):
                    return known.ahead
            await self._look_on(positions, subject, after, limit)
            return positions

    async def _look_ahead(
        self, known: _Known, subject: str, after: tuple[int, int], limit: int
    ) -> bool:
        """Look around a cursor, where it was looked last if that is there; say if it is certain."""
        if not known.ahead.holds(after):
            known.ahead = Positions()
            before = await self._before(subject, after, known.positions.through)
            known.ahead.skip(before - 1)
        return await self._look_on(known.ahead, subject, after, limit)

    async def _look_on(
        self, positions: Positions, subject: str, after: tuple[int, int] | None, limit: int
    ) -> bool:
        while not positions.is_certain(after, limit):
            if not await self._look_once(positions, subject):
                return False
        return True

    async def _look_once(self, positions: Positions, subject: str) -> bool:
        """Look at the next messages; say whether there were any."""
        start = positions.through + 1
        for stored in await self._read_subject(STREAM, subject, start=start, limit=BATCH):
            _note(positions, stored)
        return positions.through >= start

    async def _before(self, subject: str, after: tuple[int, int], start: int) -> int:
        """Return the sequence of a message not far before those that follow a cursor.

        Events lie in the order of their cursors as a rule, and among those of other streams, so the
        store is asked for the first message from some sequence on: ever further, then in between.
        """
        low, step, high = start, BATCH, 0
        while not high:
            if (found := await self._at_most(subject, after, low + step)) is None:
                high = low + step
            else:
                low, step = found, 2 * step
        while high - low > BATCH:
            middle = (low + high) // 2
            if (found := await self._at_most(subject, after, middle)) is None:
                high = middle
            else:
                low = found
        return low

    async def _at_most(self, subject: str, after: tuple[int, int], start: int) -> int | None:
        """Return the first message's sequence from ``start`` on; None if it is past a cursor."""
        for stored in await self._read_subject(STREAM, subject, start=start, limit=1):
            place = _placed(stored)
            if place is not None and key_of(place) <= key_of(after):
                return stored.sequence
        return None

    async def _fetch(self, subject: str, chosen: Sequence[int]) -> list[_Found] | None:
        """Return these messages in their order; None if one is not there any more."""
        found: dict[int, _Found] = {}
        for start in range(0, len(chosen), BATCH):
            wanted = set(chosen[start : start + BATCH])
            while wanted:
                first = min(wanted)
                limit = len(wanted)
                for stored in await self._read_subject(STREAM, subject, start=first, limit=limit):
                    if stored.sequence in wanted:
                        wanted.remove(stored.sequence)
                        place = _placed(stored)
                        if place is not None:
                            found[stored.sequence] = _Found(place, stored.data)
                if first not in found:
                    return None
        return [found[sequence] for sequence in chosen]

    def from_record(self, record: ExecutionRecord, wanted: ReadStream) -> StreamPage:
        """Return the page of a stream that has expired: its end, as the record tells it."""
        after = _parsed(wanted.after)
        if record.status not in ENDED or (after is not None and (record.segment, 0) <= after):
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
            warnings=record.warnings,
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


def _note(positions: Positions, stored: StoredMessage) -> None:
    place = _placed(stored)
    if place is None:
        positions.skip(stored.sequence)
    else:
        positions.add(*place, stored.sequence, len(stored.data))


def _placed(stored: StoredMessage) -> tuple[int, int] | None:
    """Return where an event stands; None where a server whose disk was full has kept none of it.

    For its reader such an event is one that was lost: it comes again, or the end tells the text.
    """
    try:
        place = decode(_Place, stored.data)
    except ProblemError as unread:
        size = len(stored.data)
        log.warning("stream.unreadable", sequence=stored.sequence, bytes=size, error=str(unread))
        return None
    return place.segment, place.sequence


def _parsed(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    segment, sequence = cursor.split(".")
    return int(segment), int(sequence)


def _cursor(place: tuple[int, int]) -> str:
    segment, sequence = place
    return f"{segment}.{sequence}"
