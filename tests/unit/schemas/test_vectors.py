"""Vectors as they are stored: in parts of whole vectors, found by place, written as JSON."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import vectors
from schemas.steps import at_once
from schemas.vectors import Range, as_json, packed, parts, ranges, rows_of_part, unpacked

number = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(number, max_size=20))
def test_what_is_packed_is_little_endian_and_comes_back(numbers: list[float]):
    data = packed(numbers)

    assert data == struct.pack(f"<{len(numbers)}f", *numbers)
    assert list(unpacked(data)) == numbers


@pytest.mark.parametrize("one", [float("nan"), float("inf"), float("-inf"), 3.5e38, -1e300])
def test_what_32_bits_cannot_hold_is_refused(one: float):
    with pytest.raises(ValueError, match="finite"):
        packed([1.0, one])


def test_bytes_that_are_no_vectors_are_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        unpacked(b"12345")
    with pytest.raises(ValueError, match="another size"):
        at_once(as_json(packed([1.0, 2.0, 3.0]), 2, Range(0, 0, 1)))
    with pytest.raises(ValueError, match="another size"):
        at_once(as_json(packed([1.0, 2.0]), 2, Range(0, 0, 2)))


@given(
    count=st.integers(1, 40),
    dimensions=st.integers(1, 9),
    part_bytes=st.integers(1, 100),
    start=st.integers(0, 39),
    length=st.integers(0, 40),
)
def test_any_range_is_found_in_the_parts(
    count: int, dimensions: int, part_bytes: int, start: int, length: int
):
    stop = min(count, start + length)
    rows = [[float(row)] * dimensions for row in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "PART_BYTES", part_bytes)
        stored = list(parts([packed(row) for row in rows]))
        assert all(len(part) <= max(part_bytes, 4 * dimensions) for part in stored)
        assert len(stored) == -(-count // rows_of_part(dimensions))
        found = [
            msgspec.json.decode(row)
            for each in ranges(dimensions, start, stop)
            for row in at_once(as_json(stored[each.part], dimensions, each))
        ]

    assert found == rows[start:stop]


def test_json_is_written_with_a_pause_every_few_thousand_numbers():
    steps = as_json(packed([0.1] * 1536) * 100, 1536, Range(0, 0, 100))

    assert sum(1 for _ in steps) >= 100 * 1536 // 2048
