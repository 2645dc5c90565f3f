from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core import definitions
from schemas.agents import (
    AgentDefinition,
    AgentLimits,
    AgentTool,
    ApplyAgent,
    Memory,
    ModelChoice,
    Personality,
    Prompts,
    UpdateAgent,
)
from schemas.llm import ModelConfig
from schemas.problems import Problem
from schemas.providers import Custom, Groq, OpenAI, Scripted
from schemas.versioned import applied, deleted
from tests.unit.agents.samples import NOW, agent, later, wanted

OPENAI = OpenAI(model="gpt-4o-mini")
INPUTS = st.builds(
    lambda fields: wanted(**fields),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["Reviewer", "Critic"]),
            "description": st.text(max_size=20),
            "kind": st.sampled_from(["general", "quiz"]),
            "config": st.builds(ModelConfig, temperature=st.floats(0, 2)),
            "prompts": st.builds(Prompts, system=st.text(max_size=20)),
            "personality": st.none() | st.just(Personality(tone="formal")),
            "capabilities": st.lists(st.sampled_from(["a", "b"]), max_size=2),
            "memory": st.builds(Memory, max_history=st.integers(0, 100)),
            "model_config": st.builds(
                ModelChoice,
                provider=st.just("openai"),
                model=st.just("gpt-4o"),
                max_tokens=st.none() | st.integers(1, 100),
            ),
            "metadata": st.dictionaries(st.sampled_from(["team", "tier"]), st.integers()),
        },
    ),
)


def _updated(definition: AgentDefinition, given_input: ApplyAgent) -> AgentDefinition:
    changed = definitions.update(definition, given_input, later(1))
    assert isinstance(changed, AgentDefinition)
    return changed


def _applied(
    standing: AgentDefinition | None, given_input: ApplyAgent, now: datetime
) -> AgentDefinition | Problem:
    return applied(
        standing,
        lambda version: definitions.create("reviewer", given_input, now, version=version),
        lambda one: definitions.update(one, given_input, now),
    )


# Creating


def test_a_new_agent_has_version_1_and_is_named_after_its_id():
    assert definitions.create("reviewer", wanted(provider=OPENAI), NOW) == AgentDefinition(
        id="reviewer",
        name="reviewer",
        provider=OPENAI,
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )


def test_every_given_field_is_stored():
    fields: dict[str, Any] = {
        "name": "Reviewer",
        "description": "Reads.",
        "kind": "code_review",
        "provider": Scripted(responses=["ok"]),
        "config": ModelConfig(temperature=0.5, seed=1),
        "prompts": Prompts(system="Read."),
        "personality": Personality(tone="formal"),
        "tools": [AgentTool(name="search")],
        "capabilities": ["review"],
        "memory": Memory(max_history=2),
        "limits": AgentLimits(timeout_seconds=10),
        "metadata": {"team": "docs"},
    }

    created = definitions.create("reviewer", wanted(**fields), NOW)

    assert isinstance(created, AgentDefinition)
    assert {name: getattr(created, name) for name in fields} == fields


def test_a_new_agent_without_a_provider_is_refused():
    assert definitions.create("reviewer", wanted(), NOW) == Problem(
        code="validation",
        message="a new agent needs a provider or a model_config",
        field="provider",
    )


def test_the_short_form_becomes_provider_and_config():
    choice = ModelChoice(
        provider="groq", model="llama-3.3-70b", temperature=0.3, max_tokens=50, top_p=0.9
    )

    created = definitions.create("reviewer", wanted(model_config=choice), NOW)

    assert isinstance(created, AgentDefinition)
    assert created.provider == Groq(model="llama-3.3-70b")
    assert created.config == ModelConfig(temperature=0.3, max_tokens=50, top_p=0.9)


def test_the_short_form_overrides_a_config_that_is_given_with_it():
    choice = ModelChoice(provider="openai", model="gpt-4o", temperature=0.3)
    config = ModelConfig(temperature=0.9, seed=7)

    created = definitions.create("reviewer", wanted(model_config=choice, config=config), NOW)

    assert isinstance(created, AgentDefinition)
    assert created.config == ModelConfig(temperature=0.3, seed=7)


def test_provider_and_short_form_together_are_refused():
    choice = ModelChoice(provider="openai", model="gpt-4o")

    problem = definitions.create("reviewer", wanted(model_config=choice, provider=OPENAI), NOW)

    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == ("validation", "model_config")


@pytest.mark.parametrize("provider", ["nobody", "custom"])
def test_the_short_form_names_a_provider_that_needs_only_a_model(provider: str):
    choice = ModelChoice(provider=provider, model="m")

    problem = definitions.create("reviewer", wanted(model_config=choice), NOW)

    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == ("validation", "model_config.provider")


def test_a_new_agent_is_checked():
    problem = definitions.create(
        "reviewer", wanted(provider=OPENAI, config=ModelConfig(stop_sequences=list("abcde"))), NOW
    )

    assert isinstance(problem, Problem)
    assert problem.field == "config.stop_sequences"


# Updating


def test_an_update_changes_only_what_it_gives():
    before = agent(description="Reads.", metadata={"team": "docs"})

    after = definitions.update(before, wanted(name="Critic"), later(5))

    assert after == agent(
        description="Reads.",
        metadata={"team": "docs"},
        name="Critic",
        version=2,
        updated_at=later(5),
    )


def test_a_field_is_replaced_as_a_whole():
    before = agent(config=ModelConfig(temperature=0.1, seed=4))

    assert _updated(before, wanted(config=ModelConfig(seed=5))).config == ModelConfig(seed=5)


def test_a_personality_can_be_taken_away():
    before = agent(personality=Personality(tone="casual"))

    assert _updated(before, wanted(personality=None)).personality is None


def test_an_update_that_changes_nothing_is_no_new_version():
    before = agent(name="Reviewer", config=ModelConfig(seed=4))

    assert definitions.update(before, wanted(name="Reviewer"), later(5)) is before
    assert definitions.update(before, wanted(config=ModelConfig(seed=4)), later(5)) is before
    assert definitions.update(before, wanted(), later(5)) is before


def test_the_short_form_keeps_what_it_does_not_name():
    before = agent(
        provider=OpenAI(model="gpt-4o", base_url="https://example.com/v1", secret="TEAM_KEY"),
        config=ModelConfig(temperature=0.9, seed=7),
    )
    choice = ModelChoice(provider="openai", model="gpt-4.1", max_tokens=20)

    after = _updated(before, wanted(model_config=choice))

    assert after.provider == OpenAI(
        model="gpt-4.1", base_url="https://example.com/v1", secret="TEAM_KEY"
    )
    assert after.config == ModelConfig(temperature=0.9, seed=7, max_tokens=20)


def test_the_short_form_of_another_provider_takes_nothing_over_from_the_old_one():
    before = agent(provider=OpenAI(model="gpt-4o", secret="TEAM_KEY"))
    choice = ModelChoice(provider="groq", model="llama-3.3-70b")

    after = _updated(before, wanted(model_config=choice))

    assert after.provider == Groq(model="llama-3.3-70b")


def test_an_update_is_checked_as_a_whole():
    before = agent(config=ModelConfig(temperature=0.2))

    problem = definitions.update(before, wanted(provider=OpenAI(model="o3")), later(1))

    assert isinstance(problem, Problem)
    assert problem.field == "config.temperature"


@pytest.mark.parametrize(
    ("expected", "accepted"), [(None, True), (3, True), (2, False), (4, False)]
)
def test_an_expected_version_must_be_the_standing_one(expected: int | None, accepted: bool):
    update = UpdateAgent(id="reviewer", name="Critic", expected_version=expected)

    changed = definitions.update(agent(version=3), update, later(1))

    if accepted:
        assert changed == agent(version=4, name="Critic", updated_at=later(1))
    else:
        assert changed == Problem(
            code="conflict", message="the agent is at version 3", field="expected_version"
        )


def test_time_never_runs_backwards_between_versions():
    before = agent(updated_at=later(60))

    after = definitions.update(before, wanted(name="Critic"), NOW)

    assert isinstance(after, AgentDefinition)
    assert after.updated_at == later(60)


@given(INPUTS)
def test_an_update_applied_twice_is_an_update_applied_once(given_input: ApplyAgent):
    once = _updated(agent(), given_input)

    assert definitions.update(once, given_input, later(9)) is once


@given(INPUTS, INPUTS)
def test_the_later_of_two_updates_wins_where_both_speak(one: ApplyAgent, other: ApplyAgent):
    # The short form merges into provider and config, so it is no plain field.
    plain = ("name", "description", "kind", "prompts", "personality", "memory", "metadata")
    last = _updated(_updated(agent(), one), other)
    alone = _updated(agent(), one)

    for name in plain:
        given_value = getattr(other, name)
        spoken = given_value not in (msgspec.UNSET, None) or (
            name == "personality" and given_value is None
        )
        assert getattr(last, name) == (given_value if spoken else getattr(alone, name))


@given(INPUTS)
def test_a_version_grows_by_one_exactly_when_something_changes(given_input: ApplyAgent):
    before = agent()

    after = _updated(before, given_input)

    unchanged = msgspec.structs.replace(after, version=1, updated_at=NOW) == before
    assert after.version == (1 if unchanged else 2)


@given(INPUTS)
def test_identity_and_birth_never_change(given_input: ApplyAgent):
    after = _updated(agent(), given_input)

    assert (after.id, after.created_at) == ("reviewer", NOW)


# Applying, deleting, toggling


def test_applying_creates_what_is_not_there_and_updates_what_is():
    assert _applied(None, wanted(provider=OPENAI), NOW) == agent(name="reviewer")
    assert _applied(agent(), wanted(name="Critic"), later(1)) == agent(
        name="Critic", version=2, updated_at=later(1)
    )


def test_a_deleted_agent_is_created_anew_as_the_next_version():
    gone = agent(version=7, deleted_at=later(1), description="of old", status="OFFLINE")

    revived = _applied(gone, wanted(provider=OPENAI, name="New"), later(2))

    assert revived == agent(name="New", version=8, created_at=later(2), updated_at=later(2))


def test_reviving_needs_a_whole_definition():
    problem = _applied(agent(deleted_at=later(1)), wanted(name="New"), later(2))

    assert isinstance(problem, Problem)
    assert problem.field == "provider"


def test_deleting_marks_the_agent_and_is_a_version_of_its_own():
    gone = deleted(agent(), later(3))

    assert gone == agent(version=2, updated_at=later(3), deleted_at=later(3))
    assert deleted(gone, later(4)) is gone


def test_an_agent_goes_offline_and_comes_back():
    offline = definitions.toggle(agent(), "OFFLINE", later(1))

    assert offline == agent(status="OFFLINE", version=2, updated_at=later(1))
    assert definitions.toggle(offline, "OFFLINE", later(2)) is offline
    assert definitions.toggle(offline, "IDLE", later(3)) == agent(version=3, updated_at=later(3))


def test_an_agent_that_is_offline_is_not_executed():
    offline = definitions.refusal(agent(status="OFFLINE"))

    assert definitions.refusal(agent()) is None
    assert offline is not None
    assert offline.code == "conflict"


def test_a_custom_provider_is_stored_as_it_is_given():
    provider = Custom(
        model="local", base_url="http://127.0.0.1:8080/v1", headers={"x-team": "docs"}
    )

    created = definitions.create("reviewer", wanted(provider=provider), NOW)

    assert isinstance(created, AgentDefinition)
    assert created.provider == provider
