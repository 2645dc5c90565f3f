"""Shares of a call sum to what the call has used, and none is far from fair."""

from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.embeddings.shares import split
from schemas.usage import COUNTS, Usage

COUNT = st.integers(0, 10**12)
USAGES = st.builds(Usage, input=COUNT, output=COUNT, cache_read=COUNT)
WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=50)


@given(USAGES, WEIGHTS)
def test_the_parts_sum_to_the_whole(usage: Usage, weights: list[int]):
    parts = split(usage, weights)
    assert len(parts) == len(weights)
    for name in COUNTS:
        assert sum(getattr(part, name) for part in parts) == getattr(usage, name)


@given(USAGES, WEIGHTS)
def test_each_part_is_within_one_of_its_exact_share(usage: Usage, weights: list[int]):
    total = sum(weights)
    for part, weight in zip(split(usage, weights), weights, strict=True):
        if total:
            assert abs(part.input * total - usage.input * weight) < total


def test_what_was_estimated_stays_so():
    assert {part.quality for part in split(Usage(input=3, quality="estimated"), [1, 2])} == {
        "estimated"
    }
