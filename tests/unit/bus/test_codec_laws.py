"""The laws of the codec, for any bytes and any values: `make fuzz` looks further."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import accept, encode
from bus.errors import ProblemError
from schemas import bounds
from tests import hostile
from tests.fuzz.codec import demand_border, demand_salvage

FRAGMENTS = st.sampled_from(list(hostile.FRAGMENTS.values()))
TOKENS = st.sampled_from(
    [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b'\\"', b"\\\\", b"1", b"e9", b"-", b"null"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(data=st.binary(max_size=400) | st.lists(TOKENS | FRAGMENTS, max_size=40).map(b"".join))
def test_any_bytes_are_refused_typed_or_read_back_equal(data: bytes):
    demand_border(data)
    demand_salvage(data)


@given(value=VALUES)
def test_any_value_within_the_bounds_is_accepted_and_read_back(value: Any):
    try:
        bounds.check_value(value)
    except bounds.BoundsError:
        with pytest.raises(ProblemError):
            accept(dict[str, Any], encode({"v": value}))
        return
    assert accept(dict[str, Any], encode({"v": value})) == msgspec.json.decode(encode({"v": value}))
    assert demand_border(encode({"v": value}))


@given(kinds=st.lists(st.booleans(), max_size=90), junk=st.text(alphabet='[]{}"\\x', max_size=99))
def test_depth_is_counted_exactly_whatever_stands_in_texts(kinds: list[bool], junk: str):
    text = msgspec.json.encode(junk)
    for is_list in kinds:
        text = b"[%b,{}]" % text if is_list else b'{"a":%b}' % text
    # Enough brackets beside it that they have to be told apart from those in texts.
    text = b'{"b":[%b[]],"c":%b}' % (b"[]," * 80, text)
    for given_text in (text, text.decode(), bytearray(text), memoryview(text), msgspec.Raw(text)):
        if hostile.depth(text) > bounds.MAX_DEPTH:
            with pytest.raises(bounds.BoundsError, match="nested deeper"):
                bounds.check(given_text)
        else:
            bounds.check(given_text)


@given(
    kinds=st.lists(st.booleans(), min_size=60, max_size=70),
    innermost=st.sampled_from([b"[]", b"{}", b"1", b'"[["']),
)
def test_short_texts_are_held_to_the_bound_as_well(kinds: list[bool], innermost: bytes):
    text = innermost
    for is_list in kinds:
        text = b"[%b]" % text if is_list else b'{"":%b}' % text
    for given_text in (text, text.decode()):
        found: bounds.Decoder[Any] = bounds.Decoder()
        if hostile.depth(text) > bounds.MAX_DEPTH:
            with pytest.raises(bounds.BoundsError, match="nested deeper"):
                found.decode(given_text)
        else:
            found.decode(given_text)


@pytest.mark.parametrize("arrays", [0, 1, 2, 65])
def test_the_shortest_text_that_is_too_deep_is_refused(arrays: int):
    depth = bounds.MAX_DEPTH + 1
    text = "[" * arrays + '{"":' * (depth - arrays - 1) + ("{}" if arrays < depth else "")
    text += "}" * (depth - arrays - 1) + "]" * arrays
    assert hostile.depth(text.encode()) == depth
    with pytest.raises(bounds.BoundsError, match="nested deeper"):
        bounds.check(text)


@given(number=st.integers(-(2**66), 2**66), before=st.sampled_from([b"", b"1,", b'"9",']))
def test_integers_are_taken_to_the_last_bit_of_their_range(number: int, before: bytes):
    text = b"[%b%d]" % (before, number)
    if abs(number) > bounds.MAX_INTEGER:
        with pytest.raises(bounds.BoundsError):
            bounds.check_integers(text)
    else:
        bounds.check_integers(text)


@pytest.mark.parametrize(
    "text",
    [b"1" + b"0" * 30 + b".5", b"0." + b"9" * 40, b"1e-" + b"9" * 3, b'"%b"' % (b"9" * 40), b"9e1"],
)
def test_a_number_that_is_no_integer_is_no_matter_of_theirs(text: bytes):
    bounds.check_integers(b"[%b]" % text)


def test_bounds_are_checked_in_time_linear_in_the_length():
    """A million brackets, strings or digits take milliseconds, not minutes."""
    for text in (
        b"[" * 1_000_000,
        b"[" + b"[]," * 1_000_000 + b"]",
        b'["\\"' * 300_000,
        b"\\" * 1_000_000,
        b"9" * 1_000_000,
        b"[" + b"9" * 18 + b",9" * 400_000,
    ):
        with pytest.raises(ProblemError):
            accept(list[Any], text)
