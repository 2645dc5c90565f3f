"""Going on with an answer that was cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.writing.continuation import (
    Beginning,
    Joint,
    continued,
    is_continuable,
    takes_beginnings,
)
from schemas.llm import ChatMessage, GenerateRequest, JsonObjectFormat, ModelConfig
from schemas.policy import Continuation
from schemas.providers import Anthropic, Custom, Groq, Ollama, OpenAI, Provider

CUSTOM = Custom(model="m", base_url="http://h/v1")


@pytest.mark.parametrize(
    ("provider", "wish", "takes"),
    [
        (Groq(model="llama"), "supported", True),
        (Groq(model="llama"), "never", False),
        (OpenAI(model="gpt-4o"), "supported", False),
        (Ollama(model="llama3"), "supported", True),
        (Anthropic(model="claude-sonnet-4-5"), "supported", True),
        (Anthropic(model="claude-3-5-haiku-20241022"), "supported", True),
        (Anthropic(model="claude-opus-4-6"), "supported", False),
        (CUSTOM, "supported", False),
        (CUSTOM, "always", True),
    ],
)
def test_only_who_is_known_for_it_is_sent_a_beginning(
    provider: Provider, wish: Continuation, takes: bool
):
    assert takes_beginnings(provider, wish) is takes


def test_only_plain_text_can_be_gone_on_with():
    assert is_continuable(Beginning("Hel"), ModelConfig())
    assert not is_continuable(Beginning(" \n"), ModelConfig())
    assert not is_continuable(Beginning("Hel", has_reasoning=True), ModelConfig())
    assert not is_continuable(Beginning("Hel", has_tool_calls=True), ModelConfig())
    structured = ModelConfig(response_format=JsonObjectFormat())
    assert not is_continuable(Beginning("Hel"), structured)


def test_the_beginning_is_the_last_message_and_counts_against_the_limit():
    asked = ChatMessage(role="user", content="Hello")
    request = GenerateRequest(provider=CUSTOM, messages=[asked], config=ModelConfig(max_tokens=10))

    assert continued(request, "12345678 ") == GenerateRequest(
        provider=CUSTOM,
        messages=[asked, ChatMessage(role="assistant", content="12345678")],
        config=ModelConfig(max_tokens=7),
    )


def test_the_limit_never_falls_below_one_token():
    request = GenerateRequest(provider=CUSTOM, messages=[], config=ModelConfig(max_tokens=1))

    assert continued(request, "12345678").config.max_tokens == 1


WORDS = st.text("ab ", max_size=12)


@given(beginning=WORDS, rest=WORDS, cuts=st.lists(st.integers(0, 12), max_size=4))
def test_no_white_space_is_doubled_at_the_seam_wherever_the_rest_is_cut(
    beginning: str, rest: str, cuts: list[int]
):
    places = sorted({0, len(rest), *(cut for cut in cuts if cut < len(rest))})
    joint = Joint(beginning)
    pieces = [rest[a:b] for a, b in pairwise(places)]
    joined = "".join(joint.feed(piece) for piece in pieces)

    whole = Joint(beginning).feed(rest)
    assert joined == whole
    assert whole == (rest.lstrip() if beginning[-1:].isspace() else rest)
