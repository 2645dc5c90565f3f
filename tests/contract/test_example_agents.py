"""The example agents are valid, and stay so."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.agents.core import definitions
from actors.agents.core.prompt import WORKFLOW_VARIABLES, assemble
from bus.codec import convert
from schemas.agents import AgentDefinition, ApplyAgent
from schemas.executions import ExecuteAgent
from schemas.llm import GenerateRequest
from tests.unit.agents.samples import NOW

FOLDER = Path(__file__).parents[2] / "deploy" / "examples" / "agents"
FILES = sorted(FOLDER.glob("*.yaml"))
PLANNED = {
    "analytics",
    "asset",
    "code_review",
    "content",
    "coordinator",
    "design",
    "personalization",
    "quiz",
    "reviewer",
    "script",
    "terrain",
    "testing",
}


def _agent(file: Path) -> AgentDefinition:
    wanted = convert(ApplyAgent, msgspec.yaml.decode(file.read_bytes()))
    created = definitions.create(wanted.id, wanted, NOW)
    assert isinstance(created, AgentDefinition), created
    return created


def _inputs(agent: AgentDefinition) -> dict[str, Any]:
    return {name: f"<{name}>" for name in agent.metadata.get("inputs", [])}


def test_there_is_an_example_of_every_planned_kind():
    assert {file.stem for file in FILES} == PLANNED


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_valid_and_named_like_its_file(file: Path):
    assert _agent(file).id == file.stem


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_inputs_an_example_declares_are_those_its_template_uses(file: Path):
    agent = _agent(file)
    used = set(re.findall(r"\{(\w+)\}", agent.prompts.user_template))

    assert used - {*WORKFLOW_VARIABLES, "history_count", "input_data"} == set(_inputs(agent))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_renders_to_a_prompt_without_a_gap(file: Path):
    agent = _agent(file)
    execute = ExecuteAgent(agent_id=agent.id, task="<the task>", context=_inputs(agent))

    request = assemble(agent, execute, [])

    assert isinstance(request, GenerateRequest)
    message = request.messages[-1].content
    assert "<the task>" in message
    assert "{" not in message
