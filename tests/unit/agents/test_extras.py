"""What extra fields, blocks, headers and deployments may cost is held, or refused by name."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.calls import BUILT_IN_SEARCHES
from actors.agents.core.spending import SpendingPolicy, under
from bus.kv.prices import shipped_text
from schemas.bills import Spending
from schemas.lifecycle import Accept
from schemas.llm import ChatMessage, ContentPart, GenerateRequest, ImageData, ModelConfig
from schemas.policy import Fallback, Policy
from schemas.pricing.prices import Priced, Prices
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Custom,
    Google,
    Groq,
    OpenAI,
    Provider,
    Scripted,
)
from schemas.safety import Moderation, Safety
from schemas.terms import Restriction
from schemas.usage import Usage
from tests.unit.agents.samples import NOW
from tests.unit.agents.test_bounds import MONEY, accept

PRICES = Prices(shipped_text())
MINI = OpenAI(model="gpt-4o-mini")
PLATFORM = Restriction(money=True, platform=True)
OWN_SERVER = "http://127.0.0.1:9/v1"
ANSWER = 100


def wanted(provider: Provider = MINI, policy: Policy | None = None, **config: Any) -> Accept:
    found = accept(provider, policy=policy)
    settings = ModelConfig(max_tokens=ANSWER, **config)
    return msgspec.structs.replace(
        found, request=msgspec.structs.replace(found.request, config=settings)
    )


def held(
    ask: Accept,
    held_by: list[Restriction] | None = None,
    spending_policy: SpendingPolicy | None = None,
) -> Spending:
    found = under(ask, held_by or MONEY, PRICES, spending_policy or SpendingPolicy(), NOW)
    assert isinstance(found, Accept), found
    assert found.spending is not None
    return found.spending


def refusal(ask: Accept) -> Problem:
    found = under(ask, MONEY, PRICES, SpendingPolicy(), NOW)
    assert isinstance(found, Problem), found
    return found


# Fields that are priced


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        (MINI, {"n": 7}),
        (MINI, {"best_of": 7}),
        (Azure(model="gpt-4o-mini"), {"n": 7}),
        (Google(model="gemini-2.5-flash"), {"generationConfig": {"candidateCount": 7}}),
        (Groq(model="llama-3.3-70b-versatile"), {"n": 7}),
    ],
)
def test_more_answers_are_held_as_often(provider: Provider, extra: dict[str, Any]):
    one, many = held(wanted(provider)), held(wanted(provider, extra=extra))

    answer = PRICES.price(terms_of(provider), Usage(output=ANSWER), NOW)
    assert isinstance(answer, Priced)
    assert many.amount_pico >= one.amount_pico + 6 * answer.cost


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        (MINI, {"max_tokens": 9000}),
        (OpenAI(model="gpt-4o-mini", api="responses"), {"max_output_tokens": 9000}),
        (Anthropic(model="claude-sonnet-4-5"), {"max_tokens": 9000}),
        (
            Anthropic(model="claude-sonnet-4-5"),
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
        ),
        (Google(model="gemini-2.5-flash"), {"generationConfig": {"maxOutputTokens": 9000}}),
        (
            Bedrock(model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", region="us-east-1"),
            {"inferenceConfig": {"maxTokens": 9000}},
        ),
    ],
)
def test_a_longer_answer_is_held_however_it_is_asked_for(provider: Provider, extra: dict[str, Any]):
    answer = PRICES.price(terms_of(provider), Usage(output=9000), NOW)

    assert isinstance(answer, Priced)
    assert held(wanted(provider, extra=extra)).amount_pico >= answer.cost


def test_a_prediction_may_be_paid_like_an_answer():
    extra = {"prediction": {"type": "content", "content": "x" * 5000}}

    plain, more = held(wanted()), held(wanted(extra=extra))

    assert more.amount_pico >= plain.amount_pico + 5000 * 600_000


def test_a_dearer_tier_is_held_wherever_it_is_written_and_a_cheaper_one_as_if_it_were_none():
    tier, flexible = Azure(model="us/gpt-4.1"), OpenAI(model="gpt-5")
    plain = held(wanted(tier)).amount_pico
    asked = held(wanted(tier, service_tier="priority")).amount_pico
    extra = held(wanted(tier, extra={"service_tier": "priority"})).amount_pico

    assert plain < asked <= extra
    later = NOW.replace(month=11)
    cheap, usual = (
        under(wanted(flexible, service_tier=tier), MONEY, PRICES, SpendingPolicy(), later)
        for tier in ("flex", None)
    )
    assert isinstance(cheap, Accept)
    assert isinstance(usual, Accept)
    assert cheap.spending == usual.spending


def test_each_model_that_may_serve_is_held_at_the_dearest():
    router = OpenAI(model="openai/gpt-4o-mini", base_url="https://openrouter.ai/api/v1", secret="r")
    big = msgspec.structs.replace(router, model="openai/o1-pro")

    found = held(wanted(router, extra={"models": ["openai/o1-pro"], "route": "fallback"}))

    assert found.amount_pico >= held(wanted(big)).amount_pico


def test_an_unpriced_model_among_others_changes_nothing_and_alone_is_refused():
    assert refusal(wanted(OpenAI(model="of-our-own"))).code == "unpriced"


# Fields that are refused


@pytest.mark.parametrize(
    ("provider", "extra", "field"),
    [
        (MINI, {"web_search_options": {}}, "web_search_options"),
        (MINI, {"modalities": ["text", "audio"]}, "modalities"),
        (MINI, {"audio": {"voice": "ash"}}, "audio"),
        (MINI, {"n": 100_000}, "n"),
        (MINI, {"n": "128"}, "n"),
        (MINI, {"n": True}, "n"),
        (MINI, {"N": 5}, "N"),
        (MINI, {"maxTokens": 5}, "maxTokens"),
        (MINI, {"tools": [{"type": "web_search"}]}, "tools"),
        (MINI, {"provider": {"sort": "latency"}}, "provider"),
        (MINI, {"plugins": [{"id": "web"}]}, "plugins"),
        (MINI, {"service_tier": ["priority"]}, "service_tier"),
        (MINI, {"something_new": None}, "something_new"),
        (OpenAI(model="gpt-5", api="responses"), {"background": True}, "background"),
        (OpenAI(model="gpt-5", api="responses"), {"background": 0}, "background"),
        (
            OpenAI(model="gpt-5", api="responses"),
            {"previous_response_id": "resp_1"},
            "previous_response_id",
        ),
        (OpenAI(model="gpt-5", api="responses"), {"prompt": {"id": "p"}}, "prompt"),
        (Anthropic(model="claude-opus-4-6"), {"speed": "fast"}, "speed"),
        (Anthropic(model="claude-opus-4-6"), {"mcp_servers": []}, "mcp_servers"),
        (Anthropic(model="claude-opus-4-6"), {"container": "c"}, "container"),
        (
            Anthropic(model="claude-opus-4-6"),
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "tools",
        ),
        (Google(model="gemini-2.5-pro"), {"cachedContent": "cachedContents/1"}, "cachedContent"),
        (Google(model="gemini-2.5-pro"), {"tools": [{"googleSearch": {}}]}, "tools"),
        (
            Google(model="gemini-2.5-pro"),
            {"generationConfig": {"candidate_count": 8}},
            "generationConfig.candidate_count",
        ),
        (
            Google(model="gemini-2.5-pro"),
            {"generationConfig": {"responseModalities": ["IMAGE"]}},
            "generationConfig.responseModalities",
        ),
        (Google(model="gemini-2.5-pro"), {"generation_config": {}}, "generation_config"),
        (
            Bedrock(model="amazon.nova-pro-v1:0", region="us-east-1"),
            {"performanceConfig": {"latency": "optimized"}},
            "performanceConfig.latency",
        ),
        (
            Bedrock(model="amazon.nova-pro-v1:0", region="us-east-1"),
            {"additionalModelRequestFields": {"tools": []}},
            "additionalModelRequestFields.tools",
        ),
    ],
)
def test_what_has_no_bounded_price_is_refused_by_name(
    provider: Provider, extra: dict[str, Any], field: str
):
    ask = wanted(provider, extra=extra)

    refused = refusal(ask)

    assert (refused.code, refused.field) == ("validation", f"config.extra.{field}")
    assert isinstance(under(ask, [Restriction()], PRICES, SpendingPolicy(), NOW), Accept)


def test_the_field_of_a_fallback_is_named_with_its_place():
    policy = Policy(
        fallbacks=[
            Fallback(provider=MINI),
            Fallback(provider=MINI, config=ModelConfig(max_tokens=5, extra={"audio": {}})),
        ]
    )

    assert refusal(wanted(policy=policy)).field == "policy.fallbacks.1.config.extra.audio"


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        (MINI, {"user": "u", "metadata": {"a": "b"}, "logit_bias": {"5": 1}, "store": False}),
        (MINI, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (Anthropic(model="claude-opus-4-6"), {"metadata": {"user_id": "u"}, "speed": "standard"}),
        (Google(model="gemini-2.5-pro"), {"safetySettings": [], "labels": {"a": "b"}}),
        (
            Google(model="gemini-2.5-pro"),
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}},
        ),
        (Scripted(responses=["Hello."], model="gpt-4o"), {"anything": 1}),
    ],
)
def test_what_changes_no_price_is_sent(provider: Provider, extra: dict[str, Any]):
    ask = wanted(provider, extra=extra)

    found = under(ask, MONEY, PRICES, SpendingPolicy(unpriced="allow"), NOW)

    assert isinstance(found, Accept)


# The bound holds


MODELS: list[Provider] = [
    MINI,
    OpenAI(model="gpt-5"),
    Azure(model="us/gpt-4.1"),
    Azure(model="gpt-4o", deployment="o1-pro"),
    Anthropic(model="claude-opus-4-6"),
    Anthropic(model="claude-sonnet-4-5"),
    Google(model="gemini-2.5-flash"),
    Google(model="gemini-2.5-flash-image"),
    Google(model="gemini-2.5-pro"),
]
MULTIPLES = st.none() | st.integers(1, 128)
LENGTHS = st.none() | st.integers(1, 5000)
TIERS = st.sampled_from([None, "auto", "flex", "priority", "standard"])


@given(st.sampled_from(MODELS), MULTIPLES, LENGTHS, TIERS, st.integers(0, 2), st.data())
def test_no_call_with_extra_fields_costs_more_than_its_hold(
    provider: Provider,
    answers: int | None,
    length: int | None,
    tier: str | None,
    images: int,
    data: st.DataObject,
):
    names = (
        ("candidateCount", "maxOutputTokens")
        if isinstance(provider, Google)
        else ("n", "max_completion_tokens")
    )
    if isinstance(provider, Anthropic):
        names = ("", "max_tokens")
    fields = {
        name: value
        for name, value in zip(names, (answers, length), strict=True)
        if value is not None and name
    }
    extra = {"generationConfig": fields} if isinstance(provider, Google) else fields
    ask = wanted(provider, extra=extra, service_tier=tier)
    image: ContentPart = ImageData(media_type="image/png", data="aGk=")
    assert isinstance(ask.request, GenerateRequest)
    said = [*ask.request.messages, ChatMessage(role="user", content=[image for _ in range(images)])]
    ask = msgspec.structs.replace(ask, request=msgspec.structs.replace(ask.request, messages=said))
    found = under(ask, MONEY, PRICES, SpendingPolicy(), NOW)
    if isinstance(found, Problem):
        assert found.code == "unpriced"
        return
    assert found.spending is not None

    prompt = 40 + 48_000 * images
    made = data.draw(st.integers(0, max(ANSWER, length or 0) * (fields.get(names[0]) or 1)))
    bucket = data.draw(st.sampled_from(["output", "reasoning", "image_output", "audio_output"]))
    told: dict[str, Any] = (
        {"output": made, bucket: made} if bucket == "reasoning" else {bucket: made}
    )
    served = data.draw(st.sampled_from([tier, None]))
    region = data.draw(st.sampled_from(["us", None]))
    asked = data.draw(st.sampled_from([provider.model, getattr(provider, "deployment", None)]))
    really: Any = msgspec.structs.replace(provider, model=asked or provider.model)
    terms = terms_of(really, tier_requested=tier, tier_served=served, region_served=region)
    cost = PRICES.price(terms, Usage(input=prompt, **told), NOW)

    assert not isinstance(cost, Priced) or cost.cost <= found.spending.amount_pico


# Azure, keys, continuation, searches, judges


def test_a_deployment_named_like_a_model_is_held_at_the_dearer_of_the_two():
    cheap, dear = Azure(model="gpt-4o-mini"), Azure(model="gpt-4o")
    deployed = Azure(model="gpt-4o-mini", deployment="gpt-4o")

    assert held(wanted(deployed)).amount_pico == held(wanted(dear)).amount_pico
    assert held(wanted(Azure(model="gpt-4o", deployment="gpt-4o-mini"))).amount_pico == (
        held(wanted(dear)).amount_pico
    )
    assert held(wanted(cheap)).amount_pico < held(wanted(dear)).amount_pico


def test_a_deployment_of_any_other_name_is_held_at_the_dearest_that_is_sold():
    unknown = held(wanted(Azure(model="gpt-4o-mini", deployment="our-own-name"))).amount_pico

    for model in ("o1-pro", "gpt-4o", "gpt-5", "gpt-4.5-preview", "gpt-4-32k"):
        sold = Azure(model=model)
        if isinstance(PRICES.price(terms_of(sold), Usage(output=1), NOW), Priced):
            assert unknown >= held(wanted(sold)).amount_pico


def test_each_key_that_may_be_refused_late_costs_the_prompt_once_more():
    one = held(wanted(policy=Policy(keys=["a"]))).amount_pico
    three = held(wanted(policy=Policy(keys=["a", "b", "c"]))).amount_pico

    prompt = one - ANSWER * 600_000
    assert three == one + 2 * prompt


def test_an_answer_that_may_be_continued_is_held_twice():
    once, twice = held(wanted()), held(wanted(policy=Policy(continuation="always")))

    assert twice.amount_pico == 2 * (once.amount_pico + ANSWER * 150_000)


def test_models_that_search_unasked_are_held_with_their_searches():
    sonar = Custom(model="sonar-pro", base_url="https://api.perplexity.ai", secret="p")
    plain = PRICES.price(terms_of(sonar), Usage(input=1), NOW)
    assert isinstance(plain, Priced)
    searched = PRICES.price(terms_of(sonar), Usage(input=1, searches=BUILT_IN_SEARCHES), NOW)

    amount = held(wanted(sonar)).amount_pico

    assert not isinstance(searched, Priced) or amount >= searched.cost
    deep = msgspec.structs.replace(sonar, model="sonar-deep-research")
    assert refusal(wanted(deep)).field == "provider.model"


def test_a_judge_that_costs_something_is_held_and_one_without_a_price_refused():
    def judged(model: str) -> Accept:
        moderation = Moderation(categories={"violence": 0.5}, model=model)
        return wanted(policy=Policy(safety=Safety(moderation=moderation)))

    assert held(judged("omni-moderation-latest")).amount_pico == held(wanted()).amount_pico
    judge = held(judged("gpt-4o")).amount_pico - held(wanted()).amount_pico
    assert judge > 2 * ANSWER * 2_500_000
    own = OpenAI(model="gpt-4o-mini", base_url=OWN_SERVER)
    policy = judged("gpt-4o").policy
    lent = held(wanted(own, policy), [PLATFORM])
    assert (lent.platform, lent.lent_pico) == (True, judge)
    assert refusal(judged("of-our-own")).code == "unpriced"


def test_an_image_is_bounded_whatever_its_bytes():
    def shown(count: int) -> int:
        images: list[ContentPart] = [ImageData(media_type="image/png", data="aGk=")] * count
        ask = wanted()
        said = [ChatMessage(role="user", content=images)]
        request = msgspec.structs.replace(ask.request, messages=said)
        return held(msgspec.structs.replace(ask, request=request)).amount_pico

    assert shown(2) - shown(1) >= 48_000 * 150_000
