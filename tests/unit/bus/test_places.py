"""Which places of a worker are promised to whom, and what waits in which order."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bus.fairness import Places, Promise, Turns, Wish

TENANTS = st.sampled_from(["a", "b", "c"])
LAPSE = 1.0
NOON = datetime(2026, 1, 1, tzinfo=UTC)


def places(capacity: int, *, reserved: int = 0, per_tenant: int | None = None) -> Places:
    turns = Turns[None](capacity, per_tenant=per_tenant, reserved=reserved)
    return Places(turns, capacity=capacity + reserved, lapse_seconds=LAPSE)


def promised(kept: Places, now: float = 0.0) -> list[str]:
    """Promise all that can be, and return to whom in order."""
    found: list[str] = []
    while (promise := kept.promise(now, lambda _: True)) is not None:
        found.append(promise.tenant)
    return found


def test_a_place_goes_to_the_tenant_with_the_fewest_and_then_to_the_oldest():
    kept = places(5)
    assert kept.take("a")
    kept.hear("r", [Wish("a", 9, 1.0), Wish("b", 9, 3.0), Wish("c", 9, 2.0)], (), 5.0)
    assert promised(kept, 5.0) == ["c", "b", "a", "c"]


def test_of_two_registries_the_one_with_the_oldest_item_is_served():
    kept = places(1)
    kept.hear("young", [Wish("a", 1, 2.0)], (), 3.0)
    kept.hear("old", [Wish("a", 1, 1.0)], (), 3.0)
    promise = kept.promise(3.0, lambda _: True)
    assert promise is not None
    assert promise.registry == "old"


def test_no_more_is_promised_than_waits():
    kept = places(9)
    kept.hear("r", [Wish("a", 2, 0.0)], (), 0.0)
    assert promised(kept) == ["a", "a"]


def test_a_registry_that_is_silent_is_promised_nothing():
    kept = places(1)
    kept.hear("r", [Wish("a", 1, 0.0)], (), 0.0)
    kept.lapse(LAPSE)
    assert promised(kept, LAPSE) == []


def test_a_promise_is_void_after_its_time_though_nobody_has_looked_since():
    kept = places(1)
    kept.hear("r", [Wish("a", 1, 0.0)], (), 0.0)
    promise = kept.promise(0.0, lambda _: True)
    assert promise is not None
    assert not kept.redeem(promise.number, "a", LAPSE)


@given(
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.just("hear"), TENANTS, st.integers(0, 3)),
            st.tuples(st.just("take"), TENANTS, st.just(0)),
            st.tuples(st.just("promise"), TENANTS, st.just(0)),
            st.tuples(st.just("redeem"), TENANTS, st.integers(0, 9)),
            st.tuples(st.just("cancel"), TENANTS, st.integers(0, 9)),
            st.tuples(st.just("leave"), TENANTS, st.just(0)),
            st.tuples(st.just("pass"), TENANTS, st.integers(0, 2)),
        ),
        max_size=40,
    ),
)
def test_a_promise_is_used_once_in_its_time_by_its_tenant_and_places_are_never_overdrawn(
    capacity: int, steps: list[tuple[str, str, int]]
):
    kept, now = places(capacity), 0.0
    standing: dict[int, tuple[Promise, float]] = {}
    taken: list[str] = []
    for what, tenant, number in steps:
        match what:
            case "hear":
                kept.hear("r", [Wish(tenant, number, now)], (), now)
            case "take":
                taken += [tenant] * kept.take(tenant)
            case "promise":
                promise = kept.promise(now, lambda _: True)
                if promise is not None:
                    standing[promise.number] = (promise, now + LAPSE)
            case "redeem":
                promise, until = standing.get(number, (None, 0.0))
                expected = promise is not None and promise.tenant == tenant and now < until
                assert kept.redeem(number, tenant, now) == expected
                if expected:
                    taken.append(tenant)
                    del standing[number]
            case "cancel":
                kept.cancel(number)
                standing.pop(number, None)
            case "leave":
                if tenant in taken:
                    taken.remove(tenant)
                    kept.leave(tenant)
            case _:
                now += number / 2
                kept.lapse(now)
                standing = {n: kept_ for n, kept_ in standing.items() if kept_[1] > now}
        assert kept.taken == len(taken)
        assert kept.free == capacity - len(taken) - len(standing) >= 0
