"""The demo's look-up: a tool of an MCP server, called with arguments that a model has written."""

import sys
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
from demo_fleet import ROOT, DemoError
from demo_witness import TENANT

from bus.client import Client
from bus.ids import new_id
from schemas.executions import (
    AwaitedExecution,
    AwaitExecution,
    CallTool,
    ExecutionHandle,
    ExecutionRecord,
    Generate,
)
from schemas.json_schema import fault
from schemas.llm import ChatMessage, JsonSchemaFormat, ModelConfig
from schemas.providers import Provider, Scripted
from schemas.steps import at_once
from schemas.tool_servers import CheckServer, ServerState
from schemas.tools import ListTools, ServerTool, ToolList

SERVER = "lookup"
PROGRAM = Path("deploy", "examples", "lookup", "server.py")
DOCUMENT = "DECISIONS.md"

WISH = "Find the section about a lost worker and its work item."
"""It describes what is about to happen to the agent that gets the section."""

SCRIPT = '{"words": "lost worker"}'
MAX_TOKENS = 60
"""Enough for the longest words that the tool takes."""

PATIENCE_SECONDS = 10.0


class Section(msgspec.Struct):
    """What the tool finds."""

    title: str
    text: str


class LookUp(NamedTuple):
    """A look-up: the tool as its server lists it, what the model wrote, and what was found.

    ``server`` is how the pool sees the server afterwards.
    """

    tool: ServerTool
    arguments: str
    call: ExecutionRecord
    section: Section
    server: ServerState


def servers_file(folder: Path) -> Path:
    """Write the operator's file of MCP servers: one, which the pool starts as its process."""
    file = folder / "servers.json"
    command = [sys.executable, str(ROOT / PROGRAM), str(ROOT / DOCUMENT)]
    file.write_bytes(msgspec.json.encode({SERVER: {"command": command}}))
    return file


def scripted() -> Provider:
    """Return a provider that plays the arguments without a model."""
    return Scripted(responses=[SCRIPT], delay_ms=0)


async def look_up(client: Client, provider: Provider) -> LookUp:
    """Have a model write the arguments of the tool by the tool's JSON Schema; call it with them.

    Raises:
        DemoError: the tool is not there, the model wrote nothing, or nothing was found.
    """
    tool = await _listed(client)
    asked = await _begun_and_ended(client, _question(tool, provider))
    if asked.output is None:
        raise DemoError(f"the model wrote no arguments: {asked.error}")
    arguments = msgspec.json.decode(asked.output)
    wanted = CallTool(server=SERVER, tool=tool.tool, arguments=arguments, id=new_id())
    call = await _begun_and_ended(client, wanted)
    if call.result is None or call.result.is_error:
        raise DemoError(f"{SERVER}/{tool.tool} found nothing: {call.error or call.output}")
    section = msgspec.convert(call.result.structured, Section)
    state = await client.request(TENANT, CheckServer(server=SERVER))
    return LookUp(tool, msgspec.json.encode(arguments).decode(), call, section, state)


def observed(found: LookUp) -> list[tuple[str, bool]]:
    """Judge: each statement, and whether it holds."""
    document = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    wrong = at_once(fault(found.tool.parameters, msgspec.json.decode(found.arguments)))
    called = [(each.server, each.tool, each.outcome) for each in found.call.tools]
    return [
        (
            "the arguments of the look-up fit the JSON Schema that the tool's server lists",
            not wrong,
        ),
        (
            "the server is one process of the pool, spoken to over stdio",
            _is_one_process(found.server),
        ),
        (
            f"the record of the call names the tool, and its result stands in {DOCUMENT}",
            called == [(SERVER, found.tool.tool, "ok")]
            and f" {found.section.title}\n\n{found.section.text}\n" in document,
        ),
    ]


def _is_one_process(server: ServerState) -> bool:
    return server.lane == "stdio" and server.ledger.open["processes"] == 1


async def _listed(client: Client) -> ServerTool:
    """Return the tool as its server lists it."""
    wanted = ListTools(patterns=[SERVER])
    tools = cast("ToolList", await client.insist(TENANT, wanted, patience=PATIENCE_SECONDS)).tools
    if len(tools) != 1:
        raise DemoError(f"the MCP server {SERVER} lists {len(tools)} tools")
    return tools[0]


def _question(tool: ServerTool, provider: Provider) -> Generate:
    instructions = f"You call the tool {tool.tool}: {tool.description}"
    return Generate(
        provider=provider,
        messages=[
            ChatMessage(role="system", content=instructions),
            ChatMessage(role="user", content=WISH),
        ],
        config=ModelConfig(temperature=0.0, max_tokens=MAX_TOKENS),
        response_format=JsonSchemaFormat(schema=tool.parameters, name="arguments"),
        id=new_id(),
    )


async def _begun_and_ended(client: Client, wanted: Generate | CallTool) -> ExecutionRecord:
    begun = await client.insist(TENANT, wanted, patience=PATIENCE_SECONDS)
    question = AwaitExecution(execution_id=cast("ExecutionHandle", begun).execution_id)
    answer = await client.insist(TENANT, question, patience=PATIENCE_SECONDS)
    state = cast("AwaitedExecution", answer)
    if not state.ended:
        raise DemoError(f"{wanted.SUBJECT} has not ended after {question.timeout_seconds:g} s")
    return state.execution
