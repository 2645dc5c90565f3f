"""The public requests that actions make, and what their answers are to the net. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, cast

import msgspec

from actors.workflow.core.messages import RunOrigin
from schemas import bounds
from schemas.callbacks import Ended, EndOutcome
from schemas.lifecycle import EXECUTION_ENTITY
from schemas.nets import (
    AgentTransitionConfig,
    PlaceAgentConfig,
    ToolAction,
    WorkflowAction,
)
from schemas.problems import Problem, ProblemCode
from schemas.work import ReplyTo

Beginning = AgentTransitionConfig | PlaceAgentConfig | ToolAction | WorkflowAction
"""The actions that begin an execution or an instance."""

_LONGEST_ID = 64

_CODES: Mapping[str, ProblemCode] = {"TIMED_OUT": "timeout", "CANCELLED": "cancelled"}


def child_of(origin: RunOrigin, entity: str, firing: str, attempt: int) -> ReplyTo:
    """Return what an attempt begins, under an id that nothing else derives.

    The firing and the attempt stand at its end.
    """
    whose, end = origin.instance_id, f"-{firing}-{attempt}"
    if len(whose) + len(end) > _LONGEST_ID:
        whose = f"{whose[:16]}-{sha256(whose.encode()).hexdigest()[:20]}"
    return ReplyTo(entity=entity, tenant=origin.tenant, key=whose + end)


def firing_of(of: ReplyTo) -> str:
    """Return the firing whose attempt has begun this."""
    return of.key.rsplit("-", 2)[-2] if of.key.count("-") > 1 else ""


def entity_of(action: Beginning, own: str) -> str:
    """Return the entity that an action begins."""
    return own if isinstance(action, WorkflowAction) else EXECUTION_ENTITY


def request_of(action: Beginning, asked: Mapping[str, Any], origin: RunOrigin) -> tuple[str, bytes]:
    """Return the name of the request that an action makes, and its body without an id."""
    match action:
        case AgentTransitionConfig() | PlaceAgentConfig():
            return "agents.execute", msgspec.json.encode(_execute(action, asked, origin))
        case ToolAction():
            body = {"server": action.server, "tool": action.tool, "arguments": asked}
            return "tools.call", msgspec.json.encode({**body, **_whose(origin)})
        case WorkflowAction():
            child: dict[str, Any] = {"workflow_id": action.workflow_id, "data": asked}
            if action.version is not None:
                child["version"] = action.version
            return "workflows.start", msgspec.json.encode({**child, **_whose(origin)})


def _execute(
    action: AgentTransitionConfig | PlaceAgentConfig, asked: Mapping[str, Any], origin: RunOrigin
) -> dict[str, Any]:
    config: dict[str, Any] = dict(action.llm_config)
    if action.answer_schema is not None:
        config["response_format"] = {"type": "json_schema", "schema": action.answer_schema}
    request: dict[str, Any] = {"agent_id": action.agent_id, **asked, **_whose(origin)}
    if isinstance(action, AgentTransitionConfig) and action.max_tokens is not None:
        request["max_tokens"] = action.max_tokens
    return request | ({"config": config} if config else {})


def _whose(origin: RunOrigin) -> dict[str, Any]:
    return {"user": origin.user} if origin.user is not None else {}


# What comes back


def answer_of(action: Beginning, end: Ended) -> dict[str, Any]:
    """Return the answer of what an action has begun, as its output mapping sees it."""
    outcome = end.outcome or EndOutcome()
    if isinstance(action, WorkflowAction):
        return _as_object(value_of(outcome), "data")
    answer: dict[str, Any] = {
        "text": outcome.text,
        "output": value_of(outcome),
        "execution_id": end.of.key,
        "timestamp": end.at.isoformat(),
        "tokens_used": end.usage.total if end.usage is not None else None,
        "cost": end.cost,
    }
    if not isinstance(action, ToolAction):
        answer["agent_id"] = action.agent_id
    return answer


def http_answer(outcome: EndOutcome) -> dict[str, Any]:
    """Return the answer of an HTTP request: its ``status`` and ``body``."""
    return _as_object(value_of(outcome), "body")


def value_of(outcome: EndOutcome) -> Any:
    """Return the JSON value of an outcome, or that which its text is; None if it is none."""
    raw = bytes(outcome.value) or outcome.text.encode()
    try:
        return bounds.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _as_object(value: Any, name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {name: value}


def problem_of_end(end: Ended) -> Problem:
    """Return why what was begun brought no answer."""
    code = _CODES.get(end.status, "internal")
    return end.problem or Problem(code=code, message=f"it ended {end.status}")
