"""An agent as a tool: its schemas, the execution that a call means, the result of its end. Pure.

Protocol: https://modelcontextprotocol.io/specification/2026-07-28/server/tools and 2025-11-25.
"""

from typing import Any

import mcp_types as types
import msgspec

from actors.agents.core import template
from actors.agents.core.prompt import WORKFLOW_VARIABLES
from bus.codec import accept
from bus.errors import ProblemError
from schemas.agents import AgentDefinition
from schemas.executions import MAX_TASK_CHARACTERS
from schemas.json_schema import fault
from schemas.llm import JsonSchemaFormat
from schemas.problems import Problem
from schemas.steps import at_once
from schemas.streams import Cancelled, Completed, Failed, Terminal

EXECUTION = "callboard/execution_id"
"""Where a result's ``_meta`` names the execution, so that its record can be read."""

PROBLEM = "callboard/problem"
"""Where the ``_meta`` of a failure says for a program what went wrong."""

TASK = "task"

MAX_VARIABLE_CHARACTERS = 200_000

_FILLED = frozenset((*WORKFLOW_VARIABLES, "history_count", "input_data"))
"""Variables of a template that an execution fills by itself."""


def tool(agent: AgentDefinition) -> types.Tool:
    """Describe an agent as a tool.

    An agent whose own tools may change something is not known to be harmless.
    """
    return types.Tool(
        name=agent.id,
        title=agent.name,
        description=agent.description or f"Runs the agent {agent.name}.",
        input_schema=input_schema(agent),
        output_schema=output_schema(agent),
        annotations=types.ToolAnnotations(
            read_only_hint=False,
            destructive_hint=bool(agent.tools),
            idempotent_hint=False,
            open_world_hint=True,
        ),
    )


def input_schema(agent: AgentDefinition) -> dict[str, Any]:
    """Return the schema of a call: the task, and each variable of the agent's user template."""
    properties: dict[str, Any] = {
        TASK: {
            "type": "string",
            "description": "What the agent is to do.",
            "minLength": 1,
            "maxLength": MAX_TASK_CHARACTERS,
        }
    }
    for name in sorted(variables(agent) - {TASK}):
        properties[name] = {
            "type": "string",
            "description": f"Stands for {{{name}}} in the agent's prompt.",
            "maxLength": MAX_VARIABLE_CHARACTERS,
        }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def output_schema(agent: AgentDefinition) -> dict[str, Any] | None:
    """Return the schema of an answer that is promised to be a JSON object, None of any other.

    Revisions up to 2025-11-25 know objects alone. An agent that only warns of a wrong answer
    promises nothing.
    """
    match agent.config.response_format:
        case JsonSchemaFormat(schema=schema) if (
            schema.get("type") == "object" and agent.policy.structured_output != "warn"
        ):
            return schema
        case _:
            return None


def variables(agent: AgentDefinition) -> frozenset[str]:
    """Return the variables of an agent's user template that a call has to give."""
    return template.names(agent.prompts.user_template) - _FILLED


def execution(
    agent: AgentDefinition, arguments: dict[str, Any], execution_id: str
) -> dict[str, Any] | Problem:
    """Return the fields of the execution that a call means, or why it means none.

    A variable that is called as the task is has the task's text.
    """
    wrong = at_once(fault(input_schema(agent), arguments, foreign=True))
    if wrong is not None:
        return Problem(code="validation", message=wrong.message, field=wrong.path or None)
    return {
        "agent_id": agent.id,
        "id": execution_id,
        "task": arguments[TASK],
        "context": {name: arguments[name] for name in variables(agent)},
    }


def result(end: Terminal, agent: AgentDefinition) -> types.CallToolResult:
    """Return what a call has brought: the answer, or why there is none."""
    match end:
        case Completed():
            return _answer(end, agent)
        case _:
            return unanswered(end)


def unanswered(end: Failed | Cancelled) -> types.CallToolResult:
    """Return why a call has brought nothing."""
    match end:
        case Failed(error=error):
            return failure(error, end.execution_id)
        case Cancelled(reason=reason):
            return failure(Problem(code="cancelled", message=reason), end.execution_id)


def failure(problem: Problem, execution_id: str | None = None) -> types.CallToolResult:
    """Return a problem as the result of a call, so that the model that called is told of it."""
    where = f" ({problem.field})" if problem.field else ""
    return types.CallToolResult(
        content=[types.TextContent(text=f"{problem.code}: {problem.message}{where}")],
        is_error=True,
        _meta={**_named(execution_id), PROBLEM: msgspec.to_builtins(problem)},
    )


def _answer(end: Completed, agent: AgentDefinition) -> types.CallToolResult:
    structured = None
    if output_schema(agent) is not None:
        try:
            structured = accept(dict[str, Any], end.final_response.encode())
        except ProblemError:
            told = "the answer is not the JSON object that was asked for"
            return failure(Problem(code="provider_error", message=told), end.execution_id)
    return types.CallToolResult(
        content=[types.TextContent(text=end.final_response)],
        structured_content=structured,
        _meta=_named(end.execution_id),
    )


def _named(execution_id: str | None) -> dict[str, Any]:
    return {EXECUTION: execution_id} if execution_id else {}
