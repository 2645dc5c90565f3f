"""Executions of a tenant are bounded: those that are open, and what has ended within an hour."""

import pytest

from actors.agents.adapters.admission import PATIENCE_SECONDS, Admission
from actors.agents.adapters.lists import Counted
from bus.config import QuotaTerms
from bus.errors import ProblemError
from bus.fairness import Quotas
from bus.tasks import loop_time

QUOTAS = Quotas(QuotaTerms(executions=3, record_bytes=1000))


class Known:
    """What the lists know."""

    def __init__(self) -> None:
        self.executions: set[tuple[str, str]] = set()
        self.asked = 0

    async def __call__(self, tenant: str, execution_id: str) -> bool:
        self.asked += 1
        return (tenant, execution_id) in self.executions


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def admission(known: Known) -> Admission:
    return Admission(QUOTAS, known)


async def _begin(admission: Admission, tenant: str, name: str) -> None:
    await admission.demand(tenant, name)
    admission.begun(tenant, name)


async def test_open_executions_are_bounded_and_another_tenant_goes_on(
    admission: Admission, known: Known
):
    admission.take(Counted({"greedy": 1}, {}), loop_time())
    await _begin(admission, "greedy", "a")
    await _begin(admission, "greedy", "b")
    with pytest.raises(ProblemError) as refused:
        await admission.demand("greedy", "c")

    problem = refused.value.problem
    assert (problem.code, problem.field, problem.retryable) == ("rate_limited", "executions", True)
    assert problem.details == {"quota": "executions", "used": 4, "allowed": 3}
    await _begin(admission, "modest", "c")
    # The same command once more attaches to what is there, whoever began it.
    known.executions.add(("greedy", "r"))
    for name in "rab":
        await admission.demand("greedy", name)
    assert known.asked == 2


async def test_what_was_begun_here_counts_once_when_the_lists_know_of_it(admission: Admission):
    for name in "abc":
        await _begin(admission, "greedy", name)
    admission.take(Counted({"greedy": 2}, {}), loop_time() - 60)
    assert _used(admission) == 5
    # All three were accepted before, and one has ended meanwhile.
    admission.take(Counted({"greedy": 2}, {}), loop_time() + 1)
    assert _used(admission) == 2
    await admission.demand("greedy", "d")


async def test_one_of_which_nothing_more_is_heard_is_not_counted_for_ever(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
):
    for name in "abc":
        await _begin(admission, "greedy", name)
    with pytest.raises(ProblemError):
        await admission.demand("greedy", "d")
    later = loop_time() + PATIENCE_SECONDS + 1
    monkeypatch.setattr("actors.agents.adapters.admission.loop_time", lambda: later)
    await admission.demand("greedy", "d")


async def test_an_embedding_counts_as_open_until_nobody_waits_for_it(admission: Admission):
    for name in ("a", "a", "b"):
        admission.hold("greedy", name)
    await _begin(admission, "greedy", "c")
    # No list would ever tell of these; what was begun before is forgotten here.
    admission.take(Counted({"greedy": 1}, {}), loop_time() + 1)
    assert _used(admission) == 3
    with pytest.raises(ProblemError):
        await admission.demand("greedy", "d")
    await admission.demand("greedy", "a")
    admission.release("greedy", "a")
    assert _used(admission) == 3
    admission.release("greedy", "a")
    await admission.demand("greedy", "d")
    admission.release("greedy", "b")
    assert _used(admission) == 1


async def test_what_was_stored_within_an_hour_is_bounded(admission: Admission):
    admission.take(Counted({}, {"greedy": 1000}), loop_time())
    await admission.demand("greedy", "c")
    admission.take(Counted({}, {"greedy": 1200}), loop_time())
    with pytest.raises(ProblemError) as refused:
        await admission.demand("greedy", "c")
    assert refused.value.problem.details == {"quota": "record_bytes", "used": 1200, "allowed": 1000}
    assert {(use.tenant, use.quota, use.used) for use in admission.uses()} == {
        ("greedy", "executions", 0),
        ("greedy", "record_bytes", 1200),
    }
    await admission.demand("modest", "c")


def _used(admission: Admission) -> int:
    return next(use.used for use in admission.uses() if use.quota == "executions")
