"""The example agents are valid, and stay so."""

import importlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.agents.core import definitions
from actors.agents.core.prompt import WORKFLOW_VARIABLES, assemble
from actors.agents.core.tool_offers import ToolOffers, offers, servers
from actors.mcp_pool.core.servers import offered
from bus import files
from bus.codec import convert
from schemas.agents import AgentDefinition, ApplyAgent
from schemas.executions import ExecuteAgent
from schemas.llm import GenerateRequest
from schemas.tool_servers import OperatorServer
from schemas.tools import ServerTool, ToolHints, ToolList
from tests.unit.agents.samples import NOW

FOLDER = Path(__file__).parents[2] / "deploy" / "examples" / "agents"
SUPPORT = FOLDER.parent / "support"
FILES = [*sorted(FOLDER.glob("*.yaml")), SUPPORT / "agent.yaml"]
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
    "support",
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


def _name(file: Path) -> str:
    """Return what an agent is called after: its file, or the folder that is its alone."""
    return file.parent.name if file.stem == "agent" else file.stem


def test_there_is_an_example_of_every_planned_kind():
    assert {_name(file) for file in FILES} == PLANNED


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_an_example_is_valid_and_named_like_its_file(file: Path):
    assert _agent(file).id == _name(file)


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_the_inputs_an_example_declares_are_those_its_template_uses(file: Path):
    agent = _agent(file)
    used = set(re.findall(r"\{(\w+)\}", agent.prompts.user_template))

    assert used - {*WORKFLOW_VARIABLES, "history_count", "input_data"} == set(_inputs(agent))


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_an_example_renders_to_a_prompt_without_a_gap(file: Path):
    agent = _agent(file)
    execute = ExecuteAgent(agent_id=agent.id, task="<the task>", context=_inputs(agent))

    request = assemble(agent, execute, [])

    assert isinstance(request, GenerateRequest)
    message = request.messages[-1].content
    assert "<the task>" in message
    assert "{" not in message


async def _help_desk(monkeypatch: pytest.MonkeyPatch) -> list[ServerTool]:
    """Return what the example server for Help Scout lists."""
    monkeypatch.syspath_prepend(str(FOLDER.parent / "helpscout"))
    listed = await importlib.import_module("helpscout_tools").server(None).list_tools()
    return [
        ServerTool(
            server="helpscout",
            tool=each.name,
            hints=ToolHints(
                read_only=each.annotations.read_only_hint,
                idempotent=bool(each.annotations.idempotent_hint),
            ),
        )
        for each in listed
    ]


async def test_the_support_agent_uses_three_servers_and_a_person_approves_of_what_it_changes(
    monkeypatch: pytest.MonkeyPatch,
):
    named = files.of(SUPPORT / "servers.yaml", dict[str, OperatorServer])
    tools = await _help_desk(monkeypatch)
    tools += [
        ServerTool(server=name, tool=tool)
        for name in ("notion", "slack")
        for tool in named[name].tools.allow
    ]
    known = [offered(named[tool.server].tools, tool) for tool in tools]
    agent = _agent(SUPPORT / "agent.yaml")
    found = offers(agent, ToolList(tools=[tool for tool in known if tool is not None]))

    assert servers(agent).certain == sorted(named)
    assert isinstance(found, ToolOffers)
    assert found.plan is not None
    assert not found.warnings
    assert len(found.plan.offered) == len(tools)
    asked = {one.tool for one in found.plan.offered if one.needs_approval}
    assert {one.tool for one in found.plan.offered if one.once} < asked
    assert asked == {
        "createReply",
        "createNote",
        "updateConversationStatus",
        "API-create-a-comment",
        "slack_post_message",
    }
