"""Whether arguments and results are what a tool's schemas describe. Pure, and bounded in work."""

from typing import Any

from actors.mcp_pool.core.retries import CallFailure
from schemas.json_schema import Schema, UnverifiableError, faults
from schemas.steps import Steps
from schemas.tools import ServerTool, ToolResult

MOST_FAULTS = 5
"""So many are told at once: a model mends them all in its next call."""

MOST_TEXT = 2000


def arguments_fault(tool: ServerTool, arguments: Any) -> Steps[CallFailure | None]:
    """Return why a tool must not be called with these arguments, None if it may.

    What cannot be verified within bounds is left to the server.
    """
    fault = yield from _fault(tool.parameters, arguments)
    if fault is None:
        return None
    return CallFailure("rejected", f"the arguments break the tool's schema: {fault}", sent=False)


def result_fault(tool: ServerTool, result: ToolResult) -> Steps[CallFailure | None]:
    """Return how a structured result breaks what its tool promises, None if it does not."""
    if tool.output is None or result.is_error or result.truncated:
        return None
    if result.structured is None:
        fault = "there is no structured content"
    else:
        fault = yield from _fault(tool.output, result.structured)
    if fault is None:
        return None
    return CallFailure("protocol_error", f"the result breaks the tool's schema: {fault}", sent=True)


def _fault(schema: Schema, value: Any) -> Steps[str | None]:
    try:
        found = yield from faults(schema, value, most=MOST_FAULTS)
    except UnverifiableError:
        return None
    return "; ".join(map(str, found))[:MOST_TEXT] or None
