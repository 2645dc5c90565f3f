"""Reading a stream: events in any order, some of them twice, become one text. Pure.

Whoever reads a stream, live, stored or both, feeds every event to an ``Assembly`` and shows what
``add`` returns.
"""

from collections.abc import Iterator

from schemas.streams import (
    TERMINAL_TYPES,
    AttemptRestarted,
    ContentChunk,
    StreamEvent,
    Terminal,
    ThinkingChunk,
    ToolProgressed,
)

MOST_KNOWN = 100_000
"""Events of progress whose repeats are known."""


class Assembly:
    """The events of one execution as far as they are known.

    Repeats are dropped by (segment, sequence), and so is everything of a segment that
    ``attempt_restarted`` has made void. What tools tell of their progress is no part of the order,
    in which nothing is missing.
    """

    def __init__(self) -> None:
        self._segments: dict[int, dict[int, StreamEvent]] = {}
        self._dropped: set[int] = set()
        self._progress: set[tuple[int, int]] = set()
        self.terminal: Terminal | None = None
        self.repeats = 0

    def add(self, event: StreamEvent) -> bool:
        """Take in one event; say whether it is new and counts."""
        if isinstance(event, ToolProgressed):
            return self._progressed(event)
        events = self._segments.setdefault(event.segment, {})
        if event.sequence in events:
            self.repeats += 1
            return False
        events[event.sequence] = event
        if isinstance(event, AttemptRestarted):
            self._dropped.add(event.dropped_segment)
        if isinstance(event, TERMINAL_TYPES):
            self.terminal = event
        return event.segment not in self._dropped

    def _progressed(self, event: ToolProgressed) -> bool:
        place = (event.segment, event.sequence)
        if place in self._progress:
            self.repeats += 1
            return False
        if len(self._progress) < MOST_KNOWN:
            self._progress.add(place)
        return event.segment not in self._dropped

    @property
    def text(self) -> str:
        """The answer as far as it is known: that of the newest step that says something."""
        return _newest([event for event in self.events() if isinstance(event, ContentChunk)])

    @property
    def reasoning(self) -> str:
        """The model's reasoning as far as it is known, in the same way."""
        return _newest([event for event in self.events() if isinstance(event, ThinkingChunk)])

    @property
    def cursor(self) -> str | None:
        """Up to where nothing is missing within the newest segment; None before it begins."""
        if not self._segments:
            return None
        segment = max(self._segments)
        known = self._segments[segment]
        sequence = 0
        while sequence in known:
            sequence += 1
        return f"{segment}.{sequence - 1}" if sequence else None

    def gaps(self) -> list[tuple[int, int]]:
        """Return the (segment, sequence) that are missing below others of their segment."""
        return [
            (segment, sequence)
            for segment, known in sorted(self._segments.items())
            if segment not in self._dropped
            for sequence in range(max(known))
            if sequence not in known
        ]

    def events(self) -> Iterator[StreamEvent]:
        """Yield the events that count, in order."""
        for segment in sorted(self._segments):
            if segment not in self._dropped:
                for sequence in sorted(self._segments[segment]):
                    yield self._segments[segment][sequence]


def _newest(chunks: list[ContentChunk] | list[ThinkingChunk]) -> str:
    last = chunks[-1].step if chunks else None
    return "".join(chunk.content for chunk in chunks if chunk.step == last)
