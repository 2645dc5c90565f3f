import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.index import ExecutionIndex
from actors.agents.core.listing import Activity
from schemas.executions import ENDED, ExecutionRecord, ExecutionStatus, ListExecutions
from tests.unit.agents.samples import later, record

STATUSES: tuple[ExecutionStatus, ...] = ("PENDING", "RUNNING", "COMPLETED", "FAILED")
RECORDS = st.lists(
    st.builds(
        lambda number, revision, agent: record(
            number, revision=revision, agent_id=agent, status=STATUSES[revision % 4]
        ),
        st.integers(0, 8),
        st.integers(0, 6),
        st.just("reviewer"),
    ),
    max_size=30,
)


def _shown(index: ExecutionIndex, tenant: str = "acme") -> list[tuple[str, str]]:
    page = index.page(tenant, ListExecutions(limit=1000))
    return [(row.execution_id, row.status) for row in page.executions]


def test_an_execution_is_shown_as_its_newest_revision():
    index = ExecutionIndex()

    index.observe("acme", record(1, revision=1, status="PENDING"))
    index.observe("acme", record(1, revision=3, status="COMPLETED"))
    index.observe("acme", record(1, revision=2, status="RUNNING"))

    assert _shown(index) == [("execution-1", "COMPLETED")]
    assert index.activity("acme", "reviewer") == Activity(executions=1, running=0)


def test_executions_under_way_are_counted_until_they_end():
    index = ExecutionIndex()
    counts: list[int] = []

    for revision, status in enumerate(("PENDING", "RUNNING", "WAITING", "TIMED_OUT")):
        index.observe("acme", record(1, revision=revision, status=status))
        counts.append(index.activity("acme", "reviewer").running)

    assert counts == [1, 1, 1, 0]


def test_tenants_do_not_see_each_other():
    index = ExecutionIndex()

    index.observe("acme", record(1))
    index.observe("umbrella", record(2))

    assert _shown(index, "acme") == [("execution-1", "COMPLETED")]
    assert _shown(index, "umbrella") == [("execution-2", "COMPLETED")]
    assert _shown(index, "nobody") == []
    assert index.activity("nobody", "reviewer") == Activity()


def test_executions_are_shown_newest_first_in_whatever_order_they_come():
    index = ExecutionIndex()

    for number in (2, 5, 1, 4, 3):
        index.observe("acme", record(number))

    assert [execution for execution, _ in _shown(index)] == [
        f"execution-{number}" for number in (5, 4, 3, 2, 1)
    ]


def test_a_full_index_forgets_the_oldest_but_still_counts_it():
    index = ExecutionIndex(capacity=3)

    for number in range(5):
        index.observe("acme", record(number))

    assert [execution for execution, _ in _shown(index)] == [
        "execution-4",
        "execution-3",
        "execution-2",
    ]
    assert index.activity("acme", "reviewer") == Activity(executions=5)


def test_what_was_forgotten_does_not_come_back_and_is_not_counted_twice():
    index = ExecutionIndex(capacity=2)
    for number in range(4):
        index.observe("acme", record(number))

    index.observe("acme", record(0, revision=9))

    assert len(index) == 2
    assert index.activity("acme", "reviewer") == Activity(executions=4)


def test_a_forgotten_execution_keeps_no_agent_busy():
    index = ExecutionIndex(capacity=1)

    index.observe("acme", record(1, status="RUNNING"))
    index.observe("acme", record(2))

    assert index.activity("acme", "reviewer") == Activity(executions=2, running=0)


def test_a_loud_tenant_does_not_push_out_a_quiet_one():
    index = ExecutionIndex(capacity=10)

    index.observe("quiet", record(0))
    for number in range(1, 100):
        index.observe("loud", record(number))

    assert _shown(index, "quiet") == [("execution-0", "COMPLETED")]
    assert len(_shown(index, "loud")) == 9


def test_a_new_tenant_finds_room_in_a_full_index():
    index = ExecutionIndex(capacity=10)
    for number in range(10):
        index.observe("loud", record(number))

    index.observe("new", record(50))

    assert len(index) == 10
    assert len(_shown(index, "new")) == 1


@given(RECORDS, st.randoms())
def test_the_order_of_records_makes_no_difference(
    records: list[ExecutionRecord], shuffle: random.Random
):
    # One revision of an execution is always the same record.
    straight, shuffled = ExecutionIndex(), ExecutionIndex()

    for one in records:
        straight.observe("acme", one)
    for one in shuffle.sample(records, len(records)):
        shuffled.observe("acme", one)

    assert _shown(straight) == _shown(shuffled)
    assert straight.activity("acme", "reviewer") == shuffled.activity("acme", "reviewer")


@given(RECORDS, st.integers(1, 6))
def test_the_index_keeps_its_bound_and_its_counts_agree(
    records: list[ExecutionRecord], capacity: int
):
    index = ExecutionIndex(capacity)

    for one in records:
        index.observe("acme", one)

    shown = _shown(index)
    assert len(index) == len(shown) <= capacity
    assert index.activity("acme", "reviewer").running == sum(
        status not in ENDED for _, status in shown
    )


@given(
    st.lists(
        st.builds(
            lambda number, agent, status: record(number, agent_id=agent, status=status),
            st.integers(0, 30),
            st.sampled_from(["reviewer", "writer"]),
            st.sampled_from(STATUSES),
        ),
        unique_by=lambda one: one.execution_id,
    ),
    st.builds(
        ListExecutions,
        agent_id=st.sampled_from([None, "reviewer", "nobody"]),
        status=st.sampled_from([None, "RUNNING"]),
        limit=st.integers(1, 5),
        offset=st.integers(0, 40),
    ),
    st.integers(1, 40),
)
def test_a_page_is_a_cut_of_the_matching_executions(
    records: list[ExecutionRecord], query: ListExecutions, capacity: int
):
    index = ExecutionIndex(capacity)
    for one in records:
        index.observe("acme", one)
    kept = [execution for execution, _ in _shown(index)]

    page = index.page("acme", query)

    matching = [
        one.execution_id
        for one in sorted(records, key=lambda one: one.created_at, reverse=True)
        if one.execution_id in kept
        and query.agent_id in (None, one.agent_id)
        and query.status in (None, one.status)
    ]
    expected = matching[query.offset : query.offset + query.limit]
    assert [row.execution_id for row in page.executions] == expected
    assert page.total == len(matching)


@pytest.mark.parametrize("missing", ["completed_at", "duration_ms", "tokens_used", "cost"])
def test_what_is_unknown_is_none_and_never_zero(missing: str):
    index = ExecutionIndex()

    index.observe("acme", record(1))

    assert getattr(index.page("acme", ListExecutions()).executions[0], missing) is None


def test_a_row_holds_what_the_record_says():
    index = ExecutionIndex()
    ended = record(
        1,
        completed_at=later(4),
        duration_ms=3000,
        tokens_used=12,
        cost=5,
        attempts=2,
        session="session-1",
    )

    index.observe("acme", ended)

    row = index.page("acme", ListExecutions()).executions[0]
    assert {name: getattr(row, name) for name in row.__struct_fields__} == {
        name: getattr(ended, name) for name in row.__struct_fields__
    }
