"""Nobody is crowded out: who begins next, what may be under way, what the operator has said."""

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config import Config, QuotaTerms
from bus.errors import ConfigError, ProblemError
from bus.fairness import InFlight, Quotas, TenantLine, Turns, Turnstile, reserved_of
from bus.fairness import in_flight as bounds
from bus.fairness.turns import next_tenant

TENANTS = st.sampled_from("abcde")
MIB = 1024**2


# Lines


@given(st.lists(TENANTS, max_size=60))
def test_each_tenants_items_keep_their_order_and_tenants_take_turns(arrivals: list[str]) -> None:
    line = TenantLine[tuple[str, int]]()
    for number, tenant in enumerate(arrivals):
        line.add(tenant, (tenant, number))
    taken: list[tuple[str, int]] = []
    while len(line):
        waiting = list(line)
        assert len(line) == sum(map(line.count, waiting))
        taken.append(line.take_next())
        assert taken[-1][0] == waiting[0]
    for tenant in set(arrivals):
        numbers = [number for name, number in taken if name == tenant]
        assert numbers == sorted(numbers)
        # Of a tenant with k items the last one goes before anybody's item k + 1.
        last = max(place for place, (name, _) in enumerate(taken) if name == tenant)
        assert all(
            sum(name == other for name, _ in taken[:last]) <= len(numbers)
            for other in set(arrivals) - {tenant}
        )


# Turns


@given(
    st.lists(TENANTS, unique=True),
    st.dictionaries(TENANTS, st.integers(1, 5)),
    st.sets(TENANTS),
)
def test_the_next_one_has_the_fewest_running_of_those_that_may(
    waiting: list[str], running: dict[str, int], may: set[str]
) -> None:
    chosen = next_tenant(waiting, running, may.__contains__)
    able = [tenant for tenant in waiting if tenant in may]
    assert (chosen is None) == (not able)
    if chosen is not None:
        fewest = min(running.get(tenant, 0) for tenant in able)
        assert chosen == next(tenant for tenant in able if running.get(tenant, 0) == fewest)


@given(
    st.integers(1, 6),
    st.integers(0, 2),
    st.lists(st.tuples(TENANTS, st.booleans()), max_size=120),
)
def test_a_place_that_frees_goes_to_a_tenant_without_any(
    capacity: int, reserved: int, steps: list[tuple[str, bool]]
) -> None:
    turns = Turns[int](capacity, reserved=reserved)
    running: list[str] = []
    for number, (tenant, ends) in enumerate(steps):
        if ends and tenant in running:
            running.remove(tenant)
            turns.end(tenant)
        else:
            turns.waiting.add(tenant, number)
        without = [name for name in turns.waiting if name not in running]
        following = turns.start()
        if following is not None:
            running.append(following[0])
            assert not without or following[0] == without[0]
        elif without:
            assert len(running) >= capacity + reserved
        assert turns.running == len(running) <= capacity + reserved
        for name in set(running):
            assert turns.running_of(name) == running.count(name) <= capacity


def test_long_work_of_one_tenant_leaves_a_place_for_another() -> None:
    turns = Turns[int](50, reserved=reserved_of(50))
    assert sum(turns.begin("greedy") for _ in range(200)) == 50
    assert [turns.begin("modest"), turns.begin("modest")] == [True, False]
    assert sum(turns.begin(f"tenant-{n}") for n in range(20)) == 4


def test_no_tenant_has_more_than_its_share_where_that_is_bounded() -> None:
    turns = Turns[int](10, per_tenant=3)
    assert sum(turns.begin("a") for _ in range(9)) == 3
    assert sum(turns.begin("b") for _ in range(9)) == 3


@given(
    capacity=st.integers(2, 64),
    steps=st.lists(st.tuples(TENANTS, st.booleans()), max_size=200),
)
def test_where_places_are_shared_a_tenant_leaves_as_many_as_it_has(
    capacity: int, steps: list[tuple[str, bool]]
) -> None:
    turns = Turns[int](capacity, reserved=1, shared=True)
    for tenant, ends in steps:
        mine, running = turns.running_of(tenant), turns.running
        if ends and mine:
            turns.end(tenant)
            continue
        assert (turns.room(tenant) > 0) == turns.begin(tenant)
        if turns.running > running:
            assert not mine or mine < capacity - running
        elif not mine:
            assert running > capacity
        else:
            assert mine >= capacity - running


@given(
    capacity=st.integers(1, 200), taken=st.lists(st.sampled_from("abc"), max_size=90), reserved=...
)
def test_there_is_room_for_as_many_as_can_begin(
    capacity: int, taken: list[str], reserved: bool
) -> None:
    turns = Turns[int](capacity, reserved=int(reserved), shared=True)
    for tenant in taken:
        turns.begin(tenant)
    room = turns.room("a")
    assert sum(turns.begin("a") for _ in range(capacity + 2)) == room


def test_work_of_a_day_of_some_tenants_leaves_places_for_the_next() -> None:
    turns = Turns[int](1000, reserved=reserved_of(1000), shared=True)
    got = {name: sum(turns.begin(name) for _ in range(2000)) for name in "abcde"}
    assert list(got.values()) == [500, 250, 125, 63, 31]
    assert sum(turns.begin("newcomer") for _ in range(10)) == 10


# Requests under way

QUOTAS = Quotas(QuotaTerms(requests=3, request_bytes=10 * MIB))


def test_the_greedy_one_is_refused_with_the_figure_and_the_other_goes_on() -> None:
    load = InFlight(QUOTAS)
    assert [load.take("greedy", 10) for _ in range(3)] == [None] * 3
    refused = load.take("greedy", 10)
    assert refused is not None
    assert (refused.code, refused.field, refused.retryable) == ("rate_limited", "requests", True)
    assert refused.details == {"quota": "requests", "used": 3, "allowed": 3}
    assert load.take("modest", 10) is None
    load.release("greedy", 10)
    assert load.take("greedy", 10) is None


def test_bytes_are_counted_too_but_one_request_may_always_be_under_way() -> None:
    load = InFlight(QUOTAS)
    assert load.take("greedy", 11 * MIB) is None
    refused = load.take("greedy", 1)
    assert refused is not None
    assert (refused.code, refused.field) == ("rate_limited", "request_bytes")
    assert refused.details["used"] == 11 * MIB + 1
    assert load.take("modest", 9 * MIB) is None


def test_all_tenants_together_are_bounded_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_BYTES", 20 * MIB)
    monkeypatch.setattr(bounds, "MOST_REQUESTS", 4)
    load = InFlight(QUOTAS)
    assert [load.take(name, 8 * MIB) for name in "ab"] == [None, None]
    refused = load.take("c", 8 * MIB)
    assert refused is not None
    assert (refused.code, refused.retry_after) == ("unavailable", bounds.RETRY_SECONDS)
    assert refused.details == {"used": 24 * MIB, "allowed": 20 * MIB}
    assert [load.take(name, 1) for name in "cd"] == [None, None]
    refused = load.take("e", 1)
    assert refused is not None
    assert refused.code == "unavailable"


@given(st.lists(st.tuples(TENANTS, st.integers(0, 100)), max_size=40))
def test_what_was_taken_and_answered_leaves_nothing(requests: list[tuple[str, int]]) -> None:
    load = InFlight(QUOTAS)
    taken = [request for request in requests if load.take(*request) is None]
    assert load.requests == len(taken)
    assert load.bytes == sum(size for _, size in taken)
    for request in taken:
        load.release(*request)
    assert (load.requests, load.bytes, list(load.uses())) == (0, 0, [])


# Calls that wait by themselves


async def test_a_turnstile_lets_each_tenant_in_by_itself_and_forgets_who_has_left() -> None:
    turnstile, inside = Turnstile("reads", at_once=2, waiting=1, at_once_all=3), list[str]()
    leave = anyio.Event()

    async def visit(tenant: str) -> None:
        async with turnstile.turn(tenant):
            inside.append(tenant)
            await leave.wait()

    async with anyio.create_task_group() as tasks:
        for tenant in ("a", "a", "a", "b", "c"):
            tasks.start_soon(visit, tenant)
        await anyio.wait_all_tasks_blocked()
        assert sorted(inside) == ["a", "a", "b"]
        with pytest.raises(ProblemError, match="rate_limited: 3 reads"):
            await visit("a")
        leave.set()
    assert sorted(inside) == ["a", "a", "a", "b", "c"]
    await visit("a")


# The operator's file


def _quotas(path: Path, text: str) -> Quotas:
    path.write_text(text)
    return Quotas.load(Config(quotas_file=str(path), quota=QuotaTerms(agents=7)))


def test_a_tenant_has_the_usual_terms_but_for_what_the_file_says(tmp_path: Path) -> None:
    quotas = _quotas(tmp_path / "quotas.yaml", "acme: {agents: 20, executions: 0}\n")
    assert (quotas.of("acme").agents, quotas.of("acme").executions) == (20, 0)
    assert quotas.of("acme").versions == quotas.of("other").versions == QuotaTerms().versions
    assert quotas.of("other").agents == 7


@pytest.mark.parametrize(
    "text",
    [
        "{acme: {agent: 20}}",
        "{acme: {agents: -1}}",
        "{'a.b': {agents: 1}}",
        "[1]",
        "{",
        "{acme: 1}",
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="CALLBOARD_QUOTAS_FILE"):
        _quotas(tmp_path / "quotas.yaml", text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Quotas.load(Config(quotas_file=str(tmp_path / "none.json")))
