"""Known ways to charge a wrong cost, each by its number in the list of known defects.

The payloads are shaped like those of the providers and go through our own readers. Defects 10
(doubled and lost rows) and 11 (spend that dies with its process) are in test_booking_defects.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.anthropic.reader import usage_of as anthropic_usage
from actors.streaming.core.wires.converse.reader import usage_of as converse_usage
from actors.streaming.core.wires.gemini.reader import usage_of as gemini_usage
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_chat.reader import usage_of as chat_usage
from actors.streaming.core.wires.openai_responses.reader import usage_of as responses_usage
from bus.kv.prices import shipped_text
from schemas.llm import ChatMessage, GenerateRequest
from schemas.pricing.prices import Priced, Prices, RateTerms, Unpriced
from schemas.pricing.terms import terms_of
from schemas.providers import OpenAI
from schemas.usage import Usage
from tests.wires import answered, sse

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
BOOK = Prices(shipped_text())

PROFILES = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile"
GPT_4O = {"input": 2_500_000, "cache_read": 1_250_000, "output": 10_000_000}
REQUEST = GenerateRequest(
    provider=OpenAI(model="gpt-4o"), messages=[ChatMessage(role="user", content="Hello")]
)


def cost(provider: str, model: str, usage: Usage | None, **more: Any) -> int:
    assert usage is not None
    answer = BOOK.price(RateTerms(provider, model, **more), usage, AT)
    assert isinstance(answer, Priced), answer
    return answer.cost


def unpriced(provider: str, model: str, usage: Usage, **more: Any) -> Unpriced:
    answer = BOOK.price(RateTerms(provider, model, **more), usage, AT)
    assert isinstance(answer, Unpriced), answer
    return answer


# 1: cached tokens counted twice


def test_defect_01_cached_tokens_are_taken_out_of_an_input_that_includes_them():
    chat = {
        "prompt_tokens": 10_000,
        "completion_tokens": 100,
        "total_tokens": 10_100,
        "prompt_tokens_details": {"cached_tokens": 9_000},
    }
    responses = {
        "input_tokens": 10_000,
        "output_tokens": 100,
        "input_tokens_details": {"cached_tokens": 9_000},
    }
    wanted = 1_000 * GPT_4O["input"] + 9_000 * GPT_4O["cache_read"] + 100 * GPT_4O["output"]

    assert cost("openai", "gpt-4o", chat_usage(chat, "exact")) == wanted
    assert cost("openai", "gpt-4o", responses_usage(responses, "exact")) == wanted


def test_defect_01_geminis_cached_tokens_lie_within_the_prompt():
    told = {
        "promptTokenCount": 100_000,
        "cachedContentTokenCount": 90_000,
        "candidatesTokenCount": 10,
    }

    assert cost("google", "gemini-2.5-pro", gemini_usage(told, "exact")) == (
        10_000 * 1_250_000 + 90_000 * 125_000 + 10 * 10_000_000
    )


def test_defect_01_anthropics_and_bedrocks_input_excludes_what_caches_served():
    told = {"input_tokens": 1_000, "cache_read_input_tokens": 9_000, "output_tokens": 100}
    bedrock = {"inputTokens": 1_000, "cacheReadInputTokens": 9_000, "outputTokens": 100}
    wanted = 1_000 * 5_000_000 + 9_000 * 500_000 + 100 * 25_000_000

    assert cost("anthropic", "claude-opus-4-5", anthropic_usage(told, "exact")) == wanted
    profile = "global.anthropic.claude-opus-4-5-20251101-v1:0"
    assert cost("bedrock", profile, converse_usage(bedrock, "exact")) == wanted


# 2: cached tokens free, or at the full rate


def test_defect_02_cached_tokens_of_bedrock_have_their_own_rate():
    usage = Usage(cache_read=1_000_000)

    assert cost("bedrock", "amazon.nova-pro-v1:0", usage) == 1_000_000 * 200_000


def test_defect_02_a_cached_token_without_a_rate_is_neither_free_nor_full():
    refused = unpriced("openai", "gpt-4", Usage(input=10, cache_read=1))

    assert (refused.row, refused.buckets) == ("openai/gpt-4", ("cache_read",))


def test_defect_02_in_a_batch_cached_tokens_have_the_batchs_rate():
    usage = Usage(cache_read=1_000)

    assert cost("anthropic", "claude-opus-4-5", usage, batch=True) == 1_000 * 250_000
    # OpenAI publishes none for this model's batches, and charges the standard one.
    assert cost("openai", "gpt-4o", usage, batch=True) == 1_000 * 1_250_000


# 3: what is written to a cache


def test_defect_03_writing_for_an_hour_is_not_writing_for_five_minutes():
    told = {
        "input_tokens": 0,
        "cache_creation_input_tokens": 3_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000},
        "output_tokens": 0,
    }

    assert cost("anthropic", "claude-sonnet-4-5", anthropic_usage(told, "exact")) == (
        1_000 * 3_750_000 + 2_000 * 6_000_000
    )


def test_defect_03_an_hour_without_a_rate_is_not_charged_like_five_minutes():
    model = "us.anthropic.claude-3-7-sonnet-20250219-v1:0"

    assert cost("bedrock", model, Usage(cache_write_5m=10)) == 10 * 3_750_000
    assert unpriced("bedrock", model, Usage(cache_write_1h=10)).buckets == ("cache_write_1h",)


# 4: inference profiles and regions of Bedrock


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", 3_000_000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3_300_000),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 3_300_000),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", 3_300_000),
        (f"{PROFILES}/eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 3_300_000),
        (f"{PROFILES}/global.anthropic.claude-sonnet-4-5-20250929-v1:0", 3_000_000),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3_300_000),
        ("us-gov-west-1/anthropic.claude-sonnet-4-5-20250929-v1:0", 3_600_000),
    ],
)
def test_defect_04_a_profile_has_the_price_of_its_scope(model: str, rate: int):
    assert cost("bedrock", model, Usage(input=1)) == rate


@pytest.mark.parametrize(
    ("region", "rate"),
    [("", 2_650_000), ("us-east-1", 2_650_000), ("eu-west-2", 3_450_000), ("sa-east-1", 4_450_000)],
)
def test_defect_04_a_model_has_the_price_of_its_region(region: str, rate: int):
    model = "meta.llama3-70b-instruct-v1:0"

    assert cost("bedrock", model, Usage(input=1), region=region) == rate
    if region:
        arn = f"arn:aws:bedrock:{region}::foundation-model/{model}"
        assert cost("bedrock", arn, Usage(input=1)) == rate


def test_defect_04_a_region_whose_price_nobody_knows_has_none():
    refused = unpriced(
        "bedrock", "meta.llama3-70b-instruct-v1:0", Usage(input=1), region="eu-north-1"
    )

    assert refused.reason == "aws/meta.llama3-70b-instruct-v1:0 has no price in eu-north-1"


def test_defect_04_a_profile_of_ones_own_tells_no_model():
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcd1234"

    assert unpriced("bedrock", arn, Usage(input=1)).row == ""


# 5: long prompts


@pytest.mark.parametrize(
    ("provider", "model", "prompt", "rate"),
    [
        ("google", "gemini-2.5-pro", 200_000, 1_250_000),
        ("google", "gemini-2.5-pro", 200_001, 2_500_000),
        ("anthropic", "claude-sonnet-4-5", 200_000, 3_000_000),
        ("anthropic", "claude-sonnet-4-5", 200_001, 6_000_000),
        ("openai", "gpt-5.4", 272_000, 2_500_000),
        ("openai", "gpt-5.4", 272_001, 5_000_000),
    ],
)
def test_defect_05_a_long_prompt_changes_the_rate_of_the_whole_request(
    provider: str, model: str, prompt: int, rate: int
):
    assert cost(provider, model, Usage(input=prompt)) == prompt * rate


def test_defect_05_what_caches_served_counts_for_the_size_of_the_prompt():
    usage = Usage(input=1, cache_read=200_000)

    assert cost("google", "gemini-2.5-pro", usage) == 2_500_000 + 200_000 * 250_000


def test_defect_05_a_long_prompt_in_a_batch_has_the_batchs_long_rate():
    usage = Usage(input=200_001)

    assert cost("google", "gemini-2.5-pro", usage, batch=True) == 200_001 * 1_250_000


def test_defect_05_xai_begins_at_its_boundary():
    model = "grok-4.3"
    below = cost("x-ai", model, Usage(input=199_999)) / 199_999

    assert cost("x-ai", model, Usage(input=200_000)) / 200_000 == 2 * below


# 6: reasoning


def test_defect_06_reasoning_is_a_part_of_the_output_and_charged_once():
    told = {
        "prompt_tokens": 0,
        "completion_tokens": 1_000,
        "completion_tokens_details": {"reasoning_tokens": 900},
    }

    usage = chat_usage(told, "exact")

    assert usage.reasoning == 900
    assert cost("openai", "gpt-4o", usage) == 1_000 * GPT_4O["output"]


def test_defect_06_geminis_thoughts_are_added_to_what_is_said_and_take_its_long_rate():
    told = {
        "promptTokenCount": 200_001,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 90,
    }

    assert cost("google", "gemini-2.5-pro", gemini_usage(told, "exact")) == (
        200_001 * 2_500_000 + 100 * 15_000_000
    )


def test_defect_06_a_rate_of_its_own_replaces_that_of_the_output():
    usage = Usage(output=100, reasoning=60)

    fee = cost("perplexity", "sonar-deep-research", Usage())
    whole = cost("perplexity", "sonar-deep-research", usage)

    assert whole - fee == 40 * 8_000_000 + 60 * 3_000_000


def test_defect_06_what_perplexity_counts_beside_its_answer_is_paid_for_as_well():
    told = {
        "prompt_tokens": 33,
        "completion_tokens": 7_163,
        "total_tokens": 7_196,
        "citation_tokens": 20_016,
        "num_search_queries": 18,
        "reasoning_tokens": 73_997,
    }

    assert cost("perplexity", "sonar-deep-research", chat_usage(told, "exact")) == (
        33 * 2_000_000
        + 7_163 * 8_000_000
        + 20_016 * 2_000_000
        + 73_997 * 3_000_000
        + 18 * 5_000_000_000
    )


def test_defect_06_a_picture_that_was_drawn_is_not_charged_like_text():
    told = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 1_300,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1_290}],
    }

    assert cost("google", "gemini-2.5-flash-image", gemini_usage(told, "exact")) == (
        10 * 300_000 + 10 * 2_500_000 + 1_290 * 30_000_000
    )


# 7: service tiers


def test_defect_07_the_tier_that_served_counts_and_not_the_one_asked_for():
    chunks = [
        {"model": "gpt-4o-2024-08-06", "service_tier": "default", "choices": []},
        {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}},
    ]
    answer = answered(ChatReader(REQUEST), [*map(sse, chunks), b"data: [DONE]\n\n"])[1]
    terms = terms_of(
        REQUEST.provider,
        model_served=answer.model_served,
        tier_requested="priority",
        tier_served=answer.service_tier,
    )

    priced = BOOK.price(terms, answer.usage, AT)

    assert isinstance(priced, Priced)
    assert (priced.row, priced.variant) == ("openai/gpt-4o", "")
    assert priced.cost == 10 * GPT_4O["input"] + 2 * GPT_4O["output"]


def test_defect_07_a_dated_name_has_the_tiers_of_its_model():
    usage = Usage(input=1)

    assert cost("openai", "gpt-4o-2024-08-06", usage, tier="priority") == 4_250_000


def test_defect_07_a_tier_without_a_price_is_not_the_standard_one():
    refused = unpriced("openai", "gpt-4", Usage(input=1), tier="flex")

    assert refused.reason.startswith("openai/gpt-4 has no price for flex")


# 8: batches


def test_defect_08_a_batch_is_not_free_and_not_charged_in_full():
    usage = Usage(input=1_000, output=1_000)

    assert cost("openai", "gpt-4o", usage, batch=True) == 1_000 * (1_250_000 + 5_000_000)
    assert cost("openai", "gpt-4o", usage, tier="batch") == 1_000 * (1_250_000 + 5_000_000)
    unpriced("bedrock", "amazon.titan-text-express-v1", usage, batch=True)


def test_defect_08_a_borrowed_model_has_no_batches_of_its_owner():
    usage = Usage(input=1)

    assert cost("azure", "gpt-4o", usage) == GPT_4O["input"]
    unpriced("azure", "gpt-4o", usage, batch=True)


# 9: streams that end early, and usage that is nothing


def test_defect_09_usage_of_zero_beside_a_text_is_no_zero_but_estimated_and_marked():
    chunks = [
        {"choices": [{"delta": {"content": "Hello there"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}},
    ]

    answer = answered(ChatReader(REQUEST), [*map(sse, chunks), b"data: [DONE]\n\n"])[1]

    assert answer.usage.quality == "estimated"
    assert min(answer.usage.input, answer.usage.output) > 0
    assert cost("openai", "gpt-4o", Usage()) == 0


def test_defect_09_a_cut_stream_costs_the_input_it_told_and_the_text_it_brought():
    start = {
        "type": "message_start",
        "message": {"usage": {"input_tokens": 1_000, "output_tokens": 1}},
    }
    text = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "word " * 200},
    }
    reader = MessagesReader(REQUEST)
    for event in (start, text):
        reader.feed(sse(event))

    spent = reader.spent()

    assert (spent.input, spent.quality) == (1_000, "partial_stream")
    assert spent.output > 100
    assert cost("anthropic", "claude-opus-4-5", spent) == (
        1_000 * 5_000_000 + spent.output * 25_000_000
    )


# 12: floats


def test_defect_12_costs_are_whole_numbers_and_their_sum_does_not_drift():
    usage = Usage(input=1, output=1)
    one = cost("openai", "gpt-4o-mini", usage)

    assert (one, type(one)) == (150_000 + 600_000, int)
    assert sum(one for _ in range(100_000)) == 100_000 * one
    assert msgspec.json.decode(msgspec.json.encode(10**18 + 1)) == 10**18 + 1
