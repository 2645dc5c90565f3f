import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.decoding.surrogates import EventDecoder

DECODER = EventDecoder(str)
ANYTHING: EventDecoder[Any] = EventDecoder(cast("type[Any]", Any))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r'"\ud83d\ude00"', "😀"),
        (r'"a\ud83d"', "a\ufffd"),
        (r'"\uDE00b"', "\ufffdb"),
        (r'"\ud83d\ud83d\ude00"', "\ufffd😀"),
        (r'"\ud83d\ude00\ude00"', "😀\ufffd"),
        (r'"\\ud83d"', r"\ud83d"),
        (r'"\\\ud83d"', "\\\ufffd"),
        (r'"\n\u00e4"', "\nä"),
    ],
)
def test_half_a_character_becomes_the_mark_of_what_is_lost(written: str, read: str):
    assert DECODER.decode(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"n":NaN,"t":"NaN -Infinity"}', {"n": None, "t": "NaN -Infinity"}),
        ("[Infinity,-Infinity, 1]", [None, None, 1]),
        (r'{"\"NaN":["a\\",NaN]}', {'"NaN': ["a\\", None]}),
    ],
)
def test_a_number_that_is_none_becomes_null(written: str, read: Any):
    assert ANYTHING.decode(written) == read


@pytest.mark.parametrize("broken", ["NaNs", "[xNaN]", '{"a":NaN', "Infinity1"])
def test_what_only_begins_like_such_a_number_stays_an_error(broken: str):
    with pytest.raises(msgspec.DecodeError):
        ANYTHING.decode(broken)


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_every_escaped_text_is_read_and_loses_only_halves(text: str):
    lossless = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    read = DECODER.decode(json.dumps(text))

    assert read.replace("\ufffd", "") == lossless.replace("\ufffd", "")


@pytest.mark.parametrize("broken", ["", "{", '"a', "3", r'"\x"'])
def test_what_is_no_such_json_stays_an_error(broken: str):
    with pytest.raises(msgspec.DecodeError):
        DECODER.decode(broken)
