"""Which calls are made again: never one that may have had its effect, unless that does no harm."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from actors.mcp_pool.core.retries import (
    MOST_TRIES,
    CallFailure,
    counts_against_server,
    pause_before,
)
from schemas.tools import UNSENT, ToolOutcome

OUTCOMES: tuple[ToolOutcome, ...] = get_args(ToolOutcome)

failures = st.builds(
    CallFailure,
    outcome=st.sampled_from(OUTCOMES),
    message=st.just("no"),
    sent=st.booleans(),
    session_lost=st.booleans(),
    retry_after=st.none() | st.floats(0, 100),
)


@given(failures, st.integers(1, 10), st.booleans())
def test_what_may_have_been_done_is_not_done_again(failure: CallFailure, tries: int, repeat: bool):
    pause = pause_before(failure, tries, may_repeat=repeat)

    if failure.sent and not repeat:
        assert pause is None
    if tries >= MOST_TRIES or failure.outcome in {"deadline", "cancelled", "circuit_open"}:
        assert pause is None
    if pause is not None and failure.retry_after and not failure.session_lost:
        assert pause >= failure.retry_after


@given(failures)
def test_a_problem_says_that_it_may_be_tried_again_only_of_what_was_not_sent(failure: CallFailure):
    problem = failure.problem()

    assert problem.details["outcome"] == failure.outcome
    assert problem.retryable == (not failure.sent and failure.outcome in UNSENT)


def test_a_server_that_has_restarted_is_not_ill():
    lost = CallFailure("rejected", "no such session", sent=False, session_lost=True)
    away = CallFailure("not_sent", "connection refused", sent=False)

    assert not counts_against_server(lost)
    assert pause_before(lost, 1, may_repeat=False) == 0.0
    assert counts_against_server(away)
    assert pause_before(away, 1, may_repeat=False) is not None
    assert not counts_against_server(CallFailure("overloaded", "later", sent=False, retry_after=1))
