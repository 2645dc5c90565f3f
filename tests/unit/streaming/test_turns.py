import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.writing.turns import (
    arguments,
    merged,
    replayed,
    system_text,
    under,
    with_sound_ids,
)
from schemas.llm import ChatMessage, ProviderBlock, ToolCall

ONE, TWO = ToolCall(id="1", name="f", arguments="{}"), ToolCall(id="2", name="g", arguments="{}")


def block(text: int, calls: int, wire: Any = "converse") -> ProviderBlock:
    return ProviderBlock(wire=wire, raw={"at": text}, after_text=text, after_calls=calls)


def test_a_turn_is_replayed_in_the_order_it_came_in():
    kept = [block(0, 0), block(3, 1), block(3, 1, "gemini"), block(5, 2)]
    turn = ChatMessage(role="assistant", content="Hi there", tool_calls=[ONE, TWO], blocks=kept)

    assert list(replayed(turn, "converse")) == [
        kept[0], "Hi ", ONE, kept[1], "th", TWO, kept[3], "ere",
    ]  # fmt: skip


def test_places_out_of_order_or_beyond_the_end_lose_nothing():
    kept = [block(99, 9), block(1, 0)]
    turn = ChatMessage(role="assistant", content="Hi", tool_calls=[ONE], blocks=kept)

    assert list(replayed(turn, "converse")) == ["Hi", ONE, *kept]


def test_text_that_a_block_brings_is_not_said_twice():
    kept = block(2, 0)
    turn = ChatMessage(role="assistant", content="Hi there", blocks=[kept])

    assert list(replayed(turn, "converse", lambda _: 3)) == ["Hi", kept, "ere"]


def test_neighbouring_turns_of_one_role_are_one_and_empty_ones_none():
    turns = [("user", [1]), ("user", [2]), ("assistant", []), ("user", [3]), ("assistant", [4])]

    assert merged(turns) == [("user", [1, 2, 3]), ("assistant", [4])]


def test_what_the_system_says_is_one_text():
    messages = [
        ChatMessage(role="system", content="A"),
        ChatMessage(role="user", content="B"),
        ChatMessage(role="system", content="C"),
    ]

    assert system_text(messages) == "A\n\nC"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        ("{", {"arguments": "{"}),
        ("[1]", {"arguments": "[1]"}),
        ("[" * 5000, {"arguments": "[" * 5000}),
    ],
)
def test_arguments_are_an_object_whatever_the_model_wrote(text: str, found: dict[str, Any]):
    assert arguments(ToolCall(id="1", name="f", arguments=text)) == found


def test_what_we_write_stands_over_what_a_definition_adds_object_by_object():
    extra = {"a": {"x": 1, "y": {"z": 1}}, "b": 2, "c": [1]}

    assert under(extra, {"a": {"x": 9, "y": {"w": 1}}, "c": {"d": 1}}) == {
        "a": {"x": 9, "y": {"z": 1, "w": 1}},
        "b": 2,
        "c": {"d": 1},
    }
    assert extra == {"a": {"x": 1, "y": {"z": 1}}, "b": 2, "c": [1]}


ids = st.sampled_from(("a", "b", "toolu_1", "mit ä", "x" * 65, ""))


@pytest.mark.parametrize(
    ("model", "form"),
    [("gpt-4o", "[A-Za-z0-9_-]{1,40}"), ("mistralai/Ministral-8B", "[A-Za-z0-9]{9}")],
)
@given(st.lists(st.lists(ids, max_size=3), max_size=4))
def test_ids_of_calls_are_such_as_providers_take_once_each_and_results_follow(
    model: str, form: str, rounds: list[list[str]]
):
    messages: list[ChatMessage] = []
    for called in rounds:
        calls = [ToolCall(id=name, name="t", arguments="{}") for name in called]
        messages.append(ChatMessage(role="assistant", content="", tool_calls=calls))
        messages += [ChatMessage(role="tool", content="", tool_call_id=name) for name in called]

    sound = with_sound_ids(messages, model)

    made = [call.id for message in sound for call in message.tool_calls]
    results = [message.tool_call_id for message in sound if message.role == "tool"]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(form, name) for name in made)
    assert with_sound_ids(sound, model) == sound
    assert sorted(made) == sorted(filter(None, results))
