"""What has come out of an execution, as who waits for its end is told. Pure."""

import msgspec

from schemas import tool_turns
from schemas.callbacks import MOST_TOLD_BYTES, EndOutcome
from schemas.llm import Answer
from schemas.tools import ToolResult


def outcome_of(answer: Answer | None, result: ToolResult | None, model: str) -> EndOutcome | None:
    """Return what an execution has brought that has completed; None of vectors.

    ``result`` is that of an execution which was one call of a tool, ``model`` who was asked.
    """
    if result is not None:
        return _of_tool(result)
    if answer is None or answer.vectors is not None:
        return None
    told = _told(answer.text, is_json=answer.is_json)
    return msgspec.structs.replace(told, model=answer.model_served or model)


def _of_tool(result: ToolResult) -> EndOutcome:
    if result.structured is not None:
        told = _told(msgspec.json.encode(result.structured).decode(), is_json=True)
    else:
        told = _told(tool_turns.text_of(result), is_json=False)
    cut = told.truncated or result.truncated or result.reference is not None
    size = result.bytes or told.bytes
    return msgspec.structs.replace(told, truncated=cut, bytes=size, is_error=result.is_error)


def _told(text: str, *, is_json: bool) -> EndOutcome:
    """Return a text, or the value that it is, if that is not too large: half a value is none."""
    data = text.encode(errors="replace")
    if is_json and len(data) <= MOST_TOLD_BYTES:
        return EndOutcome(value=msgspec.Raw(data))
    fits = len(data) * _MOST_ESCAPED <= MOST_TOLD_BYTES
    beginning = text if fits else tool_turns.cut(text, MOST_TOLD_BYTES)
    cut = len(beginning) < len(text)
    return EndOutcome(text=beginning, truncated=cut, bytes=len(data) if cut else 0)


_MOST_ESCAPED = 6
"""Bytes that one character takes in JSON, at most."""
