"""Which row a name means, and that none is guessed."""

from datetime import UTC, datetime

import pytest

from bus.kv.prices import shipped_text
from schemas.pricing.names import WantedPrice
from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.pricing.terms import terms_of
from schemas.providers import Anthropic, Azure, Bedrock, Custom, Ollama, OpenAI, Provider, Scripted
from schemas.usage import Usage

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
BOOK = Prices(shipped_text())


@pytest.mark.parametrize(
    ("provider", "model", "row"),
    [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("openai", "GPT-4o ", "openai/gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("openai", "gpt-5.2-20251211", "openai/gpt-5.2"),
        ("openai", "openai/gpt-4o", "openai/gpt-4o"),
        ("google", "models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gemini", "gemini/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("vertex_ai", "publishers/google/models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        (
            "google",
            "projects/p/locations/global/publishers/google/models/gemini-2.5-pro",
            "google/gemini-2.5-pro",
        ),
        ("google", "claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("azure", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("xai", "grok-4", "x-ai/grok-4-0709"),
        ("gemini", "gemini/gemma-3-27b-it", "google/gemma-3-27b-it"),
        ("groq", "llama3-70b-8192", "groq/llama3-70b-8192"),
        ("https://api.openai.com/v1", "gpt-4o", "openai/gpt-4o"),
        ("https://openrouter.ai/api/v1", "openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("scripted", "anything", "scripted/any"),
        ("ollama", "llama3.2:3b", "ollama/any"),
    ],
)
def test_a_name_is_resolved_by_what_the_book_says(provider: str, model: str, row: str):
    found = BOOK.find(WantedPrice(provider, model))

    assert found is not None
    assert f"{found.provider}/{found.model}" == row


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-2099-01-01"),
        ("openai", "gpt-4o-nonsense"),
        ("openai", ""),
        ("anthropic", "claude-opus-9"),
        ("google", "gemini-9-pro"),
        ("bedrock", "anthropic.claude-opus-9-v1:0"),
        ("azure", "my-deployment"),
        ("nobody", "gpt-4o"),
        ("https://models.example.com/v1", "gpt-4o"),
        ("openai", "moderation"),
        ("github-copilot", "gpt-4o"),
        ("ollama", "gpt-oss:120b-cloud"),
    ],
)
def test_a_model_nobody_knows_the_price_of_has_none(provider: str, model: str):
    assert BOOK.find(WantedPrice(provider, model)) is None


def test_an_answer_says_from_which_name_it_was_resolved():
    def resolved(provider: str, model: str) -> str | None:
        answer = BOOK.price(RateTerms(provider, model), Usage(input=1), AT)
        assert isinstance(answer, Priced)
        return answer.resolved_from

    assert resolved("openai", "gpt-4o") is None
    assert resolved("openai", "gpt-4o-2024-08-06") == "gpt-4o-2024-08-06"
    assert resolved("azure", "gpt-4o") == "azure/gpt-4o"


@pytest.mark.parametrize(
    ("provider", "served", "row"),
    [
        (OpenAI(model="gpt-4o"), "gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13"),
        (OpenAI(model="gpt-4o"), "a name of their own", "openai/gpt-4o"),
        (OpenAI(model="gpt-4o", base_url="https://proxy.example.com/v1"), None, "openai/gpt-4o"),
        (
            OpenAI(model="openai/gpt-4o", base_url="https://openrouter.ai/api/v1"),
            None,
            "openrouter/openai/gpt-4o",
        ),
        (
            Custom(model="llama-3.1-8b-instant", base_url="https://api.groq.com/openai/v1"),
            None,
            "groq/llama-3.1-8b-instant",
        ),
        (
            Bedrock(model="global.anthropic.claude-sonnet-4-5-20250929-v1:0", region="eu-west-1"),
            "claude-sonnet-4-5-20250929",
            "aws/global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (Azure(model="eu/gpt-4o-2024-08-06"), "gpt-4o-2024-08-06", "azure/eu/gpt-4o-2024-08-06"),
        (Anthropic(model="claude-sonnet-4-5"), None, "anthropic/claude-sonnet-4-5"),
        (Ollama(model="llama3.2"), "llama3.2", "ollama/any"),
        (Scripted(responses=["x"]), None, "scripted/any"),
    ],
)
def test_a_definitions_provider_tells_who_is_paid_for_which_model(
    provider: Provider, served: str | None, row: str
):
    answer = BOOK.price(terms_of(provider, model_served=served), Usage(input=1), AT)

    assert isinstance(answer, Priced), answer
    assert answer.row == row


def test_a_server_that_nobody_knows_is_not_paid():
    provider = Custom(model="gpt-4o", base_url="http://localhost:8000/v1")

    assert not isinstance(BOOK.price(terms_of(provider), Usage(input=1), AT), Priced)
