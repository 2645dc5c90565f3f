"""What an execution offers its model: which tools, under which names, with which promises."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.patterns import matches
from actors.agents.core.tool_offers import ToolOffers, offers, servers
from schemas.agents import AgentTool
from schemas.problems import Problem
from schemas.tools import ServerTool, ToolHints, ToolList
from tests.unit.agents.samples import agent

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
READS = ToolHints(read_only=True)


def of(tools: list[AgentTool], listed: ToolList) -> ToolOffers:
    found = offers(msgspec.structs.replace(agent(), tools=tools), listed)
    assert not isinstance(found, Problem)
    return found


def tool(name: str, server: str = "notes", hints: ToolHints | None = None) -> ServerTool:
    return ServerTool(server=server, tool=name, hints=hints or ToolHints())


def test_patterns_grant_and_deny_and_say_who_is_asked():
    entry = AgentTool(
        server="notes", tools=["get_*", "put"], deny=["*_secret"], requires_approval=["put"]
    )
    listed = [tool("get_page", hints=READS), tool("get_secret"), tool("put"), tool("drop")]
    found = of([entry], ToolList(tools=listed))

    assert found.plan is not None
    assert [(one.tool, one.once, one.needs_approval) for one in found.plan.offered] == [
        ("get_page", False, False),
        ("put", True, True),
    ]
    assert [one.name for one in found.definitions] == ["get_page", "put"]


def test_a_plain_name_is_a_server_where_there_is_one_and_the_callers_tool_elsewhere():
    tools = [AgentTool(name="notes"), AgentTool(name="search")]
    found = of(tools, ToolList(tools=[tool("find")]))

    assert found.plan is not None
    assert [one.tool for one in found.plan.offered] == ["find"]
    assert found.plan.callers == ["search"]
    assert [one.name for one in found.definitions] == ["search", "find"]
    assert of([AgentTool(name="search")], ToolList(tools=[])).plan is None


def test_a_server_that_cannot_be_reached_is_a_warning_unless_nothing_is_left():
    tools = [AgentTool(server="notes"), AgentTool(server="mail")]
    away = ToolList(tools=[tool("find")], unreachable=["mail"])
    found = of(tools, away)
    nothing = offers(
        msgspec.structs.replace(agent(), tools=tools[1:]), ToolList(tools=[], unreachable=["mail"])
    )

    assert [one.message for one in found.warnings] == ["the server mail cannot be reached"]
    assert isinstance(nothing, Problem)
    assert (nothing.code, nothing.retryable) == ("unavailable", True)
    assert servers(msgspec.structs.replace(agent(), tools=tools)).certain == ["mail", "notes"]


@given(st.lists(st.text(min_size=1, max_size=128), min_size=1, max_size=8, unique=True))
def test_names_are_valid_and_unique_whatever_servers_call_their_tools(names: list[str]):
    both = [AgentTool(server="a"), AgentTool(server="b")]
    listed = [tool(name, server) for name in names for server in ("a", "b")]
    found = of(both, ToolList(tools=listed))
    given_names = [one.name for one in found.definitions]

    assert len(set(given_names)) == len(given_names) == 2 * len(names)
    assert all(NAME.fullmatch(name) for name in given_names)


@given(st.text(alphabet="ab", max_size=8), st.text(alphabet="ab*", max_size=6))
def test_a_star_stands_for_any_text(name: str, pattern: str):
    wanted = re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None

    assert matches([pattern], name) is wanted
