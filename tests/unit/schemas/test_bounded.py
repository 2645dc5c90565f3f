"""Laws of the bounded mapping: what it forgets, and that nothing else is lost."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.bounded import Bounded

MOST = 6

steps = st.lists(st.tuples(st.sampled_from(["get", "put", "drop"]), st.integers(0, 5)))


@given(steps, st.integers(1, 4))
def test_the_least_recently_used_go_first_until_the_rest_fits(
    taken: list[tuple[str, int]], scale: int
):
    bounded = Bounded[int, str](MOST, len)
    model: list[int] = []
    for step, name in taken:
        value = "x" * (name % 3 * scale)
        found = bounded.get(name)
        assert (found is None) == (name not in model)
        if step == "put":
            assert bounded.put(name, value) is value
        elif step == "drop":
            bounded.drop(name)
        model = [each for each in model if each != name] + [name] * (
            step == "put" or (step == "get" and name in model)
        )
        while len(model) > 1 and sum(each % 3 * scale for each in model) > MOST:
            del model[0]
        assert list(bounded.values()) == ["x" * (each % 3 * scale) for each in model]


def test_by_itself_each_value_weighs_one_and_the_newest_stays():
    bounded = Bounded[int, str](2)
    for name in range(5):
        bounded.put(name, str(name))
    assert list(bounded.values()) == ["3", "4"]
    assert len(bounded) == 2
    bounded.clear()
    bounded.put(9, "heavy")
    assert list(Bounded[int, str](0).values()) == []
    assert bounded.get(9) == "heavy"


def test_a_value_is_weighed_anew_when_it_is_put_again():
    bounded = Bounded[str, list[int]](3, len)
    grown: list[int] = [1]
    bounded.put("a", [1])
    bounded.put("b", grown)
    grown.extend((2, 3))
    bounded.put("b", grown)
    assert list(bounded.values()) == [grown]
