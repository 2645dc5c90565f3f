import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.tokens import estimate
from schemas.llm import ChatMessage, GenerateRequest, ToolCall, ToolDefinition
from schemas.providers import OpenAI
from schemas.usage import Usage


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("a", 1), ("four char", 3), ("日本語", 3), ("привет", 4), ("\ud800", 1)],
)
def test_scripts_are_counted_by_their_density(text: str, count: int):
    assert estimate.tokens(text) == count


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(text: str, more: str):
    assert estimate.tokens(text) <= estimate.tokens(text + more)
    assert estimate.tokens(text + more) <= estimate.tokens(text) + estimate.tokens(more)


def test_a_call_counts_its_messages_tools_text_reasoning_and_calls():
    call = ToolCall(id="a", name="time", arguments='{"zone":"CET"}')
    request = GenerateRequest(
        provider=OpenAI(model="m"),
        messages=[
            ChatMessage(role="user", content="12345678"),
            ChatMessage(role="assistant", content="", tool_calls=[call]),
        ],
        tools=[ToolDefinition(name="time")],
    )

    bare = estimate.usage(GenerateRequest(provider=OpenAI(model="m"), messages=request.messages))
    full = estimate.usage(request, "12345678", "1234", [call])

    assert bare == Usage(input=4 + 2 + 4 + 4 + 1 + 4, quality="estimated")
    assert full.input > bare.input
    assert full == Usage(input=full.input, output=2 + 1 + 9, reasoning=1, quality="estimated")
