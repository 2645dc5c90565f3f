import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.tokens import estimate, estimate_message


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("größe", 2), ("日本語", 3), ("\ud800", 1)],
)
def test_a_text_is_estimated_at_a_quarter_of_its_bytes(text: str, tokens: int):
    assert estimate(text) == tokens


@given(st.text(), st.text())
def test_a_longer_text_is_never_estimated_lower_and_parts_never_lower_than_the_whole(
    one: str, other: str
):
    whole = estimate(one + other)

    assert max(estimate(one), estimate(other)) <= whole <= estimate(one) + estimate(other)


def test_a_message_costs_four_tokens_more_than_its_text():
    assert estimate_message("abcd") == estimate("abcd") + 4
