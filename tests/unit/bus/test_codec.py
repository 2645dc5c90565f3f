"""What is decoded comes back as it was, and what is refused is refused by the name of its field."""

from contextlib import suppress
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import convert, decode, encode
from bus.errors import ProblemError
from schemas.base import Request, StrictValue
from schemas.lifecycle import Cancel, ExecutionCommand, Look, Tick
from schemas.problems import Problem


class Part(StrictValue):
    number: Annotated[int, msgspec.Meta(ge=1, le=9)]
    more: dict[str, int] = {}


class Whole(StrictValue):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]
    parts: list[Part] = []
    nested: Part | None = None


def refused(data: bytes, kind: type[object] = Whole) -> Problem:
    with pytest.raises(ProblemError) as error:
        decode(kind, data)
    return error.value.problem


@given(
    st.builds(
        Whole,
        name=st.text("abc", min_size=1),
        parts=st.lists(st.builds(Part, number=st.integers(1, 9))),
    )
)
def test_what_is_encoded_is_decoded(whole: Whole):
    assert decode(Whole, encode(whole)) == whole
    assert convert(Whole, msgspec.to_builtins(whole)) == whole


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b'{"name":1}', "name"),
        (b'{"name":"A"}', "name"),
        (b"{}", "name"),
        (b'{"name":"a","nmae":"b"}', "nmae"),
        (b'{"name":"a","nested":{"number":0}}', "nested.number"),
        (b'{"name":"a","nested":{"number":10}}', "nested.number"),
        (b'{"name":"a","nested":{}}', "nested.number"),
        (b'{"name":"a","nested":{"number":1,"x":1}}', "nested.x"),
        (b'{"name":"a","parts":[{"number":1},{"number":"two"}]}', "parts[1].number"),
        (b'{"name":"a","parts":{}}', "parts"),
        (b'{"name":"a","nested":{"number":1,"more":{"k":"v"}}}', "nested.more[...]"),
        (b"[]", None),
        (b"null", None),
    ],
)
def test_a_refusal_names_the_field(data: bytes, field: str | None):
    problem = refused(data)

    assert (problem.code, problem.field) == ("validation", field)
    assert "`$" not in problem.message


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"name":"a"}x', b"\xff\xfe", b'{"name":"\xff"}', b"[" * 100_000, b"nul", b"\0"],
)
def test_what_is_no_json_is_refused_without_a_field(data: bytes):
    problem = refused(data)

    assert (problem.code, problem.field) == ("validation", None)


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_deep_nesting_is_refused_and_harms_nothing(opening: bytes):
    class Anything(Request):
        SUBJECT = "test.anything"
        REPLY = Problem

        value: object = None

    assert refused(b'{"value":' + opening * 50_000, Anything).code == "validation"


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data: bytes):
    with suppress(ProblemError):
        assert decode(Whole, encode(decode(Whole, data))) == decode(Whole, data)


def test_a_union_is_told_apart_by_its_type():
    for command in (Cancel(reason="enough"), Look(), Tick()):
        assert msgspec.json.decode(encode(command), type=ExecutionCommand) == command


def test_plain_objects_are_refused_as_json_is():
    with pytest.raises(ProblemError) as error:
        convert(Whole, {"name": "a", "nested": {"number": "1"}})

    assert error.value.problem.field == "nested.number"
