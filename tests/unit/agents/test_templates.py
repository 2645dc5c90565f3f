"""Templates: what one must hold, and the agents that are made of one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.adapters import templates as stored_templates
from actors.agents.adapters.definitions import Definitions
from actors.agents.adapters.definitions import opened as opened_definitions
from actors.agents.adapters.templates import Templates
from actors.agents.core import templates
from bus.codec import convert
from bus.config import QuotaTerms
from bus.errors import ProblemError
from bus.fairness import Quotas
from bus.kv import MemoryBucket
from bus.requests.caller import Caller
from schemas.agents import AgentDefinition, CreateAgent, GetAgent, TemplateUse
from schemas.llm import ModelConfig
from schemas.providers import Groq, OpenAI
from schemas.templates import (
    AgentTemplate,
    ApplyTemplate,
    DeleteTemplate,
    GetTemplate,
    ListTemplates,
)
from tests.unit.agents.samples import NOW

BODY: dict[str, Any] = {
    "id": "tutor",
    "description": "Teaches a subject.",
    "agent": {
        "id": "tutor-{subject}",
        "provider": {"type": "openai", "model": "{model}", "secret": "TEAM_KEY"},
        "config": {"temperature": "{temperature}", "stop_sequences": ["{stop}"]},
        "prompts": {
            "system": "You teach {subject} to grade {grade}. {{subject}} is a word.",
            "user_template": "{input_data} for {session_name}",
        },
        "metadata": "{labels}",
    },
    "parameters": {
        "type": "object",
        "properties": {
            "subject": {"type": "string", "minLength": 2},
            "grade": {"type": "integer", "minimum": 1, "maximum": 12},
            "model": {"enum": ["gpt-4o", "gpt-4o-mini"], "default": "gpt-4o-mini"},
            "temperature": {"type": "number", "default": 0.3},
            "stop": {"type": "string", "default": "END"},
            "labels": {"type": "object", "default": {}},
        },
        "required": ["subject"],
    },
}
VALUES = {"subject": "math", "grade": 7}


class Stores(NamedTuple):
    templates: Templates
    agents: Definitions

    async def create(self, **fields: Any) -> AgentDefinition:
        return await self.agents.create(
            "acme", convert(CreateAgent, {"template": "tutor"} | fields)
        )

    async def refused(self, **fields: Any) -> str | None:
        with pytest.raises(ProblemError) as refused:
            await self.create(**fields)
        return refused.value.problem.field


CALLER = Caller(tenant="acme")


@asynccontextmanager
async def _stores(body: dict[str, Any] = BODY) -> AsyncGenerator[Stores]:
    quotas = Quotas(QuotaTerms(agents=2))
    async with (
        stored_templates.opened(MemoryBucket(AgentTemplate), lambda: NOW, quotas) as forms,
        opened_definitions(
            MemoryBucket(AgentDefinition), forms, lambda: NOW, quotas
        ) as definitions,
    ):
        await forms.apply(CALLER, convert(ApplyTemplate, body))
        yield Stores(forms, definitions)


async def test_an_agent_is_made_of_a_template_and_the_values_of_its_parameters():
    async with _stores() as stores:
        made = await stores.create(values=VALUES | {"labels": {"team": "docs"}})

        assert made.id == "tutor-math"
        assert made.provider == OpenAI(model="gpt-4o-mini", secret="TEAM_KEY")
        assert made.config == ModelConfig(temperature=0.3, stop_sequences=["END"])
        assert made.prompts.system == "You teach math to grade 7. {subject} is a word."
        assert made.prompts.user_template == "{input_data} for {session_name}"
        assert made.metadata == {"team": "docs"}
        assert made.template == TemplateUse(id="tutor", version=1)
        assert await stores.agents.get("acme", GetAgent(id="tutor-math")) == made


async def test_what_is_given_beside_a_template_is_merged_over_what_comes_of_it():
    async with _stores() as stores:
        made = await stores.create(
            id="own", values=VALUES, model_config={"model": "gpt-4.1", "top_p": 0.9}
        )
        assert made.provider == OpenAI(model="gpt-4.1", secret="TEAM_KEY")
        assert made.config == ModelConfig(temperature=0.3, stop_sequences=["END"], top_p=0.9)

        other = await stores.create(
            id="other", values=VALUES, provider={"type": "groq", "model": "llama-3.3-70b"}
        )
        assert other.provider == Groq(model="llama-3.3-70b")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"grade": 7}, "values.subject"),
        ({"subject": "math"}, "values.grade"),
        (VALUES | {"grade": 13}, "values.grade"),
        (VALUES | {"grade": "7"}, "values.grade"),
        (VALUES | {"subject": "m"}, "values.subject"),
        (VALUES | {"model": "gpt-3"}, "values.model"),
        (VALUES | {"color": "red"}, "values.color"),
        (VALUES | {"temperature": 9}, "template.config.temperature"),
        (VALUES | {"subject": "a.b"}, "template.id"),
    ],
)
async def test_a_value_that_is_missing_or_wrong_is_refused_by_its_name(
    values: dict[str, Any], field: str
):
    async with _stores() as stores:
        assert await stores.refused(values=values) == field


async def test_a_template_or_version_that_is_not_there_is_not_found_in_its_field():
    async with _stores() as stores:
        assert await stores.refused(template="nobody") == "template"
        assert await stores.refused(template=None, values=VALUES) == "template"
        assert await stores.refused(template_version=2, values=VALUES) == "template_version"


async def test_templates_have_versions_and_are_deleted_softly():
    async with _stores() as stores:
        changed = await stores.templates.apply(
            CALLER, convert(ApplyTemplate, BODY | {"description": "Teaches."})
        )
        again = await stores.templates.apply(
            CALLER, convert(ApplyTemplate, BODY | {"description": "Teaches."})
        )
        assert (changed.version, again) == (2, changed)
        first = await stores.templates.get(CALLER, GetTemplate(id="tutor", version=1))
        assert first.description == "Teaches a subject."
        made = await stores.create(template_version=1, values=VALUES)
        assert made.template == TemplateUse(id="tutor", version=1)

        await stores.templates.delete(CALLER, DeleteTemplate(id="tutor"))
        assert (await stores.templates.list(CALLER, ListTemplates())).total == 0
        assert await stores.refused(values=VALUES) == "template"


async def test_templates_are_listed_with_their_parameters_and_are_no_more_than_allowed():
    async with _stores() as stores:
        other = ApplyTemplate(id="plain", agent={"name": "Plain"}, description="Says little.")
        await stores.templates.apply(CALLER, other)
        listed = await stores.templates.list(CALLER, ListTemplates())
        assert [(row.id, len(row.parameters)) for row in listed.templates] == [
            ("plain", 0),
            ("tutor", 6),
        ]
        found = await stores.templates.list(CALLER, ListTemplates(search="TEACHES"))
        assert [row.id for row in found.templates] == ["tutor"]
        with pytest.raises(ProblemError, match="3 templates, 2 are allowed"):
            await stores.templates.apply(CALLER, ApplyTemplate(id="third", agent={}))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"agent": {"instruction": "Read."}}, "agent.instruction"),
        ({"agent": {"template": "other"}}, "agent.template"),
        ({"parameters": {"type": "array"}}, "parameters.type"),
        ({"parameters": {"properties": {"a": {"type": "text"}}}}, "parameters.properties.a.type"),
        ({"parameters": {"properties": {"a-b": {}}}}, "parameters.properties.a-b"),
        ({"agent": {"description": "x" * 600_000}}, None),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(fields: dict[str, Any], field: str | None):
    wanted = convert(ApplyTemplate, {"id": "tutor", "agent": {}} | fields)

    problem = templates.create(wanted, NOW)

    assert not isinstance(problem, AgentTemplate)
    assert (problem.code, problem.field) == ("validation", field)


async def test_a_value_that_is_used_often_makes_nothing_endless():
    body = BODY | {"agent": {"description": "{subject}" * 50_000}}
    async with _stores(body) as stores:
        assert await stores.refused(values=VALUES | {"subject": "x" * 100_000}) == "values"


@given(
    st.text(alphabet='{}"x_ ', max_size=20),
    st.dictionaries(st.sampled_from(["x", "_", "xx"]), st.text(alphabet="{}x", max_size=5)),
)
def test_a_text_without_parameters_stays_as_it_is(text: str, values: dict[str, str]):
    told = templates.TemplateFilling(values).of({"a": [text]})["a"][0]
    mentioned = any(f"{{{name}}}" in text for name in values)

    assert mentioned or told == text
