"""What blocks, headers and the operator's money come to under a hard budget."""

from typing import Any

import msgspec
import pytest

from actors.agents.core.spending import CHUNK_TOKENS, SpendingPolicy, under
from schemas.lifecycle import Accept
from schemas.llm import ChatMessage, ProviderBlock, Wire
from schemas.policy import Fallback, Policy
from schemas.problems import Problem
from schemas.providers import (
    Anthropic,
    Bedrock,
    Custom,
    Ollama,
    OpenAI,
    Provider,
    Scripted,
)
from schemas.terms import Restriction
from tests.unit.agents.samples import NOW
from tests.unit.agents.test_bounds import MONEY
from tests.unit.agents.test_extras import MINI, OWN_SERVER, PLATFORM, PRICES, held, refusal, wanted

# Blocks


def saying(wire: Wire, raw: dict[str, Any]) -> Accept:
    ask = wanted()
    said = [
        ChatMessage(role="user", content="x"),
        ChatMessage(role="assistant", content="y", blocks=[ProviderBlock(wire=wire, raw=raw)]),
    ]
    return msgspec.structs.replace(ask, request=msgspec.structs.replace(ask.request, messages=said))


@pytest.mark.parametrize(
    ("wire", "raw", "name"),
    [
        ("openai_chat", {"content": [{"type": "file", "file": {"file_id": "f"}}]}, "content"),
        ("openai_chat", {"model": "o1-pro"}, "model"),
        ("openai_chat", {"audio": {"id": "a"}}, "audio"),
        ("openai_responses", {"type": "item_reference", "id": "i"}, "type"),
        ("openai_responses", {"type": "image_generation_call", "id": "i"}, "type"),
        (
            "openai_responses",
            {"type": "message", "content": [{"type": "input_file", "file_id": "f"}]},
            "content",
        ),
        ("anthropic", {"type": "document", "source": {"type": "file", "file_id": "f"}}, "type"),
        ("anthropic", {"type": "image", "source": {"type": "url", "url": "u"}}, "type"),
        ("converse", {"video": {"source": {"s3Location": {"uri": "s3://b"}}}}, "video"),
        ("gemini", {"fileData": {"fileUri": "gs://b/film.mp4"}}, "fileData"),
        ("gemini", {"inlineData": {"mimeType": "video/mp4", "data": ""}}, "inlineData"),
    ],
)
def test_a_block_that_is_more_than_text_is_refused_under_a_budget(
    wire: Wire, raw: dict[str, Any], name: str
):
    ask = saying(wire, raw)

    refused = refusal(ask)

    assert (refused.code, refused.field) == ("validation", f"messages.1.blocks.0.raw.{name}")
    assert isinstance(under(ask, [Restriction()], PRICES, SpendingPolicy(), NOW), Accept)


@pytest.mark.parametrize(
    ("wire", "raw"),
    [
        ("openai_chat", {"reasoning_content": "so"}),
        ("openai_responses", {"type": "reasoning", "encrypted_content": "x", "summary": []}),
        ("openai_responses", {"phase": "commentary"}),
        ("anthropic", {"type": "thinking", "thinking": "so", "signature": "s"}),
        ("anthropic", {"type": "redacted_thinking", "data": "x"}),
        ("converse", {"reasoningContent": {"reasoningText": {"text": "so"}}}),
        ("gemini", {"functionCall": {"name": "f"}, "thoughtSignature": "s"}),
        ("gemini", {"text": "so", "thought": True}),
        ("ollama", {"thinking": "so"}),
    ],
)
def test_blocks_that_answers_bring_are_bounded_by_their_bytes(wire: Wire, raw: dict[str, Any]):
    assert held(saying(wire, raw)).amount_pico > 0


# Headers


@pytest.mark.parametrize(
    "provider",
    [
        Anthropic(model="claude-opus-4-6", headers={"anthropic-beta": "fast-mode-1"}),
        Anthropic(model="claude-opus-4-6", headers={"Anthropic-Beta": "context-1m-1,x"}),
        OpenAI(model="gpt-4o-mini", headers={"OpenAI-Beta": "assistants=v2"}),
        OpenAI(model="gpt-4o-mini", headers={"x-of-our-own": "1"}),
        Bedrock(
            model="amazon.nova-pro-v1:0",
            region="us-east-1",
            headers={"X-Amzn-Bedrock-Service-Tier": "priority"},
        ),
        Custom(model="gpt-4o-mini", base_url=OWN_SERVER, headers={"openai-service-tier": "p"}),
    ],
)
def test_a_header_of_unknown_price_is_refused_by_name(provider: Any):
    (header,) = provider.headers

    refused = under(wanted(provider), MONEY, PRICES, SpendingPolicy(unpriced="allow"), NOW)

    assert isinstance(refused, Problem)
    assert refused.field == f"provider.headers.{header}"


@pytest.mark.parametrize(
    "provider",
    [
        Anthropic(model="claude-opus-4-6", headers={"anthropic-beta": "context-1m-2025-08-07"}),
        OpenAI(model="gpt-4o-mini", headers={"OpenAI-Organization": "org", "X-Request-Id": "1"}),
        Custom(model="gpt-4o-mini", base_url=OWN_SERVER, headers={"x-of-our-own": "1"}),
        Ollama(model="llama3", headers={"User-Agent": "x"}),
    ],
)
def test_headers_that_cost_nothing_are_sent(provider: Provider):
    found = under(wanted(provider), MONEY, PRICES, SpendingPolicy(unpriced="allow"), NOW)

    assert isinstance(found, Accept)


# The platform's money


def test_a_call_of_a_tenants_own_server_needs_none_of_the_platforms_money():
    own = OpenAI(model="gpt-4o-mini", base_url=OWN_SERVER)
    ask = wanted(own, extra={"audio": {}})

    assert under(ask, [PLATFORM], PRICES, SpendingPolicy(), NOW) is ask
    spending = held(wanted(own), [*MONEY, PLATFORM])
    assert (spending.platform, spending.lent_pico) == (False, None)


@pytest.mark.parametrize(
    "provider",
    [
        MINI,
        OpenAI(model="gpt-4o-mini", base_url=OWN_SERVER, secret="key"),
        OpenAI(model="gpt-4o-mini", base_url="https://proxy.example/v1"),
        Scripted(model="gpt-4o-mini", responses=["Hello."]),
    ],
)
def test_what_may_take_the_operators_secret_is_held_of_the_platform_whole(provider: Provider):
    spending_policy = SpendingPolicy(urls={"openai": "https://proxy.example"}, unpriced="allow")

    spending = held(wanted(provider), [PLATFORM], spending_policy)

    assert (spending.platform, spending.lent_pico) == (True, None)


@pytest.mark.parametrize("slices", [None, 10])
def test_of_alternatives_only_the_operators_are_held_of_the_platform(slices: int | None):
    own = OpenAI(model="gpt-4o", base_url=OWN_SERVER)
    spending_policy = SpendingPolicy(slice_tokens=slices)
    alone = held(wanted(MINI), [PLATFORM], spending_policy)

    mixed = held(
        wanted(own, Policy(fallbacks=[Fallback(provider=MINI)])), [PLATFORM], spending_policy
    )

    assert mixed.platform
    assert mixed.lent_pico == alone.amount_pico < mixed.amount_pico
    assert slices is None or (mixed.slices and mixed.slices.lent_pico == 10 * 600_000)


def test_a_chunk_is_some_tokens_of_the_dearest_answer_or_a_slice():
    assert held(wanted()).chunk_pico == CHUNK_TOKENS * 600_000
    assert (
        held(wanted(), spending_policy=SpendingPolicy(slice_tokens=10)).chunk_pico == 10 * 600_000
    )


def test_what_a_provider_writes_before_a_prompt_with_tools_is_held():
    ask = wanted(extra={"tools": [{"type": "function", "function": {"name": "f"}}]})

    assert held(ask).amount_pico - held(wanted()).amount_pico > 600 * 150_000
