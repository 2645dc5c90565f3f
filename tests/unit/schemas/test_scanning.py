"""What stands outside the strings of a JSON text is the same however large the pieces are."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import bounds, scanning
from schemas.scanning import Outside, outside
from schemas.steps import at_once, begun

SIZES = [2, 3, 5, 16, 1024]
"""Bytes of a piece."""

TOKENS = st.sampled_from(
    ["[", "]", "{", "}", ",", ":", '"', "\\", '\\"', "\\\\", "1", "e9", "-", "9" * 19, " "]
)
BORDER = bounds.MAX_INTEGER
INTEGERS = st.integers(BORDER - 99, BORDER + 99) | st.integers(10**17, 10**21)
NUMBERS = (
    st.builds("{}{}".format, st.sampled_from(["", "-"]), INTEGERS | st.integers(0, 99))
    | st.builds("{}.{}".format, INTEGERS, INTEGERS)
    | st.builds("{}{}{}".format, INTEGERS, st.sampled_from(["e", "E-", "e+", ".5e-"]), INTEGERS)
)
STRINGS = st.text(alphabet='"\\,:[]{}0123456789e.-', max_size=24).map(json.dumps)
SPACES = st.sampled_from(["", " ", "\n\t"])


def listed(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.builds(str.join, SPACES.map(lambda space: f"{space},"), st.lists(inner, max_size=4))
    return joined.map(lambda items: f"[{items}]")


def mapped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    fields = st.lists(st.builds("{}:{}{}".format, STRINGS, SPACES, inner), max_size=4)
    return fields.map(lambda each: "{" + ",".join(each) + "}")


TEXTS = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["null", "true", "false"]),
    lambda inner: listed(inner) | mapped(inner),
    max_leaves=12,
)


def holds_too_great(text: str) -> bool:
    """Say it slowly, by a decoder of another make."""
    found: list[bool] = []
    json.loads(text, parse_int=lambda digits: found.append(abs(int(digits)) > BORDER))
    return any(found)


def is_refused(text: str) -> bool:
    try:
        bounds.check_integers(text + " " * bounds.SHORT)
    except bounds.BoundsError:
        return True
    return False


@given(text=TEXTS, size=st.sampled_from(SIZES))
def test_an_integer_is_refused_where_a_plain_decoder_finds_it_too_great(text: str, size: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "PIECE_BYTES", size)
        assert is_refused(text) == holds_too_great(text)
    assert is_refused(text) == holds_too_great(text)


@given(text=st.lists(TOKENS, max_size=60).map("".join), size=st.sampled_from(SIZES))
def test_any_text_is_the_same_in_small_pieces(text: str, size: int):
    whole = found_in(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "PIECE_BYTES", size)
        assert found_in(text) == whole


def found_in(text: str) -> Outside:
    return at_once(outside(text.encode(), most_strings=99, most_commas=99))


def steps_of(text: bytes) -> int:
    steps, count = bounds.checking(text), 1
    while begun(steps) is None:
        count += 1
    return count


LARGE: dict[str, bytes] = {
    "integers": b"[%b1]" % (b"9223372036854775807," * 50_000),
    "fractions": b"[%b1]" % (b"0.9223372036854775808," * 50_000),
    "strings": b"[%b1]" % (b'"9223372036854775808",' * 50_000),
    "escapes": b'["%b"]' % (b'\\\\\\"' * 250_000),
    "objects": b"[%b1]" % (b'{"a":-9223372036854775807,"b":"x"},' * 30_000),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_text_of_a_megabyte_is_checked_with_a_pause_every_few_milliseconds(name: str):
    text = LARGE[name]
    assert steps_of(text) >= len(text) // scanning.PIECE_BYTES
    assert msgspec.json.decode(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[%b1]" % (b"1," * bounds.MAX_NODES), None),
        (b"[%b1,1]" % (b"1," * bounds.MAX_NODES), "more than 1000000 values"),
        (b'["%b"]' % (b"1," * bounds.MAX_NODES * 2), None),
    ],
)
def test_no_more_values_come_in_than_are_quickly_decoded(text: bytes, said: str | None):
    if said is None:
        bounds.check_whole(text)
        return
    with pytest.raises(bounds.BoundsError, match=said):
        bounds.check_whole(text)


@pytest.mark.parametrize("member", [b"[%d]" % (BORDER + 1), b"[" * 65 + b"]" * 65])
def test_the_field_that_exceeds_a_bound_is_named_in_a_large_text_too(member: bytes):
    text = b'{"a":"%b","b":[1],"c":%b}' % (b"9" * 300_000, member)
    with pytest.raises(bounds.BoundsError, match=r"at `\$\.c`"):
        at_once(bounds.checking(text))
