"""Events of one execution's stream, for tests of what reads them."""

from datetime import UTC, datetime, timedelta

from schemas.streams import AttemptRestarted, Completed, ContentChunk, Thinking
from schemas.usage import Usage

AT = datetime(2026, 1, 2, tzinfo=UTC)


def chunk(segment: int, sequence: int, content: str = "x") -> ContentChunk:
    """A piece of the answer."""
    return ContentChunk(
        execution_id="e", segment=segment, sequence=sequence, at=AT, content=content
    )


def restarted(segment: int, dropped: int) -> AttemptRestarted:
    """The word that a segment is void."""
    return AttemptRestarted(
        execution_id="e", segment=segment, sequence=0, at=AT, dropped_segment=dropped, reason="r"
    )


def waiting(segment: int) -> Thinking:
    """The owner's word that the next attempt is waited for."""
    until = AT + timedelta(seconds=9)
    return Thinking(
        execution_id="e", segment=segment, sequence=0, at=AT, status="again", until=until
    )


def completed(segment: int, text: str) -> Completed:
    """The end, with the whole answer."""
    return Completed(
        execution_id="e",
        segment=segment,
        sequence=0,
        at=AT,
        final_response=text,
        finish_reason="stop",
        usage=Usage(),
    )
