"""What is known of endpoints: circuit, keys and limits together."""

import pytest

from actors.streaming.core.resilience.health import (
    REMEMBERED_ENDPOINTS,
    Endpoints,
    Health,
    HealthLine,
    endpoint_name,
)
from actors.streaming.core.resilience.keys import REFUSED_REST
from schemas.fleet import EndpointState, KeyState
from schemas.problems import Problem
from schemas.providers import Azure, Bedrock, Custom, Google, OpenAI, Provider, Scripted

FAILED = Problem(code="provider_overloaded", message="", retryable=True)
LIMITED = Problem(code="rate_limited", message="", retryable=True, retry_after=7.0)
HEADERS = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "10s"}


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        (OpenAI(model="gpt-4o"), "openai/gpt-4o"),
        (OpenAI(model="m", base_url="https://proxy.example.com/v1"), "openai/m@proxy.example.com"),
        (Custom(model="m", base_url="http://127.0.0.1:8080/v1"), "custom/m@127.0.0.1:8080"),
        (Bedrock(model="claude", region="eu-west-1"), "bedrock/claude@eu-west-1"),
        (Custom(model="m", base_url="http://[::1/v1"), "custom/m@[::1"),
    ],
)
def test_an_endpoint_is_a_model_at_a_server(provider: Provider, name: str):
    assert endpoint_name(provider) == name


def begun(health: Health, key: str | None = "a", tokens: int = 0, now: float = 0.0) -> HealthLine:
    line = health.admit(key, tokens, now)
    assert isinstance(line, HealthLine)
    return line


def test_calls_teach_what_the_next_one_has_to_know():
    health = Health("openai/m")
    begun(health).ended(None, HEADERS, 0.0)
    begun(health, now=1.0)
    begun(health, "b", now=1.0).ended(LIMITED, {}, 1.0)

    assert health.wait("a", 0, 2.0) == 8.0
    assert health.keys(["a", "b", "c"], 0, 2.0) == ["c", "a"]
    assert health.state(2.0) == EndpointState(
        endpoint="openai/m",
        circuit="closed",
        keys=[
            KeyState(name="a", in_use=1, remaining={"requests": 0}),
            KeyState(name="b", resting_seconds=6.0),
        ],
    )


def test_a_call_that_was_called_off_says_nothing_of_the_endpoint():
    health = Health("openai/m")
    for _ in range(10):
        begun(health).left()

    assert health.state(0.0) == EndpointState(
        endpoint="openai/m", circuit="closed", keys=[KeyState(name="a")]
    )


def test_a_sick_endpoint_refuses_until_it_is_probed():
    health = Health("openai/m")
    for _ in range(5):
        begun(health).ended(FAILED, {}, 0.0)

    refused = health.refusal(["a"], 1.0)
    assert refused is not None
    assert (refused.code, refused.retryable, refused.retry_after) == ("unavailable", True, 9.0)
    assert health.refusal(["a"], 10.0) is None
    probe = begun(health, now=10.0)
    assert isinstance(health.admit("a", 0, 10.0), Problem)
    probe.answered()
    assert isinstance(health.admit("a", 0, 10.0), HealthLine)


def test_an_empty_wallet_rests_the_key_for_all_models_of_the_server_and_opens_no_circuit():
    empty = Problem(code="rate_limited", message="", details={"quota": "key"})
    endpoints = Endpoints()
    for model in ("m", "n"):
        for _ in range(10):
            health = endpoints.of(OpenAI(model=model), "acme", 0.0)
            begun(health).ended(empty, {}, 0.0)

    other = endpoints.of(OpenAI(model="o"), "acme", 0.0)
    proxy = OpenAI(model="o", base_url="https://proxy.example.com")
    elsewhere = endpoints.of(proxy, "acme", 0.0)
    assert other.keys(["a", "b"], 0, 1.0) == ["b"]
    assert elsewhere.keys(["a", "b"], 0, 1.0) == ["a", "b"]
    assert {state.circuit for state in endpoints.states(1.0)} == {"closed"}
    begun(other, "a", now=70.0).ended(None, {}, 70.0)
    assert other.keys(["a"], 0, 70.0) == ["a"]
    begun(other, "a", now=80.0).ended(empty, {}, 80.0)
    assert other.keys(["a"], 0, 80.0 + REFUSED_REST) == ["a"]


def test_tenants_share_what_is_known_of_the_operators_endpoints():
    endpoints = Endpoints()
    plain = OpenAI(model="m")

    assert endpoints.of(plain, "acme", 0.0) is endpoints.of(plain, "other", 0.0)
    assert endpoints.of(plain, "acme", 0.0) is not endpoints.of(OpenAI(model="n"), "acme", 0.0)


@pytest.mark.parametrize(
    "own",
    [
        OpenAI(model="m", headers={"x-org": "1"}),
        OpenAI(model="m", base_url="https://api.openai.com/v1"),
        Custom(model="m", base_url="http://h/v1"),
        Google(model="m", project="p"),
        Azure(model="m", deployment="d"),
        Azure(model="m", api_version="2024-10-21"),
    ],
)
def test_of_what_a_definition_says_itself_each_tenant_learns_alone(own: Provider):
    endpoints = Endpoints()
    mine = endpoints.of(own, "acme", 0.0)
    for _ in range(5):
        begun(mine).ended(FAILED, {}, 0.0)

    assert endpoints.of(own, "acme", 1.0) is mine
    assert endpoints.of(own, "acme", 1.0).refusal(["a"], 1.0) is not None
    assert endpoints.of(own, "other", 1.0).refusal(["a"], 1.0) is None
    assert endpoints.of(OpenAI(model="m"), "acme", 1.0).refusal(["a"], 1.0) is None


def test_a_tenant_with_many_servers_makes_nobody_forget():
    endpoints = Endpoints()
    theirs = endpoints.of(Custom(model="m", base_url="http://h/v1"), "other", 0.0)
    shared = endpoints.of(OpenAI(model="m"), "other", 0.0)
    for number in range(2 * REMEMBERED_ENDPOINTS):
        endpoints.of(Custom(model="m", base_url=f"http://h{number}/v1"), "acme", 0.0)

    assert endpoints.of(Custom(model="m", base_url="http://h/v1"), "other", 1.0) is theirs
    assert endpoints.of(OpenAI(model="m"), "acme", 1.0) is shared


def test_what_was_not_called_for_an_hour_is_forgotten():
    endpoints = Endpoints()
    health = endpoints.of(OpenAI(model="m"), "acme", 0.0)

    assert endpoints.of(OpenAI(model="m"), "acme", 3599.0) is health
    assert endpoints.of(OpenAI(model="m"), "acme", 7199.0) is not health
    assert len(endpoints.states(7200.0)) == 1


def test_nothing_is_remembered_of_a_script():
    endpoints = Endpoints()
    script = Scripted(responses=["x"])

    assert endpoints.of(script, "acme", 0.0) is not endpoints.of(script, "acme", 0.0)
    assert endpoints.states(0.0) == []


def test_the_endpoints_that_were_called_longest_ago_are_forgotten():
    endpoints = Endpoints()
    first = endpoints.of(OpenAI(model="first"), "acme", 0.0)
    for number in range(REMEMBERED_ENDPOINTS):
        endpoints.of(OpenAI(model=str(number)), "acme", 0.0)

    assert len(endpoints.states(0.0)) == REMEMBERED_ENDPOINTS
    assert endpoints.of(OpenAI(model="first"), "acme", 0.0) is not first
