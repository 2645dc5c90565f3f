"""Agents that run other agents: what is offered a model for it, its calls, what they bring. Pure.

A call of the tool ``agents.execute`` is an execution of its own, begun by an item of the queue
``begin``. The call waits for its end, see ``schemas.callbacks``: what the agent has answered is the
result.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from actors.agents.core.patterns import matches
from schemas import bounds
from schemas.agents import AgentDefinition, AgentSummary, AgentTool
from schemas.base import StrictValue
from schemas.beginnings import MOST_DEPTH
from schemas.callbacks import Ended
from schemas.executions import MAX_TASK_CHARACTERS, ExecuteAgent
from schemas.identity import Principal
from schemas.ids import AgentId
from schemas.lifecycle import EXECUTION_ENTITY, Origin
from schemas.tools import (
    AGENTS_SERVER,
    EXECUTE_TOOL,
    OfferedTool,
    ServerTool,
    ToolHints,
    ToolResult,
    ToolText,
)
from schemas.work import ReplyTo

MOST_AGENTS = 64
"""Agents that one agent is offered to run."""

MOST_SAID = 200
"""Characters of an agent's description that a model is told."""

SECONDS = 3600.0
"""A call may take as long as its execution, within this: the agent has a time of its own."""

_ACTIONS = frozenset(("executions:write", "agents:read", "tools:read"))
"""What of a principal's actions an agent needs that is run in its name."""

TOO_DEEP = f"tool_limit: agents run each other {MOST_DEPTH} deep, no deeper. Do it yourself."


class Delegated(StrictValue):
    """The arguments of a call."""

    agent_id: AgentId
    task: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TASK_CHARACTERS)]
    context: dict[str, Any] = {}


# What is offered


def is_delegation(entry: AgentTool) -> bool:
    """Say whether an agent's tool is that of running others: by its server, or that name alone."""
    if entry.server is not None:
        return entry.server == AGENTS_SERVER
    return entry.name == AGENTS_SERVER and not entry.description and entry.parameters == _ANY


_ANY = {"type": "object"}


def delegates(definition: AgentDefinition) -> bool:
    """Say whether an agent may run others."""
    return any(map(is_delegation, definition.tools))


def allowed(definition: AgentDefinition, known: Sequence[AgentSummary]) -> list[AgentSummary]:
    """Return the agents that one may run, by id: patterns are those of agents here."""
    entries = [entry for entry in definition.tools if is_delegation(entry)]
    usable = [row for row in known if row.status != "OFFLINE"]
    found = [row for row in usable if any(_grants(entry, row.id) for entry in entries)]
    return sorted(found, key=lambda row: row.id)[:MOST_AGENTS]


def needs_approval(definition: AgentDefinition, agents: Sequence[str]) -> bool:
    """Say whether a person is asked before: where that is so of any agent that may be run."""
    asked = [entry.requires_approval for entry in definition.tools if is_delegation(entry)]
    return any(
        each if isinstance(each, bool) else any(matches(each, agent) for agent in agents)
        for each in asked
    )


def seconds(definition: AgentDefinition) -> float:
    """Return how long a call may take: what its entry says, where that is not the usual."""
    said = [entry.seconds for entry in definition.tools if is_delegation(entry)]
    return max((each for each in said if each is not None), default=SECONDS)


def tool(agents: Sequence[AgentSummary]) -> ServerTool:
    """Return the tool that runs one of these agents."""
    parameters = {
        "type": "object",
        "required": ["agent_id", "task"],
        "additionalProperties": False,
        "properties": {
            "agent_id": {"enum": [row.id for row in agents]},
            "task": {"type": "string", "minLength": 1},
            "context": {"type": "object", "description": "values for the agent's template"},
        },
    }
    lines = (f"{row.id}: {row.description[:MOST_SAID]}" for row in agents)
    return ServerTool(
        server=AGENTS_SERVER,
        tool=EXECUTE_TOOL,
        description="\n".join(("Run another agent on a task, and get its answer. Agents:", *lines)),
        parameters=parameters,
        hints=ToolHints(idempotent=True),
    )


def in_name_of(principal: Principal) -> Principal:
    """Return who runs other agents on behalf of a principal: it may do no more than that takes."""
    return msgspec.structs.replace(principal, actions=principal.actions & _ACTIONS)


# A call


def arguments_of(text: str, offered: OfferedTool) -> Delegated | str:
    """Return the arguments of a call, or what is wrong with them, as the model is told."""
    try:
        found = msgspec.convert(bounds.decode(text.strip() or "{}"), Delegated)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return f"rejected: {error}"
    if found.agent_id not in offered.agents:
        return f"rejected: agent_id must be one of {', '.join(offered.agents)}"
    return found


def request_of(wanted: Delegated, origin: Origin) -> ExecuteAgent:
    """Return the request that a call makes: whom the parent is for, the child is for."""
    return ExecuteAgent(
        agent_id=wanted.agent_id,
        task=wanted.task,
        context=wanted.context,
        user=origin.user,
        project=origin.project,
    )


def child_of(origin: Origin, child: str) -> ReplyTo:
    """Return the address of an execution that another one runs."""
    return ReplyTo(entity=EXECUTION_ENTITY, tenant=origin.tenant, key=child)


def result_of(end: Ended) -> ToolResult:
    """Return what a call brings whose execution has ended."""
    if end.status != "COMPLETED" or end.outcome is None:
        return ToolResult(content=[ToolText(text=_why(end))], is_error=end.status != "COMPLETED")
    outcome, text = end.outcome, end.outcome.text
    if bytes(outcome.value):
        try:
            return ToolResult(structured=bounds.decode(bytes(outcome.value)))
        except msgspec.DecodeError:
            text = bytes(outcome.value).decode()
    return ToolResult(
        content=[ToolText(text=text)],
        truncated=outcome.truncated,
        bytes=outcome.bytes,
        is_error=outcome.is_error,
    )


def _why(end: Ended) -> str:
    if end.problem is None:
        return f"The execution is {end.status}, and has no text."
    return f"{end.status}: {end.problem.code}: {end.problem.message}"


def _grants(entry: AgentTool, agent: str) -> bool:
    granted = not entry.tools or matches(entry.tools, agent)
    return granted and not matches(entry.deny, agent)
