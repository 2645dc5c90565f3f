"""Mappings: what an action is asked, filled from a token, and a token filled from its answer."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from actors.workflow.core.conditions import Condition
from actors.workflow.core.paths import MISSING, Readable, built, reader, target, walk
from schemas.nets import (
    Action,
    AgentTransitionConfig,
    Mapping,
    PlaceAgentConfig,
    ToolAction,
    TransformAction,
)
from schemas.problems import Problem

Request = Callable[[Readable], dict[str, Any] | Problem]
"""Returns what an action is asked for a token, or why it cannot be."""

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][\w-]*(?:\.[\w-]+){0,15})\s*\}\}", re.ASCII)


def mapped(mapping: Mapping) -> Callable[[Readable], dict[str, Any]]:
    """Compile an input mapping. What is missing in the token is null."""
    each = [(tuple(goes.split(".")), reader(source)) for goes, source in mapping.items()]
    return lambda token: built({goes: _or_null(read(token)) for goes, read in each})


def template(text: str) -> Callable[[Readable], str]:
    """Compile a text in which ``{{path}}`` stands for a value of the token, null if missing.

    A text stands there as it is, any other value as JSON.
    """
    parts = _PLACEHOLDER.split(text)
    readers = [reader(path) for path in parts[1::2]]
    if not readers:
        return lambda _: text

    def fill(token: Readable) -> str:
        filled = list(parts)
        filled[1::2] = [_shown(read(token)) for read in readers]
        return "".join(filled)

    return fill


def answered(mapping: Mapping, answer: dict[str, Any]) -> dict[str, Any]:
    """Return what an output mapping sets in a token, by path. What the answer lacks is null."""
    return {goes: _or_null(walk(answer, source.split("."))) for goes, source in mapping.items()}


def transformed(action: TransformAction) -> Callable[[Readable], dict[str, Any] | Problem]:
    """Compile what a transform sets, by path."""
    expressions = [(path, Condition(source)) for path, source in action.expressions.items()]

    def transform(token: Readable) -> dict[str, Any] | Problem:
        sets = {**action.values}
        for path, expression in expressions:
            value = expression.value(token)
            if isinstance(value, Problem):
                return value
            sets[path] = value
        return sets

    return transform


def request(action: Action | PlaceAgentConfig) -> Request:
    """Compile what an action is asked: its mapped input, an agent's with the task beside it.

    Without an ``input_mapping`` it is the data of the token where an action has a use for all of
    it: agents that have no task, workflows, and what is published.
    """
    if isinstance(action, AgentTransitionConfig | PlaceAgentConfig):
        return _agent(action)
    if isinstance(action, ToolAction):
        constants = {tuple(path.split(".")): value for path, value in action.arguments.items()}
        return _over(constants, action.input_mapping)
    whole = action.__struct_config__.tag in {"publish", "emit", "workflow"}
    if whole and not action.input_mapping:
        return _data
    return mapped(action.input_mapping)


def _data(token: Readable) -> dict[str, Any]:
    return token.data


def _agent(action: AgentTransitionConfig | PlaceAgentConfig) -> Request:
    has_context = bool(action.input_mapping or action.task)
    context = mapped(action.input_mapping) if has_context else _data
    task = _task(action)

    def ask(token: Readable) -> dict[str, Any] | Problem:
        given = context(token)
        text = task(token) if task is not None else _task_of(given)
        return text if isinstance(text, Problem) else {"task": text, "context": given}

    return ask


def _task(
    action: AgentTransitionConfig | PlaceAgentConfig,
) -> Callable[[Readable], str | Problem] | None:
    if not action.task:
        return None
    if action.task_is == "text":
        return template(action.task)
    expression = Condition(action.task)

    def evaluate(token: Readable) -> str | Problem:
        value = expression.value(token)
        return value if isinstance(value, Problem) else _shown(value)

    return evaluate


def _task_of(given: dict[str, Any]) -> str:
    named = walk(given, ("context", "task"))
    if not isinstance(named, str):
        named = given.get("task")
    return named if isinstance(named, str) else _shown(given)


def _over(constants: dict[tuple[str, ...], Any], mapping: Mapping) -> Request:
    each = [(tuple(goes.split(".")), reader(source)) for goes, source in mapping.items()]
    return lambda token: built(
        {**constants, **{goes: _or_null(read(token)) for goes, read in each}}
    )


def _or_null(value: Any) -> Any:
    return None if value is MISSING else value


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(_or_null(value)).decode()


def unwritable(action: Action | PlaceAgentConfig) -> list[str]:
    """Return the paths that an action would write to and that cannot be."""
    paths = [*action.output_mapping]
    if isinstance(action, TransformAction):
        paths += [*action.values, *action.expressions, *action.remove]
    return [path for path in paths if target(path) is None]
