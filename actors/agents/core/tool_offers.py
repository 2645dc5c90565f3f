"""Which tools an execution offers its model: what its agent may use of what servers have. Pure.

A model knows a tool by a name that every provider takes: letters, digits, hyphens, underscores, a
letter first, 64 at most; where two servers have the same name, with its server's before it.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.agents import AgentDefinition, AgentLimits, AgentTool
from schemas.llm import AnswerWarning, ToolDefinition
from schemas.problems import Problem
from schemas.tools import OfferedTool, ServerTool, ToolLimits, ToolList, ToolPlan

MOST_OFFERED = 128
"""Tools of one execution: providers take no more."""

MOST_DESCRIPTION = 1024
"""Characters of a description; OpenAI takes no more."""

MOST_NAME = 64

_OTHER = re.compile(r"[^A-Za-z0-9_-]")


NO_TOOLS = ToolList(tools=[])


class ToolOffers(NamedTuple):
    """What the model is told of, and where its calls go; ``plan`` is None without a server's."""

    definitions: list[ToolDefinition]
    plan: ToolPlan | None = None
    warnings: list[AnswerWarning] = []


class _Granted(NamedTuple):
    tool: ServerTool
    by: AgentTool


class ServerNames(NamedTuple):
    """The servers of which the tools must be known; only the ``certain`` are no tool's name."""

    all: list[str]
    certain: list[str]


_NO_SERVERS = ServerNames([], [])


def servers(definition: AgentDefinition) -> ServerNames:
    """Return of which servers an agent may use tools."""
    if not definition.tools:
        return _NO_SERVERS
    named = (tool.server or tool.name for tool in definition.tools if _may_be_server(tool))
    certain = {tool.server for tool in definition.tools if tool.server is not None}
    return ServerNames(sorted({name for name in named if name is not None}), sorted(certain))


def offers(definition: AgentDefinition, listed: ToolList) -> ToolOffers | Problem:
    """Return what is offered; ``listed`` are the tools of the servers that were asked for.

    A server that was not heard is a warning. Refuses with ``unavailable`` where nothing is left of
    what the agent may use of servers.
    """
    if not definition.tools:
        return ToolOffers([])
    known = {tool.server for tool in listed.tools} | set(listed.unreachable)
    own = [tool for tool in definition.tools if tool.name is not None and tool.name not in known]
    own += [tool for tool in definition.tools if tool.name in known and not _may_be_server(tool)]
    granted = list(_granted(definition, listed, own))
    unknown = [name for name in servers(definition).certain if name not in known]
    missing = [name for name in servers(definition).all if name in listed.unreachable]
    if (missing or unknown) and not granted:
        return _nothing(missing, unknown)
    described = [tool.definition for tool in own if tool.definition is not None]
    if not granted:
        return ToolOffers(described)
    room = max(MOST_OFFERED - len(described), 0)
    taken = {tool.name for tool in described}
    offered, definitions = list[OfferedTool](), list[ToolDefinition]()
    for one in granted[:room]:
        name = _name(one.tool, taken)
        taken.add(name)
        offered.append(_offered(name, one))
        definitions.append(_definition(name, one.tool))
    plan = ToolPlan(
        offered=offered,
        callers=[tool.name for tool in described],
        limits=limits_of(definition.limits),
    )
    warnings = [_warning(f"the server {name} cannot be reached") for name in missing]
    warnings += [_warning(f"there is no server {name}, or it has no tools") for name in unknown]
    warnings += [_too_many(len(granted) - room)] if len(granted) > room else []
    return ToolOffers([*described, *definitions], plan, warnings)


def limits_of(limits: AgentLimits) -> ToolLimits:
    """Return the limits of an agent's executions; what it does not say is the usual."""
    usual = ToolLimits()
    return ToolLimits(
        rounds=limits.tool_rounds or usual.rounds,
        calls=limits.tool_calls or usual.calls,
        parallel=limits.parallel_tools or usual.parallel,
    )


def _may_be_server(tool: AgentTool) -> bool:
    """Say whether a tool is a server's, or given by a name alone, which may be a server's."""
    if tool.server is not None:
        return True
    return not tool.description and tool.parameters == {"type": "object"}


def _granted(
    definition: AgentDefinition, listed: ToolList, own: Sequence[AgentTool]
) -> Iterator[_Granted]:
    """Yield each tool that is granted, once, by the first entry that grants it."""
    seen: set[tuple[str, str]] = set()
    for entry in definition.tools:
        if entry in own:
            continue
        server = entry.server or entry.name
        for tool in listed.tools:
            if tool.server != server or not _grants(entry, tool.tool):
                continue
            if (tool.server, tool.tool) not in seen:
                seen.add((tool.server, tool.tool))
                yield _Granted(tool, entry)


def _grants(entry: AgentTool, name: str) -> bool:
    allowed = not entry.tools or matches(entry.tools, name)
    return allowed and not matches(entry.deny, name)


def matches(patterns: Sequence[str], name: str) -> bool:
    """Say whether a name fits one of some patterns, in which ``*`` stands for any text."""
    return any(_fits(pattern.split("*"), name) for pattern in patterns)


def _fits(pieces: Sequence[str], name: str) -> bool:
    """Find the pieces between the stars one after the other: no pattern takes long."""
    first, *others = pieces
    if not others:
        return name == first
    if not name.startswith(first) or len(name) < len(first) + len(others[-1]):
        return False
    place, end = len(first), len(name) - len(others[-1])
    for piece in others[:-1]:
        place = name.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return name.endswith(others[-1])


def _name(tool: ServerTool, taken: set[str]) -> str:
    """Return a name that is not taken; a long one ends with a number made of the whole."""
    plain = _valid(tool.tool)
    if plain not in taken:
        return plain
    whole = _valid(f"{tool.server}_{tool.tool}")
    number = 2
    name = whole
    while name in taken:
        name = f"{whole[: MOST_NAME - 4]}_{number}"
        number += 1
    return name


def _valid(name: str) -> str:
    plain = _OTHER.sub("_", name)
    plain = plain if plain[:1].isalpha() else f"t_{plain}"
    if len(plain) <= MOST_NAME:
        return plain
    return f"{plain[: MOST_NAME - 9]}_{zlib.crc32(name.encode()):08x}"


def _offered(name: str, granted: _Granted) -> OfferedTool:
    tool, entry = granted
    asked = entry.requires_approval
    return OfferedTool(
        name=name,
        server=tool.server,
        tool=tool.tool,
        once=not tool.hints.may_repeat,
        needs_approval=asked if isinstance(asked, bool) else matches(asked, tool.tool),
        seconds=entry.seconds,
    )


def _definition(name: str, tool: ServerTool) -> ToolDefinition:
    parameters = {"type": "object", **tool.parameters}
    return ToolDefinition(
        name=name, description=tool.description[:MOST_DESCRIPTION], parameters=parameters
    )


def _nothing(missing: list[str], unknown: list[str]) -> Problem:
    if missing:
        message = f"no tools can be had: {', '.join(missing)} cannot be reached"
        return Problem(code="unavailable", message=message, field="tools", retryable=True)
    message = f"no tools can be had: there is no server {', '.join(unknown)}, or it has none"
    return Problem(code="not_found", message=message, field="tools")


def _warning(message: str) -> AnswerWarning:
    return AnswerWarning(field="tools", message=message)


def _too_many(more: int) -> AnswerWarning:
    return _warning(f"{more} tools are left out: a model is offered {MOST_OFFERED}")
