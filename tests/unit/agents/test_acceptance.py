"""What the owner of a new execution is asked for, with and without an agent."""

import msgspec
import pytest

from actors.agents.core.acceptance import accept, plain_request, task_of
from schemas.executions import MAX_TASK_CHARACTERS, Generate
from schemas.lifecycle import Accept, Origin
from schemas.llm import ChatMessage, GenerateRequest, JsonObjectFormat, ModelConfig
from schemas.policy import Choice, Fallback, Policy, Rule, When
from schemas.problems import Problem
from schemas.providers import Custom, OpenAI
from schemas.steps import at_once
from tests.unit.agents.samples import NOW

ORIGIN = Origin(tenant="acme", execution_id="e1", task="Why and how?", digest="d", max_attempts=3)
REQUEST = GenerateRequest(
    provider=OpenAI(model="small"),
    messages=[ChatMessage(role="user", content="Why and how?")],
)

GENERATE = Generate(provider=OpenAI(model="small"), messages=REQUEST.messages)


def test_without_rules_the_request_is_asked_for_as_it_is():
    policy = Policy(keys=["a"])

    assert at_once(accept(ORIGIN, REQUEST, policy, timeout=5.0)) == Accept(
        origin=ORIGIN, request=REQUEST, timeout_seconds=5.0, policy=policy
    )


def test_what_rules_decide_is_part_of_the_origin_and_the_rules_are_gone():
    rule = Rule(name="hard", when=When(words=["why"]), model="large")
    policy = Policy(keys=["a"], rules=[rule])
    choice = Choice(rule="hard", field="model", value="large", reason="the task has the word why")

    assert at_once(accept(ORIGIN, REQUEST, policy, timeout=5.0)) == Accept(
        origin=msgspec.structs.replace(ORIGIN, choices=[choice]),
        request=msgspec.structs.replace(REQUEST, provider=OpenAI(model="large")),
        timeout_seconds=5.0,
        policy=Policy(keys=["a"]),
    )


def test_earlier_turns_count_for_the_rules():
    rule = Rule(name="long", when=When(turns_at_least=1), temperature=0.0)
    talk = [ChatMessage(role="assistant", content="x"), *REQUEST.messages]
    request = msgspec.structs.replace(REQUEST, messages=talk)

    ruled = at_once(accept(ORIGIN, request, Policy(rules=[rule]), timeout=5.0))
    assert isinstance(ruled.request, GenerateRequest)
    assert ruled.request.config == ModelConfig(temperature=0.0)


def test_a_plain_generation_is_asked_for_as_it_stands():
    assert at_once(plain_request(GENERATE, NOW)) == REQUEST


def test_the_response_format_of_a_plain_generation_is_part_of_its_settings():
    wanted = msgspec.structs.replace(GENERATE, response_format=JsonObjectFormat())

    request = at_once(plain_request(wanted, NOW))
    assert isinstance(request, GenerateRequest)
    assert request.config == ModelConfig(response_format=JsonObjectFormat())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"provider": Custom(model="m", base_url="http://u:p@h/v1")}, "provider.base_url"),
        (
            {"provider": OpenAI(model="o3"), "config": ModelConfig(top_p=0.5)},
            "config.top_p",
        ),
        (
            {"policy": Policy(fallbacks=[Fallback(provider=Custom(model="m", base_url="x"))])},
            "policy.fallbacks.0.provider.base_url",
        ),
        (
            {"messages": [ChatMessage(role="user", content="x" * (MAX_TASK_CHARACTERS + 1))]},
            "messages",
        ),
    ],
)
def test_a_plain_generation_is_held_to_what_a_definition_is_held_to(
    changes: dict[str, object], field: str
):
    problem = at_once(plain_request(msgspec.structs.replace(GENERATE, **changes), NOW))

    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == ("validation", field)


def test_the_task_of_a_plain_generation_is_what_the_user_said_last():
    said = [("user", "one"), ("assistant", "two"), ("user", "three"), ("tool", "four")]
    messages = [ChatMessage(role=role, content=text) for role, text in said]  # pyright: ignore[reportArgumentType]

    assert task_of(messages) == "three"
    assert task_of(messages[1:2]) == ""
