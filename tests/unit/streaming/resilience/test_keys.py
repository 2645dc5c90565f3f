"""Key pools: the least loaded key serves, a refused one rests."""

from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.resilience.keys import (
    LIMITED_REST,
    LONGEST_REST,
    MOST_KEYS,
    REFUSED_REST,
    KeyPool,
    Rests,
    concerns_the_key,
    is_worn_out,
    rest_of,
)
from schemas.problems import Problem

LIMITED = Problem(code="rate_limited", message="limited", retryable=True, retry_after=7.0)
REFUSED = Problem(code="unauthorized", message="refused")
SPENT = Problem(code="rate_limited", message="empty", details={"quota": "key"})
SPENT_HERE = Problem(code="rate_limited", message="empty", details={"quota": "model"})


def no_wait(_name: str | None) -> float:
    return 0.0


def test_the_least_loaded_key_comes_first():
    pool = KeyPool()
    for name in ("a", "a", "b"):
        pool.take(name)

    assert pool.order(["a", "b", "c"], 0.0, no_wait) == ["c", "b", "a"]


def test_idle_keys_take_turns():
    pool, served = KeyPool(), list[str | None]()
    for _ in range(4):
        name = pool.order(["a", "b"], 0.0, no_wait)[0]
        pool.take(name)
        pool.give_back(name)
        served.append(name)

    assert served == ["a", "b", "a", "b"]


def test_a_key_at_its_rate_limit_comes_last():
    pool = KeyPool()
    pool.take("b")

    assert pool.order(["a", "b"], 0.0, lambda name: 3.0 if name == "a" else 0.0) == ["b", "a"]


def test_a_limited_key_rests_as_long_as_the_provider_says():
    pool = KeyPool()
    pool.rest("a", LIMITED, 10.0)

    assert pool.order(["a", "b"], 16.9, no_wait) == ["b"]
    assert pool.resting("a", 16.0) == 1.0
    assert pool.order(["a", "b"], 17.0, no_wait) == ["a", "b"]


def test_when_all_keys_rest_the_first_that_is_back_says_why():
    pool = KeyPool()
    pool.rest("a", REFUSED, 0.0)
    pool.rest("b", LIMITED, 0.0)

    assert pool.refusal(["a", "b", "c"], 0.0) is None
    limited = pool.refusal(["a", "b"], 2.0)
    assert limited is not None
    assert (limited.code, limited.retryable, limited.retry_after) == ("rate_limited", True, 5.0)
    refused = pool.refusal(["a"], 8.0)
    assert refused is not None
    assert (refused.code, refused.retryable) == ("unauthorized", False)


def test_a_key_that_is_only_limited_says_why_before_one_that_is_refused_for_good():
    pool = KeyPool()
    pool.rest("a", REFUSED, 0.0)
    pool.rest("b", Problem(code="rate_limited", message="", retryable=True, retry_after=300), 0.0)

    refusal = pool.refusal(["a", "b"], 50.0)
    assert refusal is not None
    assert (refusal.retryable, refusal.retry_after) == (True, 250.0)


def test_how_long_a_key_rests_follows_from_why():
    assert rest_of(LIMITED) == 7.0
    assert rest_of(Problem(code="rate_limited", message="", retryable=True)) == LIMITED_REST
    assert rest_of(Problem(code="rate_limited", message="")) == REFUSED_REST
    assert rest_of(REFUSED) == REFUSED_REST


def test_a_key_that_is_refused_again_and_again_rests_longer_each_time_until_it_is_answered():
    pool = KeyPool()
    rests: list[float] = []
    now = 0.0
    for _ in range(6):
        pool.rest("a", SPENT, now)
        rests.append(pool.resting("a", now))
        now += rests[-1]
    pool.answered("a")
    pool.rest("a", SPENT, now)

    assert rests == [60.0, 120.0, 240.0, 480.0, LONGEST_REST, LONGEST_REST]
    assert pool.resting("a", now) == REFUSED_REST


def test_refusals_of_calls_at_the_same_time_count_as_one():
    pool = KeyPool()
    for _ in range(10):
        pool.rest("a", SPENT, 0.0)
    pool.rest("a", LIMITED, 0.0)
    pool.rest("a", SPENT, 60.0)

    assert pool.resting("a", 60.0) == 2 * REFUSED_REST


def test_what_is_the_accounts_rests_the_key_in_all_pools_of_the_account_and_the_models_in_one():
    account = Rests()
    first, second = KeyPool(account), KeyPool(account)
    first.rest("a", SPENT, 0.0)
    first.rest("b", SPENT_HERE, 0.0)
    first.rest("c", LIMITED, 0.0)

    assert first.order(["a", "b", "c", "d"], 1.0, no_wait) == ["d"]
    assert second.order(["a", "b", "c", "d"], 1.0, no_wait) == ["b", "c", "d"]
    refused = second.refusal(["a"], 1.0)
    assert refused is not None
    assert refused.details == {"quota": "key", "resting_seconds": 59.0}


def test_another_key_is_no_help_against_a_sick_provider():
    assert concerns_the_key(LIMITED)
    assert concerns_the_key(REFUSED)
    assert concerns_the_key(Problem(code="forbidden", message=""))
    assert not concerns_the_key(Problem(code="provider_overloaded", message=""))


def test_a_key_rests_only_where_the_provider_has_refused_it():
    not_here = Problem(code="unauthorized", message="no such secret", field="provider.secret")

    assert is_worn_out("a", REFUSED)
    assert is_worn_out("a", LIMITED)
    assert is_worn_out(None, LIMITED)
    assert not is_worn_out(None, REFUSED)
    assert not is_worn_out("a", not_here)


@given(st.lists(st.booleans(), max_size=50))
def test_the_load_of_equal_keys_never_differs_by_more_than_one(begins: list[bool]):
    pool, running, names = KeyPool(), list[str | None](), ["a", "b", "c"]
    for begin in begins:
        if begin:
            name = pool.order(names, 0.0, no_wait)[0]
            pool.take(name)
            running.append(name)
        elif running:
            busiest = max(names, key=pool.in_use)
            pool.give_back(busiest)
            running.remove(busiest)
        loads = [pool.in_use(name) for name in names]
        assert sum(loads) == len(running)
        assert max(loads) - min(loads) <= 1


def test_of_names_that_anybody_may_make_up_only_some_are_kept():
    pool = KeyPool()
    pool.take("busy")
    pool.take("resting")
    pool.give_back("resting")
    pool.rest("resting", Problem(code="unauthorized", message=""), 0.0)
    for number in range(2 * MOST_KEYS):
        pool.take(f"made-up-{number}")
        pool.give_back(f"made-up-{number}")

    assert len(pool.names()) <= MOST_KEYS
    assert {"busy", "resting"} <= set(pool.names())
