"""What a definition must hold beyond its types. Each check returns the first problem it finds."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from actors.agents.core.policy_checks import check_policy
from actors.agents.core.traversal import (
    MAX_DEPTH,
    MAX_VALUES,
    PathPlace,
    TooDeepError,
    TooManyError,
    texts,
)
from schemas import credentials
from schemas.addresses import header_fault, url_fault
from schemas.agents import AgentDefinition
from schemas.ids import TOKEN_PATTERN
from schemas.llm import JsonSchemaFormat, ModelConfig
from schemas.problems import Problem
from schemas.provider_specs import spec_of
from schemas.providers import Scripted, path_fault
from schemas.refusals import refusals
from schemas.schema_faults import schema_fault
from schemas.steps import Steps, at_once

MAX_DEFINITION_BYTES = 512 * 1024
"""A definition as JSON: half of what a message carries by default, because others hold it."""

MAX_SCHEMA_CHECKS = 10_000
"""Units of work (``schemas.json_schema``) to see that a schema is one: some thousand properties."""

MAX_HEADERS = 32

CREDENTIAL = "looks like a credential: keep it in the environment and name it in provider.secret"

_ID = re.compile(TOKEN_PATTERN.removesuffix("$") + r"\Z")


def check(definition: AgentDefinition) -> Problem | None:
    """Return what ``checking`` returns, without a pause."""
    return at_once(checking(definition))


def checking(definition: AgentDefinition) -> Steps[Problem | None]:
    """Return the first reason why a definition cannot be stored, None if it can.

    All are ``validation``, with the dotted path of the field. A value is never repeated in the
    message, because it may be a secret.
    """
    for one in _CHECKS:
        found = one(definition)
        if found is not None:
            return found
        yield
    for path, schema in _schemas(definition):
        fault = yield from schema_fault(schema, own=False, checks=MAX_SCHEMA_CHECKS)
        if fault is not None:
            return _problem(f"{path}.{fault.path}".rstrip("."), fault.message)
    return None


def _schemas(definition: AgentDefinition) -> Iterator[tuple[str, Any]]:
    """Yield each JSON Schema with its path: of the tools' arguments, and of what is answered."""
    for place, tool in enumerate(definition.tools):
        yield f"tools.{place}.parameters", tool.parameters
    configs: list[tuple[str, ModelConfig | None]] = [("config", definition.config)]
    fallbacks = enumerate(definition.policy.fallbacks)
    configs += [(f"policy.fallbacks.{place}.config", each.config) for place, each in fallbacks]
    for path, config in configs:
        if config is not None and isinstance(config.response_format, JsonSchemaFormat):
            yield f"{path}.response_format.schema", config.response_format.schema


def _id(definition: AgentDefinition) -> Problem | None:
    if _ID.match(definition.id) is None:
        return _problem("id", "must be 1 to 64 letters, digits, hyphens or underscores")
    return None


def _contents(definition: AgentDefinition) -> Problem | None:
    try:
        for place, text in texts(definition):
            if text and _is_credential(place, text):
                return _problem(place.path, CREDENTIAL)
    except TooDeepError as error:
        return _problem(str(error), f"is nested deeper than {MAX_DEPTH} levels")
    except TooManyError as error:
        return _problem(str(error), f"the definition holds more than {MAX_VALUES:,} values")
    return None


def _is_credential(place: PathPlace, text: str) -> bool:
    if credentials.is_key_shaped(text):
        return True
    *names, root = place.names()
    return root == "metadata" and any(map(credentials.is_sensitive_name, names))


def _size(definition: AgentDefinition) -> Problem | None:
    try:
        size = len(msgspec.json.encode(definition))
    except RecursionError:
        # The walk tells where.
        return None
    if size > MAX_DEFINITION_BYTES:
        return _problem(None, f"the definition is larger than {MAX_DEFINITION_BYTES:,} bytes")
    return None


def _base_url(definition: AgentDefinition) -> Problem | None:
    provider = definition.provider
    url = provider.base_url if not isinstance(provider, Scripted) else None
    reason = url_fault(url) if url is not None else None
    return _problem("provider.base_url", reason) if reason else None


def _headers(definition: AgentDefinition) -> Problem | None:
    provider = definition.provider
    if isinstance(provider, Scripted):
        return None
    if len(provider.headers) > MAX_HEADERS:
        return _problem("provider.headers", f"must be at most {MAX_HEADERS} headers")
    faults = (
        (name, reason)
        for name, value in provider.headers.items()
        if (reason := header_fault(name, value, CREDENTIAL)) is not None
    )
    return next((_problem(f"provider.headers.{n[:64]}", reason) for n, reason in faults), None)


def _settings(definition: AgentDefinition) -> Problem | None:
    if definition.config.unsupported == "drop":
        return None
    tools = bool(definition.tools)
    refused = refusals(definition.provider, definition.config, beside_tools=tools)
    if not refused:
        return None
    first = refused[0]
    return _problem(f"config.{first.setting}", f"{definition.provider.model} {first.reason}")


def _place(definition: AgentDefinition) -> Problem | None:
    left = path_fault(definition.provider)
    if left is not None:
        return _problem(f"provider.{left}", f"is no name of a {left}")
    check = spec_of(definition.provider).check
    found = check(definition.provider, tools=bool(definition.tools))
    return _problem(*found) if found is not None else None


def _policy(definition: AgentDefinition) -> Problem | None:
    return check_policy(definition, (_base_url, _headers, _place, _settings))


def _stop_sequences(definition: AgentDefinition) -> Problem | None:
    if "" in definition.config.stop_sequences:
        place = definition.config.stop_sequences.index("")
        return _problem(f"config.stop_sequences.{place}", "must not be empty")
    return None


def _tools(definition: AgentDefinition) -> Problem | None:
    names: set[str] = set()
    for place, tool in enumerate(definition.tools):
        if (tool.name is None) == (tool.server is None):
            return _problem(f"tools.{place}", "give either a name or a server")
        if tool.name is None:
            continue
        if tool.name in names:
            return _problem(f"tools.{place}.name", "is the name of an earlier tool")
        if tool.parameters.get("type") != "object":
            return _problem(f"tools.{place}.parameters.type", "must be object")
        names.add(tool.name)
    return None


def _problem(field: str | None, message: str) -> Problem:
    return Problem(code="validation", message=message, field=field)


_CHECKS: tuple[Callable[[AgentDefinition], Problem | None], ...] = (
    _id,
    _size,
    _contents,
    _base_url,
    _headers,
    _place,
    _settings,
    _stop_sequences,
    _tools,
    _policy,
)
"""In this order: the size and the walk, which bounds depth and count, before what relies on them.
The walk searches all texts for credentials, which takes time by their length."""
