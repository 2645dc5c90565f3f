"""What one run wants otherwise than its agent's definition."""

from typing import Any

import pytest

from actors.agents.core.overrides import overridden
from actors.agents.core.prompt import assemble
from bus.codec import convert
from schemas.agents import AgentDefinition, Prompts
from schemas.executions import ExecuteAgent
from schemas.llm import ChatMessage, GenerateRequest, ImageData, ImageUrl, ModelConfig, TextPart
from schemas.policy import Fallback, Policy, Rule
from schemas.problems import Problem
from schemas.providers import Groq, OpenAI
from tests.unit.agents.samples import agent

FALLBACK = Fallback(provider=Groq(model="llama-3.3-70b"))
AGENT = agent(
    provider=OpenAI(model="gpt-4o", secret="TEAM_KEY"),
    config=ModelConfig(temperature=0.2, seed=7),
    policy=Policy(
        keys=["ONE", "TWO"],
        fallbacks=[FALLBACK],
        rules=[Rule(name="short", model="gpt-4o-mini", temperature=0.0)],
    ),
)


def _run(**fields: Any) -> ExecuteAgent:
    return convert(ExecuteAgent, {"agent_id": "reviewer", "task": "Read this."} | fields)


def _as_run(**fields: Any) -> AgentDefinition:
    found = overridden(AGENT, _run(**fields))
    assert isinstance(found, AgentDefinition), found
    return found


def test_a_run_that_wants_nothing_else_has_the_definition_itself():
    assert overridden(AGENT, _run(max_tokens=5)) is AGENT


def test_a_run_has_the_model_it_names_whatever_the_rules_say():
    found = _as_run(model="gpt-4.1")

    assert found.provider == OpenAI(model="gpt-4.1", secret="TEAM_KEY")
    assert found.policy.rules == [Rule(name="short", temperature=0.0)]
    assert (found.policy.keys, found.policy.fallbacks) == (["ONE", "TWO"], [FALLBACK])


def test_settings_of_a_run_are_merged_into_those_of_the_agent():
    found = _as_run(config={"temperature": 0.9, "seed": None, "top_p": 0.5})

    assert found.config == ModelConfig(temperature=0.9, top_p=0.5)
    assert found.provider == AGENT.provider
    assert found.policy.rules == [Rule(name="short", model="gpt-4o-mini")]
    assert _as_run(model="gpt-4.1", config={"temperature": 1.0}).policy.rules == []


def test_another_provider_gets_no_key_of_the_agents_own():
    found = _as_run(provider={"type": "groq", "model": "llama-3.3-70b"})

    assert found.provider == Groq(model="llama-3.3-70b")
    assert found.policy.keys == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"config": {"temperature": 3}}, "config.temperature"),
        ({"config": {"temprature": 1}}, "config.temprature"),
        ({"model": "o3"}, "config.temperature"),
        ({"provider": {"type": "openai", "model": "m", "headers": {"host": "x"}}}, "provider."),
    ],
)
def test_a_run_is_held_to_what_a_definition_is_held_to(fields: dict[str, Any], field: str):
    problem = overridden(AGENT, _run(**fields))

    assert isinstance(problem, Problem)
    assert problem.code == "validation"
    assert (problem.field or "").startswith(field)


def test_images_go_along_with_the_task():
    url = ImageUrl(url="https://example.com/a.png")
    data = ImageData(media_type="image/png", data="aGk=", detail="low")
    definition = agent(prompts=Prompts(user_template="See: {input_data}"))

    request = assemble(definition, _run(images=[_as_json(url), _as_json(data)]), [])

    assert isinstance(request, GenerateRequest)
    assert request.messages == [
        ChatMessage(role="user", content=[TextPart(text="See: Read this."), url, data])
    ]


def _as_json(image: ImageUrl | ImageData) -> dict[str, Any]:
    tag = image.__struct_config__.tag
    return {"type": tag} | {name: getattr(image, name) for name in image.__struct_fields__}
