"""The next call after tools have answered, by each provider's own rules: order, pairing, roles."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.streaming.core.wires.anthropic import request as anthropic
from actors.streaming.core.wires.converse import request as converse
from actors.streaming.core.wires.gemini import request as gemini
from actors.streaming.core.wires.openai_chat import request as chat
from actors.streaming.core.wires.openai_responses import request as responses
from actors.streaming.core.writing.turns import with_sound_ids
from schemas.llm import ChatMessage, ContentPart, GenerateRequest, ImageData, TextPart, ToolCall
from schemas.providers import Anthropic, Bedrock, Google, OpenAI, Provider

PIXEL = ImageData(media_type="image/png", data="iVBORw0KGgo=")

ids = st.sampled_from(("a", "b", "toolu_1", "mit ä", "x" * 65, "", "call_1|fc_2"))
texts = st.sampled_from(("", "Let me see."))
results = st.sampled_from(("", "found", "with an image"))
Round = tuple[str, list[tuple[str, str, bool]]]
rounds: st.SearchStrategy[list[Round]] = st.lists(
    st.tuples(texts, st.lists(st.tuples(ids, results, st.booleans()), min_size=1, max_size=4)),
    min_size=1,
    max_size=3,
)


def conversation(of: list[Round]) -> list[ChatMessage]:
    """Return a conversation in which calls were made side by side, and some have failed."""
    messages = [ChatMessage(role="user", content="Find it.")]
    for text, calls in of:
        made = [ToolCall(id=name, name="find", arguments='{"n":1}') for name, _, _ in calls]
        messages.append(ChatMessage(role="assistant", content=text, tool_calls=made))
        messages += [_result(name, result, failed=failed) for name, result, failed in calls]
    return with_sound_ids(messages)


def _result(name: str, text: str, *, failed: bool) -> ChatMessage:
    parts: list[ContentPart] = [TextPart(text=text), PIXEL]
    content = parts if text == "with an image" else text
    return ChatMessage(role="tool", content=content, tool_call_id=name, is_error=failed)


def asking(of: list[Round], provider: Provider) -> GenerateRequest:
    return GenerateRequest(provider=provider, messages=conversation(of))


def alternating(sides: list[str], first: str, second: str) -> None:
    """Check that turns of the two roles follow each other, and the user's is the last."""
    assert sides == [first, second] * (len(sides) // 2) + [first]


@settings(max_examples=60)
@given(rounds)
def test_openais_chat_has_the_results_of_all_calls_right_behind_them(of: list[Round]):
    written = chat.body(asking(of, OpenAI(model="gpt-4o")), chat.OPENAI)["messages"]
    open_calls: list[str] = []
    for message in written:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            assert isinstance(message["content"], str)
        else:
            assert open_calls == []
        open_calls += [call["id"] for call in message.get("tool_calls", [])]
        assert all(len(name) <= 40 for name in open_calls)
    assert open_calls == []


@settings(max_examples=60)
@given(rounds)
def test_openais_responses_pair_each_output_with_a_call_before_it(of: list[Round]):
    items: list[Any] = responses.body(asking(of, OpenAI(model="gpt-4o")))["input"]
    called: list[str] = []
    for item in items:
        if item.get("type") == "function_call":
            called.append(item["call_id"])
        elif item.get("type") == "function_call_output":
            called.remove(item["call_id"])
    assert called == []


@settings(max_examples=60)
@given(rounds)
def test_anthropic_has_all_results_first_in_the_users_next_turn(of: list[Round]):
    turns = anthropic.body(asking(of, Anthropic(model="claude-sonnet-4-5")))["messages"]
    alternating([turn["role"] for turn in turns], "user", "assistant")
    for said, heard in zip(turns[1::2], turns[2::2], strict=True):
        calls = [block["id"] for block in said["content"] if block["type"] == "tool_use"]
        kinds = [block["type"] for block in heard["content"]]
        assert kinds[: len(calls)] == ["tool_result"] * len(calls)
        told = [block["tool_use_id"] for block in heard["content"][: len(calls)]]
        assert told == calls
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in calls)


@settings(max_examples=60)
@given(rounds)
def test_converse_has_a_result_for_each_use_in_the_users_next_turn(of: list[Round]):
    turns = converse.body(asking(of, Bedrock(model="anthropic.claude-sonnet-4")))["messages"]
    alternating([turn["role"] for turn in turns], "user", "assistant")
    for (_, made), said, heard in zip(of, turns[1::2], turns[2::2], strict=True):
        calls = [one["toolUse"]["toolUseId"] for one in said["content"] if "toolUse" in one]
        told = [one["toolResult"] for one in heard["content"] if "toolResult" in one]
        assert [one["toolUseId"] for one in told] == calls
        assert all(one["content"] for one in told)
        assert [one.get("status") == "error" for one in told] == [each[2] for each in made]


@settings(max_examples=60)
@given(rounds)
def test_gemini_has_as_many_responses_as_calls_in_their_order(of: list[Round]):
    turns = gemini.body(asking(of, Google(model="gemini-2.5-pro")))["contents"]
    alternating([turn["role"] for turn in turns], "user", "model")
    for said, heard in zip(turns[1::2], turns[2::2], strict=True):
        calls = [one["functionCall"]["name"] for one in said["parts"] if "functionCall" in one]
        told = [part["functionResponse"] for part in heard["parts"] if "functionResponse" in part]
        assert [one["name"] for one in told] == calls
        assert all(isinstance(one["response"], dict) for one in told)
