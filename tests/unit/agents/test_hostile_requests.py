"""Tasks, templates and definitions that cost most to take in, and what that costs the others."""

import msgspec
import pytest

from actors.agents.core import template
from actors.agents.core.acceptance import MAX_PARTS, accept, plain_request
from actors.agents.core.checks import check
from actors.agents.core.complexity import measure
from bus.fairness.slices import Slices
from schemas.agents import AgentDefinition, AgentTool
from schemas.executions import MAX_TASK_CHARACTERS, Generate
from schemas.lifecycle import Accept, Origin
from schemas.llm import (
    ChatMessage,
    ContentPart,
    GenerateRequest,
    JsonSchemaFormat,
    ModelConfig,
    TextPart,
)
from schemas.policy import Policy, Rule, When
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.safety import Safety, SafetyRule
from schemas.steps import at_once
from tests.lag import TOLERATED_SECONDS, measured
from tests.unit.agents.samples import NOW, agent

MOST = MAX_TASK_CHARACTERS
PROVIDER = OpenAI(model="m")
ROUTED = Policy(
    rules=[
        Rule(name=f"r{place}", model="n", when=When(words=[f"w{place}x{k}" for k in range(200)]))
        for place in range(32)
    ]
)

TASKS = {
    "empty lines": "\n" * MOST,
    "blank lines": " \n" * (MOST // 2),
    "spaces": " " * MOST,
    "other spaces": "\u2003\r\v\f" * (MOST // 4),
    "items": "- a\n" * (MOST // 4),
    "empty items": "-\n" * (MOST // 2),
    "items of spaces": "- " + " " * (MOST - 2),
    "numbers": "1" * MOST,
    "words": "word " * (MOST // 5),
    "one word": "w" * MOST,
    "letters": "\u00e9 " * (MOST // 2),
    "fences": "`" * MOST,
    "questions": "?" * MOST,
    "capitals": "\u0130" * MOST,
}


@pytest.mark.parametrize("name", TASKS)
async def test_no_task_holds_up_the_loop(name: str):
    origin = Origin(tenant="acme", execution_id="e", task=TASKS[name], digest="d", max_attempts=1)
    request = GenerateRequest(provider=PROVIDER, messages=[ChatMessage(role="user", content="a")])

    async with measured() as lag:
        accepted = await Slices().run(accept(origin, request, ROUTED, timeout=1.0))

    assert isinstance(accepted, Accept)
    assert lag.longest < TOLERATED_SECONDS


def test_a_task_in_pieces_is_measured_as_a_whole():
    """However long lines are: words are cut nowhere, and what begins a line does not elsewhere."""
    filler = "x " * 9_000
    task = f"1. plan {filler}\n2. prove {filler}\n{filler}- no item\n  def code {filler}"
    found = at_once(measure(task, turns=0, tools=0))

    assert found.words >= {"plan", "prove", "item", "def", "code", "x"}
    assert {"2 for code", "1 for 2 listed items"} <= set(found.reasons().split(", "))


TEMPLATES = {
    "variables": "{a}" * 170_000,
    "unknown variables": "{b}" * 170_000,
    "escapes": "{{a}}" * 100_000,
    "open braces": "{" * 500_000,
    "open names": "{{a" * 160_000,
    "one name": "{" + "a" * 500_000,
}


@pytest.mark.parametrize("name", TEMPLATES)
async def test_no_template_holds_up_the_loop(name: str):
    async with measured() as lag:
        await Slices().whole(lambda: template.render(TEMPLATES[name], {"a": "x" * 100}))

    assert lag.longest < TOLERATED_SECONDS


def test_a_template_that_uses_variables_without_end_is_refused_by_its_field():
    problem = template.render("{a}" * (template.MAX_PLACES + 1), {"a": ""})

    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == ("validation", "prompts.user_template")
    assert template.render("{a}" * template.MAX_PLACES, {"a": ""}) == ""


def deep(levels: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def schemas(schema: dict[str, object]) -> AgentDefinition:
    answers = ModelConfig(response_format=JsonSchemaFormat(schema=schema))
    return agent(tools=[AgentTool(name="t", parameters=schema)], config=answers)


DEFINITIONS = {
    "enum": schemas({"type": "object", "enum": [str(number) for number in range(100_000)]}),
    "pattern": schemas({"type": "object", "pattern": "(a+)+$(a|a)*b" * 1000}),
    "references": schemas(
        {"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    ),
    "deep": schemas(deep(30)),
    "too deep": schemas(deep(10_000)),
    "values": agent(metadata={f"k{place}": "v" for place in range(19_000)}),
    "names": agent(metadata={"-_." * 20 + str(place): "v" for place in range(5_000)}),
    "dashes": agent(metadata={"k": "-----BEGIN " * 46_000}),
    "tokens": agent(metadata={"k": "eyJ" + "a" * 500_000}),
    "a large text": agent(metadata={"k": "-----BEGIN " * 1_000_000}),
    "patterns": agent(
        policy=Policy(
            safety=Safety(
                rules=[
                    SafetyRule(name="r", outcome="flagged", patterns=["[a-c]a" * 33] * 100)
                    for _ in range(2)
                ]
            )
        )
    ),
    "repetitions": agent(
        policy=Policy(
            safety=Safety(
                rules=[
                    SafetyRule(name="r", outcome="flagged", patterns=["a{99}b"] * 100)
                    for _ in range(30)
                ]
            )
        )
    ),
}


@pytest.mark.parametrize("name", DEFINITIONS)
async def test_no_definition_holds_up_the_loop(name: str):
    async with measured() as lag:
        await Slices().whole(lambda: check(DEFINITIONS[name]))

    assert lag.longest < TOLERATED_SECONDS


async def test_a_request_of_too_many_parts_is_refused_by_its_field():
    parts: list[ContentPart] = [TextPart(text="a")] * MAX_PARTS
    wanted = Generate(provider=PROVIDER, messages=[ChatMessage(role="user", content=parts)])

    assert isinstance(at_once(plain_request(wanted, NOW)), GenerateRequest)
    more = [*wanted.messages, ChatMessage(role="user", content="a")]
    problem = at_once(plain_request(msgspec.structs.replace(wanted, messages=more), NOW))
    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == ("validation", "messages")
