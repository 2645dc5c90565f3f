"""Who pays for a call: the operator where his secret went along, otherwise nobody is believed."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.google_tokens import GoogleTokens
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.adapters.providers.anthropic import AnthropicEndpoint
from actors.streaming.adapters.providers.azure import AzureEndpoint
from actors.streaming.adapters.providers.bedrock import BedrockEndpoint
from actors.streaming.adapters.providers.google import GoogleEndpoint
from actors.streaming.config import StreamingConfig
from actors.streaming.core.deltas import TextDelta
from actors.streaming.core.resilience.routes import Route
from actors.streaming.core.tokens.allowance import Allowance
from actors.streaming.core.tokens.charging import CostMeter, Judged, Key, embedded
from bus.kv.prices import shipped_text
from bus.security.secrets import SecretEntry, Secrets
from schemas.bills import BillSlices
from schemas.lifecycle import GenerateWork
from schemas.llm import Answer, GenerateRequest, ModelConfig
from schemas.pricing.prices import Prices
from schemas.provider_specs import usual_hosts, usual_urls
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
    Scripted,
    may_take_secret,
)
from schemas.usage import Usage

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PRICES = Prices(shipped_text())
USAGE = Usage(input=1000, output=100)
CONTEXT = CallContext("acme", 1)
ELSEWHERE = "http://127.0.0.1:9/v1"

NAMES = ("openai", "anthropic", "azure", "groq", "google", "vertex", "aws_access_key_id", "ollama")
SECRETS = Secrets(
    {
        **{name: SecretEntry(env="KEY", hosts=("*.example",)) for name in NAMES},
        "own": SecretEntry(env="KEY", hosts=("*.example",), tenants=("acme",), payer="tenant"),
        "pool": SecretEntry(env="KEY", hosts=("*.example",)),
    },
    {"KEY": "sk-1"},
)
CONFIG = StreamingConfig(
    urls=usual_urls() | {"azure": "https://ours.openai.azure.com"}, aws_region="us-east-1"
)


def foreign(provider: Provider, secrets: Secrets = SECRETS) -> bool:
    tokens: GoogleTokens = None  # type: ignore[assignment]  # nothing is fetched
    endpoints: dict[type[Any], Any] = {
        OpenAI: HttpEndpoint(secrets, CONFIG),
        Groq: HttpEndpoint(secrets, CONFIG),
        Custom: HttpEndpoint(secrets, CONFIG),
        Anthropic: AnthropicEndpoint(secrets, CONFIG),
        Azure: AzureEndpoint(secrets, CONFIG),
        Ollama: HttpEndpoint(secrets, CONFIG),
        Google: GoogleEndpoint(secrets, CONFIG, tokens),
        Bedrock: BedrockEndpoint(secrets, CONFIG, lambda: NOW),
    }
    return endpoints[type(provider)].is_foreign(provider, CONTEXT)


OURS: list[Provider] = [
    OpenAI(model="m"),
    OpenAI(model="m", secret="pool"),
    OpenAI(model="m", base_url=ELSEWHERE, secret="pool"),
    OpenAI(model="m", base_url="https://api.openai.com/v1"),
    Anthropic(model="m"),
    Azure(model="m"),
    Groq(model="m"),
    Google(model="m"),
    Google(model="m", project="p"),
    Bedrock(model="m"),
    Bedrock(model="m", access_key_id="pool", secret_access_key="pool"),
    Custom(model="m", base_url=ELSEWHERE, secret="pool"),
]
STRANGERS: list[Provider] = [
    OpenAI(model="m", base_url=ELSEWHERE),
    OpenAI(model="m", secret="own"),
    OpenAI(model="m", base_url=ELSEWHERE, secret="own"),
    OpenAI(model="m", secret="unknown"),
    Anthropic(model="m", base_url=ELSEWHERE),
    Azure(model="m", base_url="https://theirs.openai.azure.com"),
    Groq(model="m", base_url=ELSEWHERE),
    Google(model="m", base_url=ELSEWHERE),
    Bedrock(model="m", base_url=ELSEWHERE),
    Bedrock(model="m", access_key_id="own", secret_access_key="own"),
    Custom(model="m", base_url=ELSEWHERE),
    Ollama(model="m"),
]


@pytest.mark.parametrize("provider", OURS, ids=repr)
def test_a_call_with_a_secret_of_the_operator_is_his(provider: Provider):
    assert not foreign(provider)
    assert may_take_secret(provider, (), usual_hosts(usual_urls()))


@pytest.mark.parametrize("provider", STRANGERS, ids=repr)
def test_any_other_call_is_a_strangers(provider: Provider):
    assert foreign(provider)


@pytest.mark.parametrize(
    ("provider", "keys", "may"),
    [
        (OpenAI(model="m", base_url=ELSEWHERE), (), False),
        (OpenAI(model="m", base_url=ELSEWHERE), ("pool",), True),
        (OpenAI(model="m", base_url="https://API.OpenAI.com/v1"), (), True),
        (OpenAI(model="m", base_url="https://api.openai.com.evil.example/v1"), (), False),
        (Bedrock(model="m", base_url="https://bedrock-runtime.us-east-1.amazonaws.com"), (), True),
        (Bedrock(model="m", base_url=ELSEWHERE, secret_access_key="pool"), (), True),
        (Custom(model="m", base_url=ELSEWHERE), (), False),
        (Scripted(responses=["Hello."]), (), True),
    ],
)
def test_who_may_take_a_secret_is_known_without_the_secrets(
    provider: Provider, keys: tuple[str, ...], may: bool
):
    assert may_take_secret(provider, keys, usual_hosts(usual_urls())) is may


def test_the_hosts_that_take_unnamed_secrets_are_the_operators_own():
    hosts = usual_hosts(
        usual_urls()
        | {
            "openai": "https://proxy.example:8443/v1",
            "azure": "https://ours.openai.azure.com",
        }
    )

    assert {"proxy.example:8443", "ours.openai.azure.com", "api.anthropic.com"} <= hosts
    assert "api.openai.com" not in hosts


# What is charged


def way(provider: Provider, **config: Any) -> Route:
    return Route(0, provider, ModelConfig(**config), (None,))


def charged(provider: Provider, served: str | None, *, stranger: bool, **more: Any) -> int | None:
    meter = CostMeter(PRICES, NOW)
    told = Answer(
        text="Yes.", finish_reason="stop", usage=USAGE, model_served=served, **more.pop("told", {})
    )
    meter.answered(way(provider, **more), None, told, foreign=stranger)
    (charge,) = meter.charges
    assert charge.foreign is stranger
    return charge.cost_pico


MINI_COST = 1000 * 150_000 + 100 * 600_000
BIG_COST = 1000 * 2_500_000 + 100 * 10_000_000


@pytest.mark.parametrize(
    ("asked", "served", "stranger", "cost"),
    [
        ("gpt-4o", "gpt-4o-mini", False, MINI_COST),
        ("gpt-4o", "gpt-4o-mini", True, BIG_COST),
        ("gpt-4o", "of-our-own", True, BIG_COST),
        ("gpt-4o", None, True, BIG_COST),
        ("gpt-4o-mini", "gpt-4o", False, BIG_COST),
        ("gpt-4o-mini", "gpt-4o", True, BIG_COST),
    ],
)
def test_a_stranger_may_name_no_cheaper_model_than_was_asked(
    asked: str, served: str, stranger: bool, cost: int
):
    assert charged(OpenAI(model=asked), served, stranger=stranger) == cost


def test_of_azure_the_dearer_of_asked_and_served_is_charged():
    named_cheap = Azure(model="gpt-4o-mini", deployment="our-own-name")
    named_dear = Azure(model="gpt-4o", deployment="our-own-name")

    assert charged(named_cheap, "gpt-4o-2024-08-06", stranger=False) == BIG_COST
    assert charged(named_dear, "gpt-4o-mini", stranger=False) == BIG_COST
    (charge,) = embedded(
        PRICES,
        Azure(model="text-embedding-3-small", deployment="x"),
        {Key(None): Usage(input=1000)},
        NOW,
        "text-embedding-3-large",
    )
    assert charge.cost_pico == 1000 * 130_000


def test_a_stranger_may_name_no_cheaper_tier_than_was_asked():
    model = OpenAI(model="gpt-5")
    flex = {"service_tier": "flex"}

    believed = charged(model, "gpt-5", stranger=False, told=flex)
    usual = charged(model, "gpt-5", stranger=True, told=flex)

    assert usual == 1000 * 1_250_000 + 100 * 10_000_000
    assert believed is not None
    assert believed < usual


def test_a_tier_in_an_extra_field_is_the_one_that_was_asked_for():
    model = Azure(model="us/gpt-4.1")
    plain = charged(model, None, stranger=False)
    asked = charged(model, None, stranger=False, service_tier="priority")
    extra = charged(model, None, stranger=False, extra={"service_tier": "priority"})

    assert plain is not None
    assert extra is not None
    assert asked == extra > plain


def test_failed_calls_judges_and_embeddings_say_whose_word_it_is():
    meter = CostMeter(PRICES, NOW)
    meter.failed(way(OpenAI(model="gpt-4o")), None, USAGE, foreign=True)
    bill = meter.bill(Judged(OpenAI(model="gpt-4o-mini"), USAGE, foreign=True))
    used = {Key("pool"): USAGE, Key(None, foreign=True): USAGE}
    embeddings = embedded(PRICES, OpenAI(model="text-embedding-3-small"), used, NOW)

    assert [each.foreign for each in bill] == [True, True]
    assert [(each.secret, each.foreign) for each in embeddings] == [("pool", False), (None, True)]


def test_of_each_slice_the_platforms_part_is_asked_for():
    work = GenerateWork(
        execution_id="e1",
        tenant="acme",
        step=1,
        attempt=1,
        segment=1,
        deadline=NOW,
        request=GenerateRequest(provider=OpenAI(model="m"), messages=[]),
    )
    slices = BillSlices(slice_pico=10, input_pico=0, output_pico=1, lent_pico=4)

    def asked(slices: BillSlices) -> tuple[int, int | None]:
        extend = Allowance(work, slices).spend([TextDelta("x" * 25)])
        assert extend is not None
        return extend.amount_pico, extend.lent_pico

    assert asked(slices) == (20, 8)
    assert asked(msgspec.structs.replace(slices, lent_pico=None)) == (20, None)


def test_a_call_without_an_address_is_nobodys():
    nowhere = StreamingConfig()

    assert AzureEndpoint(SECRETS, nowhere).is_foreign(Azure(model="m"), CONTEXT)
    bedrock = BedrockEndpoint(SECRETS, nowhere, lambda: NOW)
    assert bedrock.is_foreign(Bedrock(model="m"), CONTEXT)


def test_a_failed_call_of_azure_is_charged_as_the_dearer_of_model_and_deployment():
    meter = CostMeter(PRICES, NOW)
    for model, deployment in (("gpt-4o-mini", "gpt-4o"), ("gpt-4o", "gpt-4o-mini")):
        meter.failed(way(Azure(model=model, deployment=deployment)), None, USAGE)
    meter.failed(way(Azure(model="gpt-4o-mini", deployment="our-own-name")), None, USAGE)

    assert [each.cost_pico for each in meter.charges] == [BIG_COST, BIG_COST, MINI_COST]
