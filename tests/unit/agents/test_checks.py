from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.checks import check
from actors.agents.core.traversal import MAX_DEPTH, MAX_VALUES
from schemas import credentials
from schemas.agents import AgentDefinition, AgentTool, Prompts
from schemas.llm import JsonSchemaFormat, ModelConfig
from schemas.policy import Fallback, Policy
from schemas.problems import Problem
from schemas.providers import Anthropic, Custom, Groq, OpenAI, Provider, Scripted
from tests.unit.agents.samples import agent

CREDENTIAL = "looks like a credential: keep it in the environment and name it in provider.secret"
KEY = "sk-proj-" + "A1b2C3d4" * 4


def _custom(**fields: Any) -> Custom:
    standard = Custom(model="local", base_url="https://llm.example.com/v1")
    return msgspec.structs.replace(standard, **fields)


def _field(definition: AgentDefinition) -> str | None:
    problem = check(definition)
    assert problem is not None
    assert problem.code == "validation"
    return problem.field


def _nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = {"in": value}
    return value


def test_an_ordinary_definition_passes():
    assert check(agent()) is None


# What a provider refuses


@pytest.mark.parametrize(
    ("provider", "config"),
    [
        pytest.param(
            OpenAI(model="gpt-4o"), ModelConfig(stop_sequences=list("abcd")), id="4 stops"
        ),
        pytest.param(
            OpenAI(model="gpt-4o"), ModelConfig(temperature=0.2, top_p=0.5), id="sampling"
        ),
        pytest.param(OpenAI(model="o3"), ModelConfig(temperature=1), id="o3 at temperature 1"),
        pytest.param(OpenAI(model="o3"), ModelConfig(reasoning_effort="high"), id="o3 thinks"),
        pytest.param(OpenAI(model="gpt-5-chat-latest"), ModelConfig(temperature=0.2), id="chat"),
        pytest.param(
            OpenAI(model="gpt-5.1"),
            ModelConfig(temperature=0.2, reasoning_effort="none"),
            id="thinking switched off",
        ),
        pytest.param(Groq(model="qwen3"), ModelConfig(reasoning_effort="none"), id="groq effort"),
        pytest.param(_custom(model="o3"), ModelConfig(temperature=0.2), id="unknown server"),
        pytest.param(
            _custom(), ModelConfig(stop_sequences=list("abcdefgh")), id="unknown server, many stops"
        ),
        pytest.param(Scripted(responses=["a"]), ModelConfig(top_p=0.1), id="scripted"),
        pytest.param(OpenAI(model="o365-helper"), ModelConfig(temperature=0.2), id="looks like o3"),
    ],
)
def test_settings_that_a_provider_takes_pass(provider: Provider, config: ModelConfig):
    assert check(agent(provider=provider, config=config)) is None


@pytest.mark.parametrize(
    ("provider", "config", "field"),
    [
        (OpenAI(model="gpt-4o"), ModelConfig(stop_sequences=list("abcde")), "stop_sequences"),
        (Groq(model="llama-3"), ModelConfig(stop_sequences=list("abcde")), "stop_sequences"),
        (OpenAI(model="o1"), ModelConfig(temperature=0.2), "temperature"),
        (OpenAI(model="o3-pro"), ModelConfig(top_p=1), "top_p"),
        (OpenAI(model="o4-mini"), ModelConfig(frequency_penalty=0), "frequency_penalty"),
        (OpenAI(model="gpt-5"), ModelConfig(presence_penalty=1), "presence_penalty"),
        (OpenAI(model="gpt-5-mini-2025-08-07"), ModelConfig(temperature=0), "temperature"),
        (OpenAI(model="ft:o4-mini:acme"), ModelConfig(temperature=0), "temperature"),
        (OpenAI(model="o3"), ModelConfig(stop_sequences=["END"]), "stop_sequences"),
        (OpenAI(model="gpt-4o"), ModelConfig(reasoning_effort="low"), "reasoning_effort"),
        (OpenAI(model="gpt-5.1"), ModelConfig(reasoning_effort="minimal"), "reasoning_effort"),
        (
            OpenAI(model="gpt-5.1"),
            ModelConfig(reasoning_effort="none", presence_penalty=1),
            "presence_penalty",
        ),
        (OpenAI(model="gpt-5"), ModelConfig(reasoning_effort="none", top_p=0.1), "top_p"),
        (Groq(model="gpt-oss"), ModelConfig(reasoning_effort="xhigh"), "reasoning_effort"),
    ],
)
def test_settings_that_a_provider_refuses_are_refused(
    provider: Provider, config: ModelConfig, field: str
):
    assert _field(agent(provider=provider, config=config)) == f"config.{field}"


def test_what_anthropics_newest_version_refuses_is_refused_when_it_is_stored():
    claude = Anthropic(model="claude-sonnet-4-5")
    tempered = ModelConfig(temperature=0.5)

    problem = check(agent(provider=claude, config=tempered))

    assert problem is not None
    assert problem.field == "config.temperature"
    assert "2026-10-21" in problem.message
    older = msgspec.structs.replace(claude, api_version="2023-06-01")
    assert check(agent(provider=older, config=tempered)) is None
    dropping = ModelConfig(temperature=0.5, unsupported="drop")
    assert check(agent(provider=claude, config=dropping)) is None


def test_a_refusal_names_model_and_reason():
    assert check(
        agent(provider=OpenAI(model="o3"), config=ModelConfig(temperature=0.5))
    ) == Problem(
        code="validation", message="o3 takes no temperature but 1", field="config.temperature"
    )


def test_an_empty_stop_sequence_is_refused():
    config = ModelConfig(stop_sequences=["END", ""])

    assert _field(agent(config=config)) == "config.stop_sequences.1"


# Credentials


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "anything"},
        {"proxy-authorization": "x"},
        {"x-api-key": "x"},
        {"API_KEY": "x"},
        {"Ocp-Apim-Subscription-Key": "x"},
        {"X-Goog-Api-Key": "x"},
        {"Cookie": "a=b"},
        {"X-Auth-Token": "x"},
        {"x-note": "Bearer abc"},
        {"x-note": "basic dXNlcjpwYXNzd29yZA=="},
        {"x-note": KEY},
        {"x-note": f"my key: {KEY}"},
        {"x-note": "Zx81kQ02LmN45pRs67TuVw89AbCdEfGh"},
    ],
)
def test_headers_never_hold_a_credential(headers: dict[str, str]):
    name = next(iter(headers))

    assert check(agent(provider=_custom(headers=headers))) == Problem(
        code="validation",
        message=CREDENTIAL,
        field=f"provider.headers.{name}",
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Title": "Token counting for beginners"},
        {"HTTP-Referer": "https://example.com/agents"},
        {"x-request-group": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
        {"OpenAI-Organization": "org-acme"},
        {"x-max-tokens": "100"},
    ],
)
def test_ordinary_headers_pass(headers: dict[str, str]):
    assert check(agent(provider=_custom(headers=headers))) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"},
        {"x y": "x"},
        {"x:y": "x"},
        {"x\r\ny": "x"},
        {"x-a": "one\r\nx-injected: two"},
        {"x-a": "tab\t"},
        {"x-a": "größe"},
        {"Host": "internal"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Accept-Encoding": "gzip"},
    ],
)
def test_headers_cannot_change_the_shape_of_a_request(headers: dict[str, str]):
    name = next(iter(headers))

    assert _field(agent(provider=_custom(headers=headers))) == f"provider.headers.{name}"


def test_the_number_of_headers_is_bounded():
    headers = {f"x-{number}": "v" for number in range(33)}

    assert _field(agent(provider=_custom(headers=headers))) == "provider.headers"


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"api_key": "abc"}, "metadata.api_key"),
        ({"APIKEY": "abc"}, "metadata.APIKEY"),
        ({"nested": [{"openaiApiKey": "abc"}]}, "metadata.nested.0.openaiApiKey"),
        ({"secret": "abc"}, "metadata.secret"),
        ({"password": ["abc"]}, "metadata.password.0"),
        ({"token": {"value": "abc"}}, "metadata.token.value"),
        ({"note": f"use {KEY}"}, "metadata.note"),
    ],
)
def test_metadata_never_holds_a_credential(metadata: dict[str, Any], field: str):
    assert _field(agent(metadata=metadata)) == field


@pytest.mark.parametrize(
    "metadata",
    [{"token": 5}, {"secret": None}, {"password": ""}, {"max_tokens": "many"}, {"tokens": "some"}],
)
def test_metadata_without_a_credential_passes(metadata: dict[str, Any]):
    assert check(agent(metadata=metadata)) is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompts": Prompts(system=f"Call it with {KEY}.")}, "prompts.system"),
        ({"provider": OpenAI(model="gpt-4o", secret=KEY)}, "provider.secret"),
        ({"provider": Scripted(responses=["ok", KEY])}, "provider.responses.1"),
        ({"description": "gsk_" + "a1B2" * 13}, "description"),
        (
            {"tools": [AgentTool(name="a", parameters={"type": "object", "x": [KEY]})]},
            "tools.0.parameters.x.0",
        ),
    ],
)
def test_no_text_of_a_definition_holds_a_key(fields: dict[str, Any], field: str):
    assert _field(agent(**fields)) == field


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        "sk-ant-api03-" + "x" * 90,
        "gsk_" + "a" * 52,
        "AKIA" + "A1B2" * 4,
        "AIza" + "x" * 35,
        "hf_" + "a" * 34,
        "ghp_" + "a" * 36,
        "github_pat_" + "a" * 40,
        "glpat-" + "a" * 20,
        "xoxb-" + "1" * 20,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_well_known_keys_are_recognised_anywhere_in_a_text(key: str):
    assert credentials.is_key_shaped(f"the key is '{key}', keep it")


@pytest.mark.parametrize(
    "text", ["task-force", "risk-free-and-very-long-words", "sk-short", "eyJ", "OPENAI_API_KEY"]
)
def test_ordinary_words_are_no_keys(text: str):
    assert not credentials.is_key_shaped(text)


@given(st.sampled_from(["api_key", "Secret", "x-password", "accessToken"]), st.text(min_size=1))
def test_a_problem_never_repeats_the_credential(name: str, value: str):
    problem = check(agent(metadata={name: value}))

    assert problem is not None
    assert problem.message == CREDENTIAL


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1",
        "https://llm.example.com",
        "https://[::1]:8080/v1/",
        "http://a/b@c",
    ],
)
def test_plain_urls_pass(url: str):
    assert check(agent(provider=OpenAI(model="gpt-4o", base_url=url))) is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "https://",
        "https:///v1",
        "https://user:password@example.com",
        "https://key@example.com",
        "https://example.com/?api-version=1",
        "https://example.com/v1#x",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://[::1/",
        "https://example.com/v1\n",
        "https://exam ple.com",
        "https://example.com/\x00",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ],
)
def test_other_urls_are_refused(url: str):
    assert _field(agent(provider=_custom(base_url=url))) == "provider.base_url"


@given(st.text())
def test_no_url_makes_the_check_fail(url: str):
    problem = check(agent(provider=_custom(base_url=f"https://{url}")))

    assert problem is None or problem.field == "provider.base_url"


# Shape and size


@pytest.mark.parametrize("id_", ["", "a.b", "a*", ">", "a b", "a\n", "ä", "a" * 65])
def test_an_id_that_cannot_stand_in_a_subject_is_refused(id_: str):
    assert _field(agent(id=id_)) == "id"


def test_tools_have_names_of_their_own():
    tools = [
        AgentTool(name="search"),
        AgentTool(name="read"),
        AgentTool(name="read"),
    ]

    assert _field(agent(tools=tools)) == "tools.2.name"


def test_the_parameters_of_a_tool_are_the_schema_of_an_object():
    tools = [AgentTool(name="search", parameters={"type": "string"})]

    assert _field(agent(tools=tools)) == "tools.0.parameters.type"


def test_a_definition_may_be_deep_but_not_deeper():
    assert check(agent(metadata=_nested(MAX_DEPTH))) is None
    assert check(agent(metadata=_nested(100_000))) == Problem(
        code="validation",
        message=f"is nested deeper than {MAX_DEPTH} levels",
        field="metadata." + ".".join(["in"] * MAX_DEPTH),
    )


def test_a_definition_holds_a_bounded_number_of_values():
    problem = check(agent(metadata={"many": [0] * MAX_VALUES}))

    assert problem is not None
    assert problem.field == "metadata.many"


def test_a_definition_has_a_bounded_size():
    problem = check(agent(provider=Scripted(responses=["x" * 600_000])))

    assert problem == Problem(
        code="validation", message="the definition is larger than 524,288 bytes"
    )


def test_the_path_of_a_problem_is_short_even_if_the_names_are_long():
    field = _field(agent(metadata={"x" * 10_000: {"api_key": "abc"}}))

    assert field == f"metadata.{'x' * 64}.api_key"


@given(
    st.dictionaries(
        st.text(max_size=9),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=9), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=3,
    )
)
def test_no_metadata_makes_the_check_fail(metadata: dict[str, Any]):
    problem = check(agent(metadata=metadata))

    assert problem is None or (problem.field or "").startswith("metadata")


# JSON Schemas, wherever they stand

NO_SCHEMAS: list[tuple[dict[str, Any], str]] = [
    ({"type": "object", "properties": {"city": {"type": "txt"}}}, "properties.city.type"),
    ({"type": "object", "required": "city"}, "required"),
    ({"type": "object", "properties": {"at": {"$ref": "#/$defs/at"}}}, "properties.at.$ref"),
]


def _answering(schema: dict[str, Any]) -> ModelConfig:
    return ModelConfig(response_format=JsonSchemaFormat(schema=schema))


@pytest.mark.parametrize(("schema", "place"), NO_SCHEMAS, ids=[place for _, place in NO_SCHEMAS])
def test_what_is_no_schema_is_refused_where_it_stands(schema: dict[str, Any], place: str):
    tools = [AgentTool(name="clock"), AgentTool(name="weather", parameters=schema)]
    other = Fallback(provider=OpenAI(model="gpt-4o"), config=_answering(schema))
    policy = Policy(fallbacks=[other])

    assert _field(agent(tools=tools)) == f"tools.1.parameters.{place}"
    assert _field(agent(config=_answering(schema))) == f"config.response_format.schema.{place}"
    path = f"policy.fallbacks.0.config.response_format.schema.{place}"
    assert _field(agent(policy=policy)) == path


def test_a_schema_of_somebody_elses_may_say_what_is_not_looked_at():
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-order": 1}}}

    assert (
        check(agent(config=_answering(schema), tools=[AgentTool(name="t", parameters=schema)]))
        is None
    )


def test_a_schema_that_would_take_long_to_check_is_refused():
    names = {f"p{number}": {"type": "string", "minLength": 1} for number in range(5_000)}
    schema = {"type": "object", "properties": names}

    assert _field(agent(config=_answering(schema))) == "config.response_format.schema"
