"""The alternatives of a call, and what each failure leads to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.resilience.routes import Failure, Route, after, leads_on, routes
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig
from schemas.policy import Fallback, Policy
from schemas.problems import Problem
from schemas.providers import Custom, Groq, OpenAI, Scripted

CONFIG = ModelConfig(temperature=0.2)
REQUEST = GenerateRequest(
    provider=OpenAI(model="gpt-4o", secret="first"),
    messages=[ChatMessage(role="user", content="Hello")],
    config=CONFIG,
)
POLICY = Policy(
    keys=["one", "two", "one"],
    fallbacks=[
        Fallback(provider=Groq(model="llama", secret="groq")),
        Fallback(provider=Scripted(responses=["x"]), config=ModelConfig(seed=1)),
    ],
)


def test_the_own_provider_comes_first_and_the_fallbacks_in_order():
    assert routes(REQUEST, POLICY) == [
        Route(0, REQUEST.provider, CONFIG, ("one", "two")),
        Route(1, Groq(model="llama", secret="groq"), CONFIG, ("groq",)),
        Route(2, Scripted(responses=["x"]), ModelConfig(seed=1), (None,)),
    ]


def test_an_attempt_that_goes_on_elsewhere_begins_there():
    assert [route.place for route in routes(REQUEST, POLICY, start=2)] == [2, 0, 1]
    assert [route.place for route in routes(REQUEST, POLICY, start=3)] == [0, 1, 2]


def test_without_a_policy_there_is_one_route_with_its_own_key():
    assert routes(REQUEST, Policy()) == [Route(0, REQUEST.provider, CONFIG, ("first",))]


def test_a_request_goes_along_a_route_with_its_settings_and_key():
    route = Route(1, Groq(model="llama"), ModelConfig(seed=1), ("a",))

    assert route.request(REQUEST, "a") == GenerateRequest(
        provider=Groq(model="llama", secret="a"),
        messages=REQUEST.messages,
        config=ModelConfig(seed=1),
    )
    custom = Route(0, Custom(model="m", base_url="http://h/v1"), CONFIG, (None,))
    assert custom.request(REQUEST, None).provider == custom.provider


@pytest.mark.parametrize(
    ("problem", "on"),
    [
        (Problem(code="provider_error", message=""), True),
        (Problem(code="unauthorized", message=""), True),
        (Problem(code="not_found", message=""), True),
        (Problem(code="rate_limited", message=""), True),
        (Problem(code="unavailable", message=""), True),
        (Problem(code="forbidden", message=""), True),
        (Problem(code="validation", message=""), False),
        (Problem(code="cancelled", message=""), False),
        (Problem(code="budget_exceeded", message=""), False),
        (
            Problem(code="provider_error", message="", details={"provider_code": "content_filter"}),
            False,
        ),
    ],
)
def test_a_fallback_is_asked_where_it_may_do_better(problem: Problem, on: bool):
    assert leads_on(problem) is on


BROKEN = Problem(code="provider_error", message="", retryable=True)
FILTERED = Problem(code="provider_error", message="", details={"provider_code": "content_filter"})


def failure(**fields: Any) -> Failure:
    return Failure(
        problem=fields.get("problem", BROKEN),
        other_routes=fields.get("routes", True),
        published=fields.get("published", False),
        can_continue=fields.get("continues", False),
    )


@pytest.mark.parametrize(
    ("failed", "step"),
    [
        (failure(), "next_route"),
        (failure(routes=False), "give_up"),
        (failure(problem=FILTERED), "give_up"),
        (failure(published=True), "restart"),
        (failure(published=True, continues=True), "continue"),
        (failure(published=True, routes=False), "give_up"),
        (failure(published=True, problem=FILTERED), "give_up"),
        (failure(published=True, problem=FILTERED, continues=True), "give_up"),
    ],
)
def test_what_follows_a_failure(failed: Failure, step: str):
    assert after(failed) == step


@given(st.booleans(), st.booleans())
def test_what_has_been_published_is_never_silently_replaced(others: bool, continues: bool):
    failed = failure(routes=others, published=True, continues=continues)

    assert after(failed) != "next_route"
