"""The pattern language of safety rules: what it takes, and what it refuses."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.patterns import MAX_POSITIONS, PatternError, parse


@pytest.mark.parametrize(
    ("pattern", "length", "optional"),
    [
        ("abc", 3, 0),
        (r"\d{3}-\d{2,4}", 8, 2),
        ("colou?r", 6, 1),
        (r"[a-z_]{2}[^ ]", 3, 0),
        (r"\*\.\\", 3, 0),
        (r"[\d\s.-]{3}", 3, 0),
        ("a{0,2}b", 3, 2),
    ],
)
def test_a_pattern_is_a_row_of_positions(pattern: str, length: int, optional: int):
    positions = parse(pattern)

    assert (len(positions), sum(each.optional for each in positions)) == (length, optional)


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "a*", "a+", "(a)", "a|b", "^a", "a$", "?", "{2}", "a{2", "a}", "a]", "a{,2}"),
        *("[", "[]", "[^]", "[a", "\\", r"\n", r"\b", "a{0}", "a{3,2}", "a?", "a{0,3}b?"),
        "a{101}",
        "a{50}b{51}",
    ],
)
def test_what_is_not_of_the_language_is_refused(pattern: str):
    with pytest.raises(PatternError):
        parse(pattern)


def test_a_refusal_does_not_repeat_the_pattern():
    with pytest.raises(PatternError, match=re.escape("| at 6 must be written \\|")):
        parse("secret|")


@pytest.mark.parametrize("loop", ["+", "*"])
def test_a_loop_is_told_as_what_it_is(loop: str):
    with pytest.raises(PatternError) as refused:
        parse(rf"\d{loop}")
    assert f"there is no {loop} (at 2): write {{1,20}} after" in str(refused.value)


@given(st.text(r"ab\dws[]^-{},2?.*", max_size=20))
def test_any_text_is_a_pattern_or_refused(pattern: str):
    try:
        positions = parse(pattern)
    except PatternError:
        return
    assert 0 < len(positions) <= MAX_POSITIONS
