"""Events of one stream, arriving in any order, some twice and some late, put in order. Pure."""

from collections import deque
from collections.abc import Iterator

from schemas.assembly import Assembly
from schemas.streams import (
    ApprovalRequested,
    AttemptRestarted,
    Completed,
    ContentChunk,
    StreamEvent,
    Thinking,
    ToolProgressed,
    ToolReturned,
)

FIRST_SEGMENT = 1


class Order:
    """Takes in events and hands them out by cursor, each once, none of a segment that is void.

    ``after`` is the cursor of the last event the reader already has.
    """

    def __init__(self, after: str | None = None) -> None:
        self._known = Assembly()
        self._waiting: dict[tuple[int, int], StreamEvent] = {}
        self._dropped: set[int] = set()
        self._progress: deque[StreamEvent] = deque()
        self._text: list[str] = []
        self._last: StreamEvent | None = None
        self._segment, self._sequence = _following(after)
        self._resumed = after is not None
        self.cursor = after
        self.ended = False

    @property
    def blocked(self) -> bool:
        """Whether events are here that cannot be handed out, because others may be missing."""
        return bool(self._waiting) and not self._has_next() and not self._is_complete()

    @property
    def may_settle(self) -> bool:
        """Whether a new segment has begun and no word of the present one is known to be missing."""
        head = self._head()
        if head.sequence != 0 or self.lacks_notice:
            return False
        return self._resumed or not isinstance(head, Completed) or self._agrees(head)

    @property
    def lacks_notice(self) -> bool:
        """Whether the owner's word is missing that the present segment is void, or ended.

        It has the segment behind that of an attempt; only an attempt itself may publish nothing.
        """
        if not self._waiting or self._last is None:
            return False
        silent = 1 if _is_owners(self._last) else 0
        return self._head().segment > self._segment + 1 + silent

    def add(self, event: StreamEvent) -> None:
        """Take in one event."""
        place = (event.segment, event.sequence)
        if not self._known.add(event):
            return
        if isinstance(event, ToolProgressed):
            self._progress.append(event)
            return
        if place < (self._segment, self._sequence):
            return
        if isinstance(event, AttemptRestarted):
            self._drop(event.dropped_segment)
        self._waiting[place] = event

    def ready(self) -> Iterator[StreamEvent]:
        """Yield the events before which nothing is missing, and how far tools have come."""
        while self._progress and not self.ended:
            yield self._progress.popleft()
        while self._waiting and not self.ended:
            if self._has_next():
                yield self._pass(self._waiting.pop((self._segment, self._sequence)))
            elif self._is_complete():
                self.settle()
            else:
                return

    def settle(self) -> None:
        """Take it that nothing is missing before the first event that waits."""
        segment, sequence = min(self._waiting)
        if segment != self._segment:
            self._text.clear()
        self._segment, self._sequence = segment, sequence

    def _has_next(self) -> bool:
        return (self._segment, self._sequence) in self._waiting

    def _head(self) -> StreamEvent:
        return self._waiting[min(self._waiting)]

    def _pass(self, event: StreamEvent) -> StreamEvent:
        self._sequence += 1
        self._last = event
        self.cursor = event.cursor
        self.ended = self._known.terminal is event
        if isinstance(event, ContentChunk):
            self._text.append(event.content)
        return event

    def _is_complete(self) -> bool:
        """Say whether the first event that waits proves that the present segment has ended."""
        head = self._head()
        if (head.segment, head.sequence) != (self._segment + 1, 0):
            return False
        if self._segment in self._dropped or _is_owners(self._last):
            return True
        return isinstance(head, Completed) and self._agrees(head)

    def _agrees(self, end: Completed) -> bool:
        return end.final_response == "".join(self._text)

    def _drop(self, segment: int) -> None:
        self._dropped.add(segment)
        self._waiting = {
            place: event for place, event in self._waiting.items() if place[0] != segment
        }


def _is_owners(event: StreamEvent | None) -> bool:
    """Say whether an event is the only one of its segment: the owner's word between others."""
    if isinstance(event, Thinking):
        # A worker that waits says so too, but never first.
        return event.until is not None and event.sequence == 0
    return isinstance(event, AttemptRestarted | ToolReturned | ApprovalRequested)


def _following(after: str | None) -> tuple[int, int]:
    if after is None:
        return FIRST_SEGMENT, 0
    segment, _, sequence = after.partition(".")
    return int(segment), int(sequence) + 1
