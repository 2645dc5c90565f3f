"""Partial updates, and the short forms in which the source writes an agent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core import definitions
from bus.codec import convert
from schemas.agents import (
    AgentDefinition,
    AgentTool,
    CreateAgent,
    Personality,
    Prompts,
    UpdateAgent,
)
from schemas.llm import ModelConfig
from schemas.patches import merged
from schemas.problems import Problem
from schemas.providers import Groq, OpenAI
from tests.unit.agents.samples import NOW, agent, later

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=3)
    ),
    max_leaves=8,
)
STANDING = agent(
    provider=OpenAI(model="gpt-4o", base_url="https://example.com/v1", secret="TEAM_KEY"),
    config=ModelConfig(temperature=0.2, max_tokens=100),
    prompts=Prompts(system="Read.", context_instructions="Mind the style."),
    personality=Personality(tone="formal", behavior="direct"),
    metadata={"team": "docs", "place": {"floor": 2, "room": 4}},
)


def _updated(body: dict[str, Any], standing: AgentDefinition = STANDING) -> AgentDefinition:
    wanted = convert(UpdateAgent, {"id": "reviewer"} | body)
    after = definitions.update(standing, wanted, later(1))
    assert isinstance(after, AgentDefinition), after
    return after


def _refused(body: dict[str, Any]) -> tuple[str, str | None]:
    wanted = convert(UpdateAgent, {"id": "reviewer"} | body)
    problem = definitions.update(STANDING, wanted, later(1))
    assert isinstance(problem, Problem), problem
    return problem.code, problem.field


def _created(body: dict[str, Any]) -> AgentDefinition | Problem:
    wanted = convert(CreateAgent, body)
    name = definitions.id_of(wanted)
    return definitions.create(name, wanted, NOW) if isinstance(name, str) else name


def test_a_member_that_is_not_named_stays():
    after = _updated(
        {
            "config": {"max_tokens": 20},
            "prompts": {"system": "Write."},
            "personality": {"tone": "casual"},
            "provider": {"model": "gpt-4.1"},
            "metadata": {"place": {"room": 5}},
        }
    )

    assert after.config == ModelConfig(temperature=0.2, max_tokens=20)
    assert after.prompts == Prompts(system="Write.", context_instructions="Mind the style.")
    assert after.personality == Personality(tone="casual", behavior="direct")
    assert after.provider == OpenAI(
        model="gpt-4.1", base_url="https://example.com/v1", secret="TEAM_KEY"
    )
    assert after.metadata == {"team": "docs", "place": {"floor": 2, "room": 5}}


def test_null_takes_a_member_back_to_its_default():
    after = _updated(
        {"config": {"temperature": None}, "personality": None, "metadata": {"place": None}}
    )

    assert after.config == ModelConfig(max_tokens=100)
    assert after.personality is None
    assert after.metadata == {"team": "docs"}
    assert _updated({"config": None, "prompts": None}).prompts == Prompts()


def test_a_provider_of_another_type_takes_over_neither_address_nor_secret():
    after = _updated({"provider": {"type": "groq", "model": "llama-3.3-70b"}})

    assert after.provider == Groq(model="llama-3.3-70b")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"config": {"temperature": 3}}, "config.temperature"),
        ({"config": {"temprature": 1}}, "config.temprature"),
        ({"prompts": {"system": 1}}, "prompts.system"),
        ({"provider": {"type": "groq"}}, "provider.model"),
        ({"policy": {"fallbacks": [{}]}}, "policy.fallbacks[0].provider"),
    ],
)
def test_what_a_patch_comes_to_is_checked_and_the_refusal_names_its_place(
    body: dict[str, Any], field: str
):
    assert _refused(body) == ("validation", field)


def test_a_patch_of_the_short_form_names_what_it_changes_alone():
    assert _updated({"model_config": {"temperature": 0.8}}).config == ModelConfig(
        temperature=0.8, max_tokens=100
    )
    assert _updated({"model_config": {"temperature": 0.8}}).provider == STANDING.provider
    assert _updated({"model_config": {"max_tokens": None}}).config == ModelConfig(temperature=0.2)
    assert _updated({"model_config": {"model": "gpt-4.1"}}).provider.model == "gpt-4.1"
    groq = _updated({"model_config": {"provider": "groq", "model": "llama-3.3-70b"}})
    assert groq.provider == Groq(model="llama-3.3-70b")
    assert _refused({"model_config": {"provider": "groq"}}) == ("validation", "model_config.model")


def test_the_body_with_which_the_source_creates_an_agent_is_taken_as_it_stands():
    created = _created(
        {
            "name": "Vertragsprüfer Nr. 2",
            "description": "Reads contracts.",
            "model_config": {"provider": "openai", "model": "gpt-4o", "top_p": 0.5},
            "personality": {"traits": ["analytical"], "tone": "formal"},
            "instructions": "Read each clause.",
            "tools": ["search", {"name": "fetch", "description": "Fetches."}],
            "capabilities": ["contracts"],
        }
    )

    assert isinstance(created, AgentDefinition)
    assert (created.id, created.name) == ("vertragsprufer-nr-2", "Vertragsprüfer Nr. 2")
    assert created.prompts == Prompts(system="Read each clause.")
    assert created.tools == [
        AgentTool(name="search"),
        AgentTool(name="fetch", description="Fetches."),
    ]


def test_a_new_agent_needs_an_id_or_a_name_that_makes_one():
    for body in ({}, {"name": "検査"}):
        problem = _created(body | {"provider": {"type": "openai", "model": "gpt-4o"}})
        assert isinstance(problem, Problem)
        assert problem.field == "id"


@pytest.mark.parametrize("lacking", ["provider", "model"])
def test_the_short_form_of_a_new_agent_needs_provider_and_model(lacking: str):
    choice = {"provider": "openai", "model": "gpt-4o"}
    del choice[lacking]

    problem = _created({"id": "reviewer", "model_config": choice})

    assert isinstance(problem, Problem)
    assert problem.field == f"model_config.{lacking}"


def test_instructions_change_the_system_prompt_alone_and_go_with_no_other():
    assert _updated({"instructions": "Write."}).prompts == Prompts(
        system="Write.", context_instructions="Mind the style."
    )
    assert _refused({"instructions": "a", "prompts": {"system": "b"}}) == (
        "validation",
        "instructions",
    )


@given(JSON, JSON)
def test_a_patch_is_laid_over_as_the_rfc_says(target: Any, patch: Any):
    assert merged(target, patch, variants=False) == _rfc_7396(target, patch)


@given(JSON, JSON)
def test_a_patch_that_is_laid_over_twice_is_laid_over_once(target: Any, patch: Any):
    once = merged(target, patch)

    assert merged(once, patch) == once


def _rfc_7396(target: Any, patch: Any) -> Any:
    """The pseudocode of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _rfc_7396(result.get(name), value)
    return result
