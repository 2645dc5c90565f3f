"""Whether arguments and results are what a tool's schemas describe. Pure, and bounded in work."""

from typing import Any

from actors.mcp_pool.core.retries import Failure
from schemas.json_schema import Schema, UnverifiableError, fault_of
from schemas.steps import Steps
from schemas.tools import ServerTool, ToolResult


def arguments_fault(tool: ServerTool, arguments: Any) -> Steps[Failure | None]:
    """Return why a tool must not be called with these arguments, None if it may.

    What cannot be verified within bounds is left to the server.
    """
    fault = yield from _fault(tool.parameters, arguments)
    if fault is None:
        return None
    return Failure("rejected", f"the arguments break the tool's schema: {fault}", sent=False)


def result_fault(tool: ServerTool, result: ToolResult) -> Steps[Failure | None]:
    """Return how a structured result breaks what its tool promises, None if it does not."""
    if tool.output is None or result.is_error or result.truncated:
        return None
    if result.structured is None:
        fault = "there is no structured content"
    else:
        fault = yield from _fault(tool.output, result.structured)
    if fault is None:
        return None
    return Failure("protocol_error", f"the result breaks the tool's schema: {fault}", sent=True)


def _fault(schema: Schema, value: Any) -> Steps[str | None]:
    try:
        return (yield from fault_of(schema, value))
    except UnverifiableError:
        return None
