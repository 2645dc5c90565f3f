"""Events of one execution's stream, for tests of what reads them."""

from datetime import UTC, datetime

from schemas.streams import AttemptRestarted, Completed, ContentChunk
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
