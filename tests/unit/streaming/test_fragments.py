"""Whose fragment it is: one rule for all wires, whatever servers do with indexes, ids and names."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.decoding.arguments import settled
from actors.streaming.core.reading.fragments import CallFragments, Fragment, identifier, place_of
from actors.streaming.core.reading.tool_calls import ToolCalls
from schemas.llm import ChatMessage, GenerateRequest, ToolDefinition
from schemas.providers import Custom

OFFERED = ("find", "find_all", "send_mail", "x")


class Asked(NamedTuple):
    """A call that a model makes: its name, and its arguments in the pieces they come in."""

    name: str
    pieces: list[str]


def request(*tools: str) -> GenerateRequest:
    return GenerateRequest(
        provider=Custom(model="m", base_url="http://localhost"),
        messages=[ChatMessage(role="user", content="Hello")],
        tools=[ToolDefinition(name=name) for name in tools or OFFERED],
    )


def calls_of(*parts: Fragment, offered: tuple[str, ...] = OFFERED) -> list[tuple[str, str, str]]:
    """Return the calls that fragments make, each in an event of its own."""
    calls = ToolCalls()
    fragments = CallFragments(calls, offered)
    for part in parts:
        fragments.add([part])
    fragments.settle()
    return [(call.id, call.name, call.arguments) for call in calls.finished()]


# Any interleaving of calls under each spelling

VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4)
OBJECTS = st.dictionaries(
    st.text(max_size=3), VALUES | st.dictionaries(st.text(max_size=2), VALUES)
)


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    text = msgspec.json.encode(draw(OBJECTS)).decode()
    cuts = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    head = [""] if draw(st.booleans()) else []
    return Asked(draw(st.sampled_from(OFFERED)), [*head, *(piece for piece in pieces if piece)])


def _plain(call: int, at: int, name: str) -> Fragment:
    return Fragment(call, f"c{call}" if at == 0 else "", name if at == 0 else "")


def _with_gaps(call: int, at: int, name: str) -> Fragment:
    return _plain(call, at, name)._replace(place=place_of(str(7 * call + 3)))


def _all_repeated(call: int, at: int, name: str) -> Fragment:
    del at
    return Fragment(call, f"c{call}", name)


def _by_id(call: int, at: int, name: str) -> Fragment:
    return Fragment(None, f"c{call}", name if at == 0 else "")


def _by_id_on_one_index(call: int, at: int, name: str) -> Fragment:
    return Fragment(0, f"c{call}", name if at == 0 else "")


def _with_a_word_for_no_id(call: int, at: int, name: str) -> Fragment:
    words = ["null", "None", "none", "", " NULL "]
    return _plain(call, at, name)._replace(id=f"c{call}" if at == 0 else words[at % len(words)])


def _without_ids(call: int, at: int, name: str) -> Fragment:
    return Fragment(call, "null", name if at == 0 else "")


def _fresh_ids(call: int, at: int, name: str) -> Fragment:
    return Fragment(call, f"c{call}" if at == 0 else f"t{call}-{at}", name if at == 0 else "null")


INTERLEAVED = {
    "index": _plain,
    "index as text, with gaps": _with_gaps,
    "index, id and name on all": _all_repeated,
    "id, without index": _by_id,
    "id, on one index": _by_id_on_one_index,
    "words for no id": _with_a_word_for_no_id,
    "no ids": _without_ids,
    "a new id on each": _fresh_ids,
}


def _no_index_fresh_ids(call: int, at: int, name: str) -> Fragment:
    return _fresh_ids(call, at, name)._replace(place=None)


def _one_index_fresh_ids(call: int, at: int, name: str) -> Fragment:
    return _fresh_ids(call, at, name)._replace(place=0)


def _one_index_all_repeated(call: int, at: int, name: str) -> Fragment:
    return _all_repeated(call, at, name)._replace(place=0)


def _index_of_each_fragment(call: int, at: int, name: str) -> Fragment:
    return _all_repeated(call, at, name)._replace(place=100 * call + at)


def _no_index_named_once(call: int, at: int, name: str) -> Fragment:
    del call
    return Fragment(None, "", name if at == 0 else "")


def _one_index_named_once(call: int, at: int, name: str) -> Fragment:
    return _no_index_named_once(call, at, name)._replace(place=0)


IN_TURN = {
    "new ids, no index": _no_index_fresh_ids,
    "new ids, one index": _one_index_fresh_ids,
    "all on one index": _one_index_all_repeated,
    "a new index on each": _index_of_each_fragment,
}

Spelling = Callable[[int, int, str], Fragment]


def spelled(wanted: list[Asked], spelling: Spelling, order: list[int]) -> list[Fragment]:
    """Write the pieces of calls in this order of calls; a call's own pieces stay in theirs."""
    at = [0] * len(wanted)
    parts: list[Fragment] = []
    for call in order:
        name, pieces = wanted[call]
        part = spelling(call, at[call], name)
        parts.append(part._replace(arguments=pieces[at[call]]))
        at[call] += 1
    return parts


def told(wanted: list[Asked], order: list[int]) -> list[tuple[str, str]]:
    begun = dict.fromkeys(order)
    return [(wanted[call].name, "".join(wanted[call].pieces)) for call in begun]


@pytest.mark.parametrize("spelling", INTERLEAVED.values(), ids=INTERLEAVED)
@given(wanted=st.lists(asked(), min_size=1, max_size=4), seed=st.integers(0, 9999))
def test_any_interleaving_of_calls_is_put_together(
    spelling: Spelling, wanted: list[Asked], seed: int
):
    order = [call for call, one in enumerate(wanted) for _ in one.pieces]
    random.Random(seed).shuffle(order)

    found = calls_of(*spelled(wanted, spelling, order))

    assert [call[1:] for call in found] == told(wanted, order)


@pytest.mark.parametrize("spelling", IN_TURN.values(), ids=IN_TURN)
@given(wanted=st.lists(asked(), min_size=1, max_size=4))
def test_calls_one_after_the_other_are_put_together(spelling: Spelling, wanted: list[Asked]):
    order = [call for call, one in enumerate(wanted) for _ in one.pieces]

    found = calls_of(*spelled(wanted, spelling, order))

    assert [call[1:] for call in found] == told(wanted, order)


@pytest.mark.parametrize("spelling", [_no_index_named_once, _one_index_named_once])
@given(wanted=st.lists(asked(), min_size=1, max_size=4, unique_by=lambda one: one.name))
def test_where_there_is_nothing_else_another_name_is_another_call(
    spelling: Spelling, wanted: list[Asked]
):
    order = [call for call, one in enumerate(wanted) for _ in one.pieces]

    found = calls_of(*spelled(wanted, spelling, order))

    assert [call[1:] for call in found] == told(wanted, order)


@pytest.mark.parametrize("spelling", [*INTERLEAVED.values(), _by_id_on_one_index])
@given(wanted=st.lists(asked(), min_size=1, max_size=3), seed=st.integers(0, 9999))
def test_a_flush_of_whole_calls_behind_their_pieces_changes_nothing(
    spelling: Spelling, wanted: list[Asked], seed: int
):
    order = [call for call, one in enumerate(wanted) for _ in one.pieces]
    random.Random(seed).shuffle(order)
    whole = [one._replace(pieces=["".join(one.pieces)]) for one in wanted]
    parts = spelled(wanted, spelling, order)
    named = [spelling(call, 0, one.name) for call, one in enumerate(wanted)]
    bare = [part._replace(name="") for part in named]

    for flush in (named, bare):
        again = [
            part._replace(arguments=one.pieces[0]) for part, one in zip(flush, whole, strict=True)
        ]
        found = calls_of(*parts, *again)
        assert [call[1:] for call in found] == told(wanted, order)


@given(
    wanted=st.lists(asked(), min_size=1, max_size=3),
    seed=st.integers(0, 9999),
    cuts=st.lists(st.integers(1, 8), min_size=3, max_size=3),
)
def test_a_name_may_come_in_pieces_that_the_offered_names_tell_of(
    wanted: list[Asked], seed: int, cuts: list[int]
):
    wanted = [one._replace(name="send_mail") for one in wanted]
    order = [call for call, one in enumerate(wanted) for _ in one.pieces]
    random.Random(seed).shuffle(order)
    heads: list[Fragment] = []
    for call, cut in zip(range(len(wanted)), cuts, strict=False):
        heads += [Fragment(call, f"c{call}", "send_mail"[:cut])]
        heads += [Fragment(call, "", "send_mail"[cut:])]

    found = calls_of(
        *heads,
        *(
            _plain(call, 1, "")._replace(arguments=part.arguments)
            for call, part in zip(order, spelled(wanted, _plain, order), strict=True)
        ),
    )

    texts = ["".join(one.pieces) for one in wanted]
    assert found == [(f"c{call}", "send_mail", text) for call, text in enumerate(texts)]


# Single questions

F = Fragment


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(
            [F(0, "a", "find", '{"q":1}'), F(0, "b", "", "")], [("a", "find", '{"q":1}')], id="tail"
        ),
        pytest.param(
            [F(None, "a", "find", "{}"), F(None, "b", "", "  \n")],
            [("a", "find", "{}  \n")],
            id="white space behind the whole",
        ),
        pytest.param(
            [F(0, "a", "find", ""), F(0, "b", "find", '{"q"'), F(0, "c", "find", ":1}")],
            [("a", "find", '{"q":1}')],
            id="new ids with the name again",
        ),
        pytest.param(
            [F(0, "a", "find", '{"q":1}'), F(0, "b", "find", '{"q":1}')],
            [("a", "find", '{"q":1}'), ("b", "find", '{"q":1}')],
            id="two ids are two, though all else is the same",
        ),
        pytest.param(
            [F(0, "a", "find", '{"q":1}'), F(3, "a", "find", '{ "q": 1 }')],
            [("a", "find", '{"q":1}')],
            id="a repeated whole on another index",
        ),
        pytest.param(
            [F(0, "a", "find", '{"q":1}'), F(1, "a", "find", '{"q":2}')],
            [("a", "find", '{"q":1}'), ("a", "find", '{"q":2}')],
            id="one id for all",
        ),
        pytest.param(
            [F(0, "", "find", "{}"), F(None, "", "find", "{}"), F(None, "", "find", "{}")],
            [("call_0", "find", "{}"), ("call_1", "find", "{}"), ("call_2", "find", "{}")],
            id="the same dice rolled twice",
        ),
        pytest.param(
            [F(0, "a", "find", "{}"), F(0, "b", "", '{"q":'), F(0, "c", "", "1}")],
            [("a", "find", '{"q":1}')],
            id="an empty object in the place of what comes under other ids",
        ),
        pytest.param(
            [F(0, "a", "find", '{"q":1}'), F(0, "b", "", '{"q":1}')],
            [("a", "find", '{"q":1}')],
            id="a flush under an id of its own",
        ),
        pytest.param(
            [F(0, "a", "find", '{"q":1}'), F(0, "b", "", '{"q":2}')],
            [("a", "find", '{"q":1}'), ("b", "", '{"q":2}')],
            id="arguments of nobody spoil no call",
        ),
        pytest.param(
            [F(1, "a", "", ""), F(1, "", "find", "{}")], [("a", "find", "{}")], id="the id first"
        ),
        pytest.param(
            [F(0, "", "find", ""), F(0, "a", "", "{}")], [("a", "find", "{}")], id="the name first"
        ),
        pytest.param(
            [F(0, "a", "", '{"q":'), F(0, "a", "find", "1}")],
            [("a", "find", '{"q":1}')],
            id="the name late",
        ),
        pytest.param([F(0, "", "", ""), F(None, "null", "None", "")], [], id="nothing at all"),
        pytest.param(
            [F(0, "a", "find", ""), F(0, "a", "find_all", "{}")],
            [("a", "find", "{}"), ("a", "find_all", "{}")],
            id="two offered names, of which one begins the other",
        ),
        pytest.param(
            [F(0, "a", "find", ""), F(0, "a", "_all", "{}")],
            [("a", "find_all", "{}")],
            id="a name that is one already goes on",
        ),
        pytest.param(
            [F(0, "a", "send_", ""), F(0, "a", "send_mail", "{}")],
            [("a", "send_mail", "{}")],
            id="all of the name so far",
        ),
        pytest.param(
            [F(0, "a", "find", ""), F(0, "a", "find", '{"q":1}'), F(0, "a", "find", "")],
            [("a", "find", '{"q":1}')],
            id="a whole name again is no findfind",
        ),
        pytest.param(
            [F(0, "a", "find", '{"q":1}'), F(1, "b", "", '{"q":2}'), F(1, "", "x", "")],
            [("a", "find", '{"q":1}'), ("b", "x", '{"q":2}')],
            id="arguments before the name",
        ),
        pytest.param(
            [
                F(None, "", "find", '{"q"'),
                F(None, "", "x", '{"r"'),
                F(None, "", "find", ":1}"),
                F(None, "", "x", ":2}"),
            ],
            [("call_0", "find", '{"q":1}'), ("call_1", "x", '{"r":2}')],
            id="by name alone",
        ),
        pytest.param(
            [F(1, "b", "x", '{"r":'), F(0, "b", "", "2}")],
            [("b", "x", '{"r":2}')],
            id="an id that is known beats the index",
        ),
    ],
)
def test_index_id_name_and_arguments_decide(
    parts: list[Fragment], expected: list[tuple[str, str, str]]
):
    assert calls_of(*parts) == expected


def test_what_nobody_has_named_is_the_one_tool_that_there_is():
    assert calls_of(F(0, "a", "", '{"q":1}'), offered=("only",)) == [("a", "only", '{"q":1}')]
    assert calls_of(F(0, "a", "", '{"q":1}')) == [("a", "", '{"q":1}')]


def test_a_tool_may_be_called_none():
    assert calls_of(F(0, "a", "none", "{}"), offered=("none",)) == [("a", "none", "{}")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (False, ""),
        (0, "0"),
        (7, "7"),
        ("None", ""),
        (" null", ""),
        ("nullable", "nullable"),
    ],
)
def test_words_for_the_lack_of_an_id_are_none(value: object, expected: str):
    assert identifier(value) == expected


@pytest.mark.parametrize(
    ("index", "place"),
    [
        (None, None),
        (3, 3),
        (3.0, 3),
        ("3", 3),
        ("", None),
        ("null", None),
        ("b", "b"),
        (1.5, "1.5"),
        ("9" * 400, "9" * 400),
    ],
)
def test_an_index_is_the_same_place_however_it_is_written(index: Any, place: Any):
    assert place_of(index) == place


# Arguments sent twice

WHOLE = '{"to": "Ana", "n": [1, {"k": "}{"}]}'


@pytest.mark.parametrize(
    "pieces",
    [
        [WHOLE],
        [WHOLE, WHOLE],
        [WHOLE[:9], WHOLE[9:], WHOLE],
        [WHOLE, WHOLE[:9], WHOLE[9:]],
        [WHOLE, "\n", WHOLE, WHOLE],
        ["{", WHOLE],
        ["{", WHOLE[:4], WHOLE[4:]],
        [WHOLE[:9], WHOLE],
        [WHOLE[:5], WHOLE[:12], WHOLE[:20], WHOLE],
        ["{}", WHOLE[:9], WHOLE[9:]],
        ["", WHOLE, "{}"[:0]],
    ],
)
def test_arguments_sent_twice_are_the_object_once(pieces: list[str]):
    assert settled(pieces) == WHOLE


@pytest.mark.parametrize(
    "pieces",
    [
        ['{"a":', '{"a":1}', "}"],
        ['{"a":1}', '{"a":2}'],
        ['{"a":1}', '{"a":true}'],
        ['{"a": Oslo', "}"],
        ["{", "{", "{"],
        ["1", "1"],
        ["[1]", "[1]"],
        ["SELECT 1", " SELECT 1"],
        ['{"a":' + "9" * 30 + "}", '{"a":' + "8" * 30 + "}"],
    ],
)
def test_arguments_that_are_not_sent_twice_stay_as_they_came(pieces: list[str]):
    assert settled(pieces) == "".join(pieces)


def test_looking_for_a_repetition_is_not_costly():
    assert settled(["{"] * 100_000) == "{" * 100_000
    assert settled(['{"a":1}'] * 20_000 + ["x"]) == '{"a":1}' * 20_000 + "x"


@given(asked())
def test_honest_arguments_are_never_touched(one: Asked):
    assert settled(one.pieces) == "".join(one.pieces)
