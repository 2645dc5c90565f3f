"""Which replica takes a call, by each strategy, over any snapshot."""

from hypothesis import given
from hypothesis import strategies as st

from actors.mcp_pool.core.balance import ReplicaHealth, ReplicaView, choose, outliers
from schemas.tool_servers import Strategy

STRATEGIES: list[Strategy] = ["round_robin", "least_connections", "health_based"]

healths = st.builds(
    ReplicaHealth,
    latency=st.floats(0, 100),
    errors=st.floats(0, 1),
    calls=st.integers(0, 100),
)


@st.composite
def snapshots(draw: st.DrawFn) -> list[ReplicaView]:
    count = draw(st.integers(1, 8))
    return [
        ReplicaView(n, draw(st.integers(0, 50)), draw(healths), draw(st.booleans()))
        for n in range(count)
    ]


@given(st.sampled_from(STRATEGIES), snapshots(), st.integers(0, 10**6))
def test_the_chosen_one_is_usable_and_there_is_one_where_any_is(
    strategy: Strategy, replicas: list[ReplicaView], turn: int
):
    usable = {each.number for each in replicas if each.usable}
    number = choose(strategy, replicas, turn)

    assert (number in usable) if usable else number is None


@given(snapshots())
def test_less_than_half_of_the_replicas_are_outliers(replicas: list[ReplicaView]):
    assert 2 * len(outliers(replicas)) < max(len(replicas), 1)


@given(st.integers(1, 8), st.integers(0, 1000))
def test_round_robin_gives_each_its_turn(count: int, first: int):
    replicas = [ReplicaView(n, 0, ReplicaHealth()) for n in range(count)]
    chosen = [choose("round_robin", replicas, first + n) for n in range(count)]

    assert sorted(number for number in chosen if number is not None) == list(range(count))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 1000))
def test_least_connections_takes_one_of_the_idlest(running: list[int], turn: int):
    replicas = [ReplicaView(n, busy, ReplicaHealth()) for n, busy in enumerate(running)]
    number = choose("least_connections", replicas, turn)

    assert number is not None
    assert running[number] == min(running)


def test_health_based_prefers_the_fast_one_until_it_is_busy():
    fast, slow = ReplicaHealth(0.1, 0.0, 10), ReplicaHealth(0.3, 0.0, 10)

    assert choose("health_based", [ReplicaView(0, 1, fast), ReplicaView(1, 1, slow)], 0) == 0
    assert choose("health_based", [ReplicaView(0, 9, fast), ReplicaView(1, 1, slow)], 0) == 1


def test_health_based_avoids_the_one_that_fails():
    failing, well = ReplicaHealth(0.1, 0.4, 10), ReplicaHealth(0.2, 0.0, 10)

    assert choose("health_based", [ReplicaView(0, 0, failing), ReplicaView(1, 0, well)], 0) == 1


def test_an_outlier_takes_no_call_by_any_strategy():
    ill, well = ReplicaHealth(0.1, 0.9, 20), ReplicaHealth(0.1, 0.0, 20)
    replicas = [ReplicaView(0, 0, ill), ReplicaView(1, 5, well), ReplicaView(2, 5, well)]

    for strategy in STRATEGIES:
        assert 0 not in {choose(strategy, replicas, turn) for turn in range(6)}


@given(st.lists(st.booleans(), max_size=100))
def test_errors_are_a_share_and_calls_are_counted(goods: list[bool]):
    health = ReplicaHealth()
    for good in goods:
        health = health.observed(0.5, good=good)

    assert 0 <= health.errors <= 1
    assert health.calls == len(goods)
    assert (health.errors > 0) == (False in goods)
