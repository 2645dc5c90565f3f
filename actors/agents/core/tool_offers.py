"""Which tools an execution offers its model: what its agent may use of what servers have. Pure.

A model knows a tool by a name that every provider takes: letters, digits, hyphens, underscores, a
letter first, 64 at most; where two servers have the same name, with its server's before it.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from actors.agents.core import delegation
from actors.agents.core.patterns import matches
from schemas.agents import AgentDefinition, AgentLimits, AgentSummary, AgentTool
from schemas.identity import KeptPrincipal, Principal
from schemas.llm import AnswerWarning, ToolDefinition
from schemas.problems import Problem
from schemas.tools import (
    AGENTS_SERVER,
    OfferedTool,
    ServerTool,
    ToolLimits,
    ToolList,
    ToolPlan,
)

MOST_OFFERED = 128
"""Tools of one execution: providers take no more."""

MOST_DESCRIPTION = 1024
"""Characters of a description; OpenAI takes no more."""

MOST_NAME = 64

CALL_SECONDS = 60.0
"""How long a call of a server's tool may take, unless its agent says so."""

_OTHER = re.compile(r"[^A-Za-z0-9_-]")


NO_TOOLS = ToolList(tools=[])


class ToolOffers(NamedTuple):
    """What the model is told of, and where its calls go; ``plan`` is None without a server's."""

    definitions: list[ToolDefinition]
    plan: ToolPlan | None = None
    warnings: list[AnswerWarning] = []


class _Granted(NamedTuple):
    tool: ServerTool
    seconds: float
    needs_approval: bool
    agents: Sequence[str] = ()


class ServerNames(NamedTuple):
    """The servers of which the tools must be known; only the ``certain`` are no tool's name."""

    all: list[str]
    certain: list[str]


_NO_SERVERS = ServerNames([], [])


def servers(definition: AgentDefinition) -> ServerNames:
    """Return of which servers an agent may use tools."""
    if not definition.tools:
        return _NO_SERVERS
    others = [tool for tool in definition.tools if not delegation.is_delegation(tool)]
    named = (tool.server or tool.name for tool in others if _may_be_server(tool))
    certain = {tool.server for tool in others if tool.server is not None}
    return ServerNames(sorted({name for name in named if name is not None}), sorted(certain))


def offers(
    definition: AgentDefinition,
    listed: ToolList,
    agents: Sequence[AgentSummary] = (),
    by: Principal | None = None,
) -> ToolOffers | Problem:
    """Return what is offered; ``listed`` are the tools of the servers that were asked for.

    ``agents`` are those of the tenant, where one may run others in the name of ``by``. A server
    that was not heard is a warning. Refuses with ``unavailable`` where nothing is left of what the
    agent may use of servers.
    """
    if not definition.tools:
        return ToolOffers([])
    known = {tool.server for tool in listed.tools} | {*listed.unreachable, AGENTS_SERVER}
    own = [tool for tool in definition.tools if tool.name is not None and tool.name not in known]
    own += [tool for tool in definition.tools if tool.name in known and not _may_be_server(tool)]
    runs = delegation.allowed(definition, agents)
    granted = [*_running(definition, runs), *_granted(definition, listed, own)]
    unknown = [name for name in servers(definition).certain if name not in known]
    missing = [name for name in servers(definition).all if name in listed.unreachable]
    if (missing or unknown) and not granted:
        return _nothing(missing, unknown)
    nobody = delegation.delegates(definition) and not runs
    warnings = [_warning("there is no other agent that may be run")] if nobody else []
    described = [tool.definition for tool in own if tool.definition is not None]
    if not granted:
        return ToolOffers(described, warnings=warnings)
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
        by=KeptPrincipal.of(delegation.in_name_of(by)) if runs and by is not None else None,
    )
    warnings += [_warning(f"the server {name} cannot be reached") for name in missing]
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
        if entry in own or delegation.is_delegation(entry):
            continue
        server = entry.server or entry.name
        for tool in listed.tools:
            if tool.server != server or not _grants(entry, tool.tool):
                continue
            if (tool.server, tool.tool) not in seen:
                seen.add((tool.server, tool.tool))
                asked = entry.requires_approval
                careful = asked if isinstance(asked, bool) else matches(asked, tool.tool)
                yield _Granted(tool, entry.seconds or CALL_SECONDS, careful)


def _running(definition: AgentDefinition, agents: Sequence[AgentSummary]) -> Iterator[_Granted]:
    """Yield the tool that runs other agents, if there are any."""
    if not agents:
        return
    names = [row.id for row in agents]
    careful = delegation.needs_approval(definition, names)
    yield _Granted(delegation.tool(agents), delegation.seconds(definition), careful, names)


def _grants(entry: AgentTool, name: str) -> bool:
    allowed = not entry.tools or matches(entry.tools, name)
    return allowed and not matches(entry.deny, name)


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
    tool = granted.tool
    return OfferedTool(
        name=name,
        server=tool.server,
        tool=tool.tool,
        once=not tool.hints.may_repeat,
        needs_approval=granted.needs_approval,
        seconds=granted.seconds,
        agents=list(granted.agents),
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
