from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.listing import (
    Activity,
    page_agents,
    provider_type,
    summary,
)
from schemas.agents import AgentSummary, ListAgents
from schemas.providers import Custom, Groq, OpenAI, Provider, Scripted
from tests.unit.agents.samples import NOW, agent, later

ROWS = st.lists(
    st.builds(
        lambda number, name, status, seconds: msgspec.structs.replace(
            summary(agent()),
            id=f"agent-{number}",
            name=name,
            status=status,
            created_at=NOW + timedelta(seconds=seconds),
        ),
        st.integers(0, 50),
        st.sampled_from(["Alpha", "alpha", "Beta", "Gamma"]),
        st.sampled_from(["IDLE", "OFFLINE"]),
        st.integers(0, 3),
    ),
    unique_by=lambda row: row.id,
    max_size=20,
)
QUERIES = st.builds(
    ListAgents,
    status=st.sampled_from([None, "IDLE", "BUSY", "OFFLINE"]),
    search=st.sampled_from([None, "al", "agent-1"]),
    limit=st.integers(1, 7),
    sort_by=st.sampled_from(["created_at", "updated_at", "name", "execution_count"]),
    sort_order=st.sampled_from(["asc", "desc"]),
)


def _row(id_: str, **fields: Any) -> AgentSummary:
    return msgspec.structs.replace(summary(agent(id=id_, name=id_)), **fields)


def _idle(_: str) -> Activity:
    return Activity()


def _ids(rows: list[AgentSummary], **query: Any) -> list[str]:
    return [row.id for row in page_agents(rows, ListAgents(**query), _idle).agents]


def test_a_definition_becomes_a_row():
    definition = agent(description="Reads.", kind="code_review", version=4, updated_at=later(9))

    assert summary(definition) == AgentSummary(
        id="reviewer",
        name="Reviewer",
        description="Reads.",
        kind="code_review",
        status="IDLE",
        provider="openai",
        model="gpt-4o-mini",
        version=4,
        execution_count=0,
        created_at=NOW,
        updated_at=later(9),
    )


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        (OpenAI(model="a"), "openai"),
        (Groq(model="a"), "groq"),
        (Custom(model="a", base_url="http://a"), "custom"),
        (Scripted(responses=["a"]), "scripted"),
    ],
)
def test_a_provider_is_named_as_in_its_definition(provider: Provider, name: str):
    assert provider_type(provider) == name


def test_an_agent_with_executions_under_way_is_busy_unless_it_is_offline():
    rows = [_row("a"), _row("b", status="OFFLINE"), _row("c")]
    activity = {"a": Activity(3, 1), "b": Activity(2, 2), "c": Activity(5, 0)}

    page = page_agents(rows, ListAgents(sort_by="name", sort_order="asc"), activity.__getitem__)

    assert [(row.status, row.execution_count) for row in page.agents] == [
        ("BUSY", 3),
        ("OFFLINE", 2),
        ("IDLE", 5),
    ]
    assert page_agents(rows, ListAgents(status="BUSY"), activity.__getitem__).total == 1


def test_agents_are_found_by_what_they_can_do_and_by_their_kind():
    able = {"capabilities": ["code review", "Go"]}
    rows = [
        summary(agent(id="one", name="One", **able)),
        summary(agent(id="two", name="Two", kind="quiz", capabilities=["Goal setting"])),
        summary(agent(id="three", name="Writer")),
    ]

    assert _ids(rows, capability="go") == ["one"]
    assert _ids(rows, capability="review") == []
    assert _ids(rows, search="REVIEW") == ["one"]
    assert _ids(rows, kind="quiz") == ["two"]
    assert rows[0].capabilities == able["capabilities"]


def test_agents_are_found_by_provider():
    rows = [_row("a"), _row("b", provider="groq")]

    assert _ids(rows, provider="groq") == ["b"]


@pytest.mark.parametrize("search", ["review", "CODE", "Straße", "STRASSE"])
def test_a_search_looks_into_id_name_and_description_without_regard_to_case(search: str):
    rows = [
        _row("review-1", name="Code", description="Straße"),
        _row("other", name="else", description="nothing"),
    ]

    assert _ids(rows, search=search) == ["review-1"]


def test_agents_are_sorted_by_what_is_asked_and_then_by_id():
    rows = [
        _row("c", created_at=later(1), updated_at=later(9), name="x"),
        _row("a", created_at=later(2), updated_at=later(5), name="Y"),
        _row("b", created_at=later(2), updated_at=later(7), name="x"),
    ]

    assert _ids(rows) == ["a", "b", "c"]
    assert _ids(rows, sort_order="asc") == ["c", "a", "b"]
    assert _ids(rows, sort_by="updated_at") == ["c", "b", "a"]
    assert _ids(rows, sort_by="name", sort_order="asc") == ["b", "c", "a"]


def test_agents_are_sorted_by_their_executions():
    counts = {"a": Activity(1), "b": Activity(3), "c": Activity(2)}
    query = ListAgents(sort_by="execution_count")

    page = page_agents([_row("a"), _row("b"), _row("c")], query, counts.__getitem__)

    assert [row.id for row in page.agents] == ["b", "c", "a"]


@given(ROWS, QUERIES)
def test_the_pages_of_a_list_are_the_list(rows: list[AgentSummary], query: ListAgents):
    whole = page_agents(rows, msgspec.structs.replace(query, limit=1000), _idle)
    pages = [
        page_agents(rows, msgspec.structs.replace(query, offset=offset), _idle)
        for offset in range(0, len(rows) + query.limit, query.limit)
    ]

    assert [row for page in pages for row in page.agents] == whole.agents
    assert {page.total for page in pages} == {len(whole.agents)}


@given(ROWS, QUERIES, st.randoms())
def test_the_order_of_a_list_does_not_depend_on_where_it_comes_from(
    rows: list[AgentSummary], query: ListAgents, random: Any
):
    shuffled = random.sample(rows, len(rows))

    assert page_agents(shuffled, query, _idle) == page_agents(rows, query, _idle)
