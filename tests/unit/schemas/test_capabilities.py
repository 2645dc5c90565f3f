from typing import Any, get_args

import pytest

from schemas.llm import (
    ChatMessage,
    Effort,
    GenerateRequest,
    ImageUrl,
    JsonObjectFormat,
    JsonSchemaFormat,
    ModelConfig,
    TextPart,
)
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Custom,
    Google,
    Groq,
    Ollama,
    OpenAI,
    OpenAIApi,
    Provider,
    Scripted,
)
from schemas.refusals import output_limit, refusals, unseen

FULL: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": 0.1,
    "presence_penalty": -0.1,
    "stop_sequences": ["END"],
}
SAMPLING = {"temperature", "top_p", "frequency_penalty", "presence_penalty"}
PENALTIES = {"frequency_penalty", "presence_penalty"}


def refused(provider: Provider, **settings: Any) -> set[str]:
    return {one.setting for one in refusals(provider, ModelConfig(**settings))}


@pytest.mark.parametrize(
    ("model", "effort", "settings"),
    [
        ("gpt-4o", None, set()),
        ("gpt-4o", "low", {"reasoning_effort"}),
        ("gpt-5-chat-latest", None, set()),
        ("gpt-5.1-chat", None, set()),
        ("gpt-5-mini", "low", SAMPLING | {"stop_sequences"}),
        ("gpt-5.1", "none", PENALTIES | {"stop_sequences"}),
        ("gpt-5.1", "low", SAMPLING | {"stop_sequences"}),
        ("gpt-5.1", "minimal", SAMPLING | {"stop_sequences", "reasoning_effort"}),
        ("gpt-5.1", "xhigh", SAMPLING | {"stop_sequences", "reasoning_effort"}),
        ("gpt-5.1-codex-max", "xhigh", SAMPLING | {"stop_sequences"}),
        ("gpt-5.2", "xhigh", SAMPLING | {"stop_sequences"}),
        ("gpt-5.2", "minimal", SAMPLING | {"stop_sequences", "reasoning_effort"}),
        ("gpt-5.2-pro", "low", SAMPLING | {"stop_sequences", "reasoning_effort"}),
        ("gpt-5.4-2026-03-05", "max", SAMPLING | {"stop_sequences", "reasoning_effort"}),
        ("gpt-5.4-mini", "low", SAMPLING),
        ("gpt-5.5", "low", SAMPLING),
        ("gpt-5.5", "minimal", SAMPLING | {"reasoning_effort"}),
        ("gpt-5.5-pro", "low", SAMPLING | {"reasoning_effort"}),
        ("gpt-5.6", "max", SAMPLING),
        ("gpt-5.10", "max", SAMPLING),
        ("o1", "low", SAMPLING),
        ("ft:o4-mini-2025:acme", "low", SAMPLING | {"stop_sequences"}),
        ("my-own-model", "low", set()),
    ],
)
def test_what_openais_models_refuse_is_known_also_on_azure(
    model: str, effort: str | None, settings: set[str]
):
    assert refused(OpenAI(model=model), **FULL, reasoning_effort=effort) == settings
    assert refused(Azure(model=model), **FULL, reasoning_effort=effort) == settings


def test_responses_know_fewer_settings_than_chat_and_tell_reasoning():
    both = {"seed": 1, "stop_sequences": ["x"], "reasoning_summary": "auto"}

    assert refused(OpenAI(model="gpt-4o", api="responses"), **both) == {"seed", "stop_sequences"}
    assert refused(OpenAI(model="gpt-4o"), **both) == {"reasoning_summary"}


@pytest.mark.parametrize(
    ("model", "settings", "left"),
    [
        ("claude-3-5-sonnet-20241022", {"temperature": 0.5, "top_p": 0.5, "top_k": 5}, set()),
        ("claude-3-5-sonnet-20241022", {"temperature": 1.5}, {"temperature"}),
        ("claude-3-5-sonnet-20241022", {"reasoning_effort": "low"}, {"reasoning_effort"}),
        ("claude-sonnet-4-20250514", {"temperature": 0.5, "top_p": 0.5}, set()),
        ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 0.5}, {"top_p"}),
        ("claude-opus-4-1-20250805", {"temperature": 0.5, "top_p": 0.5}, {"top_p"}),
        ("claude-opus-4-1-20250805", {"top_p": 0.5}, set()),
        ("claude-opus-4-7", {"temperature": 1.0, "top_k": 5}, {"temperature", "top_k"}),
        ("claude-sonnet-5", {"temperature": 1.0}, {"temperature"}),
        ("claude-sonnet-4-5", {"temperature": 0.5, "reasoning_budget": 2000}, {"temperature"}),
        ("claude-sonnet-4-5", {"temperature": 1.0, "reasoning_budget": 2000}, set()),
        ("claude-sonnet-4-5", {"reasoning_budget": 10}, {"reasoning_budget"}),
        ("claude-sonnet-4-5", {"reasoning_effort": "minimal"}, {"reasoning_effort"}),
        ("claude-sonnet-4-5", {"tool_choice": "required", "top_k": 3}, set()),
        (
            "claude-sonnet-4-5",
            {"tool_choice": "required", "top_k": 3, "reasoning_budget": 2000},
            {"tool_choice", "top_k"},
        ),
        ("claude-sonnet-4-5", {"response_format": JsonObjectFormat()}, {"response_format"}),
        ("claude-sonnet-4-5", {"response_format": JsonSchemaFormat(schema={})}, set()),
        ("claude-3-haiku", {"response_format": JsonSchemaFormat(schema={})}, {"response_format"}),
        ("claude-3-haiku", {"seed": 1, "presence_penalty": 1}, {"seed", "presence_penalty"}),
    ],
)
def test_what_anthropics_models_refuse_is_known(
    model: str, settings: dict[str, Any], left: set[str]
):
    assert refused(Anthropic(model=model, api_version="2023-06-01"), **settings) == left


def test_the_newest_of_gpt_5_reason_beside_tools_only_in_responses():
    def found(api: OpenAIApi, *, beside_tools: bool) -> list[str]:
        config = ModelConfig(reasoning_effort="low")
        provider = OpenAI(model="gpt-5.6", api=api)
        return [one.setting for one in refusals(provider, config, beside_tools=beside_tools)]

    assert found("chat", beside_tools=True) == ["reasoning_effort"]
    assert found("chat", beside_tools=False) == []
    assert found("responses", beside_tools=True) == []
    older = refusals(
        OpenAI(model="gpt-5.1"), ModelConfig(reasoning_effort="low"), beside_tools=True
    )
    assert older == []


@pytest.mark.parametrize(
    ("model", "unknown"),
    [
        ("o3", {"none", "minimal", "xhigh", "max"}),
        ("gpt-5-mini", {"none", "xhigh", "max"}),
        ("gpt-5.1", {"minimal", "xhigh", "max"}),
        ("gpt-5.5", {"minimal", "max"}),
        ("gpt-5.5-pro", {"none", "minimal", "low", "max"}),
        ("gpt-5.6", set()),
    ],
)
def test_each_generation_of_openais_knows_efforts_of_its_own(model: str, unknown: set[str]):
    found = {
        effort
        for effort in get_args(Effort)
        if refusals(OpenAI(model=model), ModelConfig(reasoning_effort=effort))
    }

    assert found == unknown


def test_responses_have_a_least_limit_of_tokens():
    config = ModelConfig(max_tokens=5)

    (one,) = refusals(OpenAI(model="gpt-4o", api="responses"), config)

    assert (one.setting, one.instead) == ("max_tokens", 16)
    assert refusals(OpenAI(model="gpt-4o"), config) == []


@pytest.mark.parametrize(
    "provider", [Anthropic(model="claude-opus-4-5"), Bedrock(model="eu.anthropic.claude-3-haiku")]
)
def test_claude_takes_no_stop_sequences_that_cannot_be_seen(provider: Provider):
    (one,) = refusals(provider, ModelConfig(stop_sequences=["END", "\n\n"]))

    assert (one.setting, one.instead) == ("stop_sequences", ["END"])


def test_groq_knows_three_efforts_and_none():
    assert refused(Groq(model="llama"), reasoning_effort="xhigh") == {"reasoning_effort"}
    assert refused(Groq(model="llama"), reasoning_effort="low") == set()


def test_nothing_is_known_of_custom_servers_and_scripts():
    everything = {**FULL, "top_k": 7, "seed": 1, "reasoning_effort": "max", "verbosity": "low"}

    assert refused(Custom(model="gpt-5", base_url="http://localhost"), **everything) == set()
    assert refused(Scripted(responses=["x"]), **everything) == set()


def test_only_given_settings_are_refused():
    assert refused(OpenAI(model="o3")) == set()
    assert refused(OpenAI(model="o3", api="responses"), stop_sequences=[]) == set()
    assert refused(OpenAI(model="o3"), top_p=0.5) == {"top_p"}


NEWEST = "takes no {} under anthropic-version 2026-10-21"


@pytest.mark.parametrize(
    ("provider", "version"),
    [
        (Anthropic(model="m"), "2026-10-21"),
        (Anthropic(model="m", base_url="https://api.anthropic.com/v1"), "2026-10-21"),
        (Anthropic(model="m", base_url="https://API.Anthropic.com:443"), "2026-10-21"),
        (Anthropic(model="m", base_url="https://anthropic.com.example.org"), "2023-06-01"),
        (Anthropic(model="m", base_url="https://notanthropic.com"), "2023-06-01"),
        (Anthropic(model="m", base_url="http://[::1/v1"), "2023-06-01"),
        (Anthropic(model="m", api_version="2023-06-01"), "2023-06-01"),
        (Anthropic(model="m", base_url="http://h", api_version="2026-10-21"), "2026-10-21"),
    ],
    ids=str,
)
def test_anthropics_newest_version_is_spoken_where_it_is_chosen_or_the_host_is_its_own(
    provider: Anthropic, version: str
):
    assert provider.version() == version


@pytest.mark.parametrize("setting", ["temperature", "top_p", "top_k"])
@pytest.mark.parametrize("model", ["claude-3-haiku", "claude-sonnet-4-5", "a-tuned-one"])
def test_the_newest_version_has_no_sampling_whatever_the_model(model: str, setting: str):
    newest = Anthropic(model=model, api_version="2026-10-21")
    sampled: dict[str, Any] = {setting: 1}
    (one,) = refusals(newest, ModelConfig(**sampled))
    (within,) = refusals(newest, ModelConfig(extra={setting: 1, "x": 2}))

    assert (one.setting, one.instead, one.reason) == (setting, None, NEWEST.format(setting))
    assert (within.setting, within.instead) == ("extra", {"x": 2})
    assert within.reason == NEWEST.format("temperature, top_p, top_k")
    older = Anthropic(model=model, api_version="2023-06-01")
    assert refused(older, **sampled) == set()
    assert refused(older, extra={setting: 1}) == set()
    assert refused(newest, extra={"x": 2}) == set()


def test_bedrocks_claude_has_no_such_version():
    claude = Bedrock(model="anthropic.claude-sonnet-4-5", api="invoke")

    assert refused(claude, temperature=0.5) == set()


def test_a_value_out_of_range_has_a_nearest_one():
    older = Anthropic(model="claude-3-haiku", api_version="2023-06-01")
    (one,) = refusals(older, ModelConfig(temperature=1.5))

    assert (one.instead, one.reason) == (1.0, "takes a temperature of at most 1")


def test_images_for_a_blind_model_are_found():
    picture = ChatMessage(
        role="user",
        content=[TextPart(text="What is it?"), ImageUrl(url="https://example.com/a.png")],
    )
    messages = [ChatMessage(role="system", content="Look."), picture]

    def seen_by(model: str) -> int | None:
        return unseen(GenerateRequest(provider=OpenAI(model=model), messages=messages))

    assert [seen_by(m) for m in ("gpt-4", "gpt-4-0613", "gpt-3.5-turbo")] == [1, 1, 1]
    assert [seen_by(m) for m in ("gpt-4o", "gpt-4-turbo", "gpt-5", "x")] == [None] * 4


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-opus-20240229", 4_096),
        ("claude-3-5-haiku-20241022", 8_192),
        ("claude-opus-4-20250514", 32_000),
        ("claude-sonnet-4-5-20250929", 64_000),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", 8_192),
        ("gpt-4o-mini", 16_384),
        ("something-new", None),
    ],
)
def test_output_limits_are_known_by_model(model: str, limit: int | None):
    assert output_limit(model) == limit


CLAUDE_4 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{CLAUDE_4}"
SCHEMA = JsonSchemaFormat(schema={"type": "object"})


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        (CLAUDE_4, {"seed": 1, "verbosity": "low"}, {"seed", "verbosity"}),
        (CLAUDE_4, {"temperature": 0.5, "top_p": 0.9}, {"top_p"}),
        (PROFILE, {"temperature": 0.5, "top_p": 0.9}, {"top_p"}),
        (CLAUDE_4, {"response_format": SCHEMA, "reasoning_effort": "high"}, set()),
        (CLAUDE_4, {"response_format": JsonObjectFormat()}, {"response_format"}),
        ("anthropic.claude-opus-4-7-v1:0", {"temperature": 0.5}, {"temperature"}),
        (
            "anthropic.claude-sonnet-4-20250514-v1:0",
            {"response_format": SCHEMA},
            {"response_format"},
        ),
        ("anthropic.claude-v2", {"reasoning_budget": 0, "temperature": 1.0}, set()),
        ("amazon.nova-micro-v1:0", {"reasoning_effort": "low"}, {"reasoning_effort"}),
        ("amazon.nova-micro-v1:0", {"temperature": 1.5, "top_k": 5}, {"temperature"}),
        ("us.amazon.nova-2-lite-v1:0", {"reasoning_effort": "low"}, set()),
        ("us.amazon.nova-2-lite-v1:0", {"reasoning_budget": 99}, {"reasoning_budget"}),
        (
            "amazon.titan-text-lite-v1",
            {"top_k": 5, "tool_choice": "auto"},
            {"top_k", "tool_choice"},
        ),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "max"}, {"reasoning_effort"}),
        (CLAUDE_4, {"tool_choice": "none"}, {"tool_choice"}),
        (CLAUDE_4, {"parallel_tool_calls": False}, {"parallel_tool_calls"}),
        ("mistral.pixtral-large", {"parallel_tool_calls": True, "top_k": 3}, set()),
    ],
)
def test_what_models_refuse_on_bedrock_is_known_by_family(
    model: str, settings: dict[str, Any], expected: set[str]
):
    assert refused(Bedrock(model=model, region="us-east-1"), **settings) == expected


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("gemini-2.5-flash", {**FULL, "seed": 1, "top_k": 3, "reasoning_effort": "none"}, set()),
        ("gemini-3-pro", FULL, PENALTIES),
        ("gemini-2.0-flash", {"reasoning_effort": "low"}, {"reasoning_effort"}),
        (
            "gemini-1.5-pro",
            {"reasoning_budget": 9, "reasoning_summary": "auto"},
            {"reasoning_budget", "reasoning_summary"},
        ),
        ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"reasoning_effort"}),
        ("gemini-3-pro-preview", {"reasoning_effort": "xhigh"}, {"reasoning_effort"}),
        ("gemini-3-flash", {"reasoning_effort": "minimal"}, set()),
        ("gemini-2.5-pro", {"stop_sequences": list("abcdef")}, {"stop_sequences"}),
        (
            "gemini-2.5-pro",
            {"verbosity": "low", "parallel_tool_calls": False},
            {"verbosity", "parallel_tool_calls"},
        ),
    ],
)
def test_what_geminis_models_refuse_is_known(
    model: str, settings: dict[str, Any], expected: set[str]
):
    assert refused(Google(model=model), **settings) == expected


def test_the_nearest_effort_is_known_where_gemini_lacks_one():
    def instead(model: str, effort: Any) -> Any:
        (one,) = refusals(Google(model=model), ModelConfig(reasoning_effort=effort))
        return one.instead

    assert instead("gemini-2.5-pro", "none") == "minimal"
    assert instead("gemini-3-pro", "minimal") == "low"
    assert instead("gemini-3-pro", "max") == "high"


def test_ollamas_interface_lacks_some_settings():
    given = {**FULL, "seed": 1, "top_k": 3, "reasoning_effort": "low", "response_format": SCHEMA}

    assert refused(Ollama(model="qwen3"), **given) == set()
    assert refused(Ollama(model="qwen3"), reasoning_budget=9, tool_choice="required") == {
        "reasoning_budget",
        "tool_choice",
    }


def test_some_models_on_bedrock_see_no_images():
    picture = ChatMessage(role="user", content=[ImageUrl(url="https://example.com/a.png")])

    def seen(model: str) -> int | None:
        provider = Bedrock(model=model, region="us-east-1")
        return unseen(GenerateRequest(provider=provider, messages=[picture]))

    assert seen("amazon.nova-micro-v1:0") == seen("anthropic.claude-v2") == 0
    assert seen("amazon.nova-lite-v1:0") is seen(CLAUDE_4) is None


def test_an_answer_beyond_a_models_length_is_refused_with_the_length_it_has():
    (one,) = refusals(OpenAI(model="gpt-4o"), ModelConfig(max_tokens=20_000))

    assert (one.setting, one.instead) == ("max_tokens", 16_384)
    assert refused(OpenAI(model="gpt-4o"), max_tokens=16_384) == set()
    assert refused(OpenAI(model="something-new"), max_tokens=1_000_000) == set()
    assert refused(Groq(model="gpt-4o"), max_tokens=20_000) == set()


@pytest.mark.parametrize(
    ("model", "effort", "takes"),
    [
        ("gpt-5.1", None, True),
        ("gpt-5.2-2025-12-11", None, True),
        ("gpt-5.1", "low", False),
        ("gpt-5.1", "none", True),
        ("gpt-5.1-codex", None, False),
        ("gpt-5.6-luna", None, False),
        ("gpt-5.6-luna", "none", True),
        ("gpt-5.10", None, False),
        ("gpt-5", None, False),
        ("gpt-5.1-chat-latest", None, True),
    ],
)
def test_models_that_do_not_think_take_sampling_settings(
    model: str, effort: Effort | None, *, takes: bool
):
    given = refused(OpenAI(model=model), temperature=0.2, top_p=0.9, reasoning_effort=effort)

    assert given & {"temperature", "top_p"} == (set() if takes else {"temperature", "top_p"})


def test_limits_of_answers_hold_at_the_providers_own_service_and_without_headers():
    model = "claude-sonnet-4-20250514"
    beta = {"anthropic-beta": "output-128k-2025-02-19"}

    assert refused(Anthropic(model=model), max_tokens=100_000) == {"max_tokens"}
    assert refused(Anthropic(model=model, headers=beta), max_tokens=100_000) == set()
    assert refused(Anthropic(model=model, base_url="http://h"), max_tokens=100_000) == set()
