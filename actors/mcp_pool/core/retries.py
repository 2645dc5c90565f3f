"""Whether a call that has brought no result is made again, and what its failure speaks against."""

from typing import NamedTuple

from schemas.problems import Problem, ProblemCode
from schemas.tools import UNSENT, ToolOutcome

MOST_TRIES = 3
FIRST_PAUSE = 0.1
"""Seconds before the second try; it doubles with each."""

_OF_THE_SERVER: frozenset[ToolOutcome] = frozenset(
    ("not_sent", "protocol_error", "deadline", "outcome_unknown")
)

_CODES: dict[ToolOutcome, ProblemCode] = {
    "not_sent": "unavailable",
    "rejected": "provider_error",
    "protocol_error": "provider_error",
    "deadline": "timeout",
    "circuit_open": "unavailable",
    "overloaded": "provider_overloaded",
    "cancelled": "cancelled",
    "outcome_unknown": "outcome_unknown",
}


class CallFailure(NamedTuple):
    """What became of a call. ``sent``: it may have had an effect."""

    outcome: ToolOutcome
    message: str
    sent: bool
    session_lost: bool = False
    retry_after: float | None = None

    def problem(self) -> Problem:
        """Return what is told of it."""
        retryable = not self.sent and self.outcome in UNSENT
        return Problem(
            code=_CODES[self.outcome],
            message=self.message,
            retryable=retryable,
            retry_after=self.retry_after,
            details={"outcome": self.outcome},
        )


def counts_against_server(failure: CallFailure) -> bool:
    """Say whether it shows that the replica is ill. A lost session alone does not: it restarted."""
    return failure.outcome in _OF_THE_SERVER and not (failure.session_lost and not failure.sent)


def pause_before(failure: CallFailure, tries: int, *, may_repeat: bool) -> float | None:
    """Return the seconds until a call is tried again after so many tries, None if it is not.

    What was surely not sent may be sent again, and so may any call that does no harm twice. A call
    that was refused as it stands, or has used up its time, is not.
    """
    if tries >= MOST_TRIES or failure.outcome in {"deadline", "cancelled", "circuit_open"}:
        return None
    if failure.sent and not may_repeat:
        return None
    if failure.outcome == "rejected" and not failure.session_lost and failure.retry_after is None:
        return None
    if failure.outcome == "protocol_error" and not failure.session_lost:
        return None
    if failure.session_lost:
        return 0.0
    return max(FIRST_PAUSE * 2 ** (tries - 1), failure.retry_after or 0.0)
