"""Prompts that cannot fit into their model, and those that might."""

import pytest
from msgspec.structs import replace

from actors.streaming.core.resilience.routes import leads_on
from actors.streaming.core.tokens.window import overflow, window_of
from bus.kv.prices import shipped_text
from schemas.llm import ChatMessage, GenerateRequest
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Custom,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
)
from schemas.steps import at_once

PRICES = Prices(shipped_text())
GPT_4 = OpenAI(model="gpt-4")
SMALL = Ollama(model="m", num_ctx=100)


def asked(provider: Provider, text: str) -> GenerateRequest:
    return GenerateRequest(provider=provider, messages=[ChatMessage(role="user", content=text)])


@pytest.mark.parametrize(
    ("provider", "window"),
    [
        (GPT_4, 8_192),
        (OpenAI(model="gpt-4-32k"), 32_000),
        (OpenAI(model="gpt-4o-2024-08-06"), 128_000),
        (OpenAI(model="gpt-5-mini"), 400_000),
        (Azure(model="gpt-4o"), 128_000),
        (Anthropic(model="claude-opus-4-1-20250805"), 200_000),
        (Anthropic(model="claude-opus-4-8"), 1_000_000),
        (Bedrock(model="eu.anthropic.claude-sonnet-4-5-20250929-v1:0"), 200_000),
        (Bedrock(model="amazon.nova-pro-v1:0"), 300_000),
        (Google(model="gemini-pro"), 32_768),
        (Google(model="gemini-2.5-flash"), 1_048_576),
        (Groq(model="openai/gpt-oss-20b"), 131_072),
        (SMALL, 100),
        (Ollama(model="m"), None),
        (OpenAI(model="nobody-knows"), None),
        (replace(GPT_4, base_url="http://elsewhere"), None),
        (Anthropic(model="claude-sonnet-4-5", headers={"anthropic-beta": "context-1m"}), None),
        (Custom(model="gpt-4", base_url="http://h"), None),
    ],
    ids=str,
)
def test_the_rate_book_knows_the_windows_of_the_providers_own_services(
    provider: Provider, window: int | None
):
    assert window_of(provider, PRICES) == window


def test_a_prompt_that_cannot_fit_is_refused_by_an_estimate_that_says_so():
    problem = at_once(overflow(asked(GPT_4, "word " * 60_000), PRICES))

    assert problem == Problem(
        code="validation",
        message="The prompt has about 75000 tokens (estimated), gpt-4 takes 8192.",
        field="messages",
        details={"estimated_tokens": 75_000, "context_window": 8_192},
    )


@pytest.mark.parametrize(
    "text",
    ["word " * 6_000, "word " * 12_000, " " * 1_000_000, "=" * 1_000_000, "x" + "\n" * 400_000],
    ids=["fits", "may fit", "spaces", "rules", "lines"],
)
def test_what_may_fit_is_left_to_the_provider(text: str):
    assert at_once(overflow(asked(GPT_4, text), PRICES)) is None


def test_what_ollama_would_cut_in_silence_is_refused():
    assert at_once(overflow(asked(SMALL, "word " * 100), PRICES)) is None
    assert at_once(overflow(asked(SMALL, "word " * 1_000), PRICES)) is not None


def test_another_model_may_have_a_larger_window():
    problem = at_once(overflow(asked(SMALL, "word " * 1_000), None))

    assert problem is not None
    assert leads_on(problem)
