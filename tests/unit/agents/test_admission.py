"""Executions of a tenant are bounded: those that are open, and what has ended within an hour."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.adapters.admission import Admission
from actors.agents.core.hour import PART_SECONDS, PARTS, Hour
from actors.agents.core.index import RECORD_PATIENCE, ExecutionIndex
from bus.config import Config
from bus.errors import ProblemError
from bus.fairness import Quotas
from schemas.executions import ExecutionRecord

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
QUOTAS = Quotas.load(Config(quota_executions=3, quota_record_bytes=1000))


def _record(name: str, **more: object) -> ExecutionRecord:
    return msgspec.structs.replace(
        ExecutionRecord(
            execution_id=name,
            status="RUNNING",
            task="t",
            revision=1,
            digest="d",
            stream=f"cb.t.stream.{name}",
            created_at=NOW,
            deadline=NOW,
            max_attempts=1,
        ),
        **more,
    )


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def _admission() -> tuple[Admission, ExecutionIndex, Clock]:
    index, clock = ExecutionIndex(), Clock()
    return Admission(index, QUOTAS, clock), index, clock


def _begin(admission: Admission, tenant: str, name: str) -> None:
    admission.demand(tenant, name)
    admission.begun(tenant, name)


def test_open_executions_are_bounded_and_another_tenant_goes_on() -> None:
    admission, index, _ = _admission()
    index.observe("greedy", _record("r"))
    _begin(admission, "greedy", "a")
    _begin(admission, "greedy", "b")
    with pytest.raises(ProblemError) as refused:
        admission.demand("greedy", "c")
    problem = refused.value.problem
    assert (problem.code, problem.field, problem.retryable) == ("rate_limited", "executions", True)
    assert problem.details == {"quota": "executions", "used": 4, "allowed": 3}
    _begin(admission, "modest", "c")
    # The same command once more attaches to what is there.
    for known in "rab":
        admission.demand("greedy", known)
    index.observe("greedy", _record("a"))
    with pytest.raises(ProblemError):
        admission.demand("greedy", "c")
    index.observe("greedy", _record("a", revision=2, status="COMPLETED", completed_at=NOW))
    admission.demand("greedy", "c")


def test_one_of_which_no_record_ever_comes_is_not_counted_for_ever() -> None:
    admission, _, clock = _admission()
    for name in "abc":
        _begin(admission, "greedy", name)
    with pytest.raises(ProblemError):
        admission.demand("greedy", "d")
    clock.now += RECORD_PATIENCE + timedelta(seconds=1)
    admission.demand("greedy", "d")


def test_what_was_stored_within_an_hour_is_bounded() -> None:
    admission, index, clock = _admission()
    ended = {"revision": 5, "status": "FAILED", "completed_at": NOW}
    index.observe("greedy", _record("a", **ended), 600)
    index.observe("greedy", _record("a", **ended), 600)
    index.observe("greedy", _record("b"), 600)
    admission.demand("greedy", "c")
    index.observe("greedy", _record("b", **ended), 600)
    with pytest.raises(ProblemError) as refused:
        admission.demand("greedy", "c")
    assert refused.value.problem.details == {"quota": "record_bytes", "used": 1200, "allowed": 1000}
    assert {(use.tenant, use.quota, use.used) for use in admission.uses()} == {
        ("greedy", "executions", 0),
        ("greedy", "record_bytes", 1200),
    }
    admission.demand("modest", "c")
    clock.now += timedelta(hours=1, minutes=5)
    admission.demand("greedy", "c")


@given(st.lists(st.tuples(st.integers(0, 8000), st.integers(0, 9)), max_size=50))
def test_an_hour_holds_what_is_at_most_a_part_older(amounts: list[tuple[int, int]]) -> None:
    hour, now = Hour(), NOW + timedelta(seconds=8000)
    for seconds, amount in amounts:
        hour.add(NOW + timedelta(seconds=seconds), amount)
    ages = [(8000 - seconds, amount) for seconds, amount in amounts]
    least = sum(amount for age, amount in ages if age <= PARTS * PART_SECONDS)
    most = sum(amount for age, amount in ages if age <= (PARTS + 1) * PART_SECONDS)
    assert least <= hour.total(now) <= most
