"""What the events of a recorded Bedrock invocation say, read in the plainest way.

The SDK hands them over without looking inside, so this is the oracle. The counts are Bedrock's own.
"""

from typing import Any

import msgspec

_METRICS = "amazon-bedrock-invocationMetrics"


def told(expected: Any) -> Any:
    """Return what an SDK would have read of the events."""
    events = expected["payloads"]
    calls: dict[int, dict[str, Any]] = {}
    found: dict[str, Any] = {"reasoning": "", "usage": None, "model": expected["model"]}
    text = ""
    for event in events:
        text += _text(event)
        _call(event, calls)
        found["finish_reason"] = _reason(event) or found.get("finish_reason")
        found["usage"] = _usage(event) or found["usage"]
        found["model"] = event.get("message", {}).get("model") or found["model"]
    return {**found, "text": text, "tool_calls": list(calls.values())}


def _text(event: Any) -> str:
    nova = event.get("contentBlockDelta", {}).get("delta", {}).get("text")
    return event.get("outputText") or nova or event.get("delta", {}).get("text") or ""


def _call(event: Any, calls: dict[int, dict[str, Any]]) -> None:
    block, grown = event.get("content_block", {}), event.get("delta", {})
    nova, begun = event.get("contentBlockDelta", {}), event.get("contentBlockStart", {})
    if block.get("type") == "tool_use":
        calls[event["index"]] = {"id": block["id"], "name": block["name"], "arguments": ""}
    if grown.get("type") == "input_json_delta":
        calls[event["index"]]["arguments"] += grown["partial_json"]
    if tool := begun.get("start", {}).get("toolUse"):
        call = {"id": tool["toolUseId"], "name": tool["name"], "arguments": ""}
        calls[begun["contentBlockIndex"]] = call
    if tool := nova.get("delta", {}).get("toolUse"):
        given = tool["input"]
        piece = given if isinstance(given, str) else msgspec.json.encode(given).decode()
        calls[nova["contentBlockIndex"]]["arguments"] += piece


def _reason(event: Any) -> str | None:
    stopped = event.get("messageStop", {}).get("stopReason")
    guarded = "totalOutputTextTokenCount" in event and event.get("amazon-bedrock-guardrailAction")
    word = event.get("completionReason") or event.get("delta", {}).get("stop_reason")
    return word or stopped or guarded or None


def _usage(event: Any) -> dict[str, Any] | None:
    if _METRICS in event:
        metrics = event[_METRICS]
        return {"input": metrics["inputTokenCount"], "output": metrics["outputTokenCount"]}
    if "totalOutputTextTokenCount" in event:
        output = event["totalOutputTextTokenCount"]
        return {"input": event.get("inputTextTokenCount"), "output": output}
    return None
