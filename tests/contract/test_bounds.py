"""What a definition may say: the bounds of its numbers and the words of its choices."""

from typing import Any

import pytest

from bus.codec import convert
from bus.errors import ProblemError
from schemas.agents import ApplyAgent, ListAgents, Memory

SCRIPTED = {"type": "scripted", "responses": ["yes"]}

CONFIG: list[tuple[str, list[Any], list[Any]]] = [
    ("temperature", [0.0, 0.7, 2.0], [-0.01, 2.01, "warm"]),
    ("max_tokens", [1, 10_000_000], [0, -1, 1.5]),
    ("top_p", [0.0, 1.0], [-0.01, 1.01]),
    ("frequency_penalty", [-2.0, 2.0], [-2.01, 2.01]),
    ("presence_penalty", [-2.0, 2.0], [-2.01, 2.01]),
    ("stop_sequences", [[], ["\n", "END"]], ["END", [1], ["x"] * 17]),
    ("seed", [0, -1], ["one"]),
]

PERSONALITY: list[tuple[str, list[Any], list[Any]]] = [
    (
        "traits",
        [["friendly", "professional", "creative", "analytical"], []],
        [["rude"], "friendly"],
    ),
    ("tone", ["professional", "casual", "formal", "enthusiastic"], ["angry", ["formal"]]),
    ("behavior", ["helpful", "direct", "empathetic", "technical"], ["obstinate"]),
    ("language_style", ["concise", "detailed", "conversational"], ["verbose"]),
]

PROMPTS: list[tuple[str, list[Any], list[Any]]] = [
    ("system", ["", "You review."], [1, "x" * 200_001]),
    ("user_template", ["{input_data}"], [None, "x" * 200_001]),
    ("context_instructions", [None, "Judge the text alone."], [1]),
]

MEMORY: list[tuple[str, list[Any], list[Any]]] = [
    ("strategy", ["last_n", "sliding_window"], ["summary"]),
    ("max_history", [0, 10, 100], [-1, 101]),
    ("context_window", [1, 4000], [0]),
]

TABLES = {"config": CONFIG, "personality": PERSONALITY, "prompts": PROMPTS, "memory": MEMORY}


def _cases(*, good: bool) -> list[Any]:
    return [
        pytest.param(part, field, value, id=f"{part}.{field}={value!r:.30}")
        for part, table in TABLES.items()
        for field, allowed, refused in table
        for value in (allowed if good else refused)
    ]


@pytest.mark.parametrize(("part", "field", "value"), _cases(good=True))
def test_a_value_within_bounds_is_taken_as_it_is(part: str, field: str, value: Any):
    agent = convert(ApplyAgent, {"id": "a", "provider": SCRIPTED, part: {field: value}})

    assert getattr(getattr(agent, part), field) == value


@pytest.mark.parametrize(("part", "field", "value"), _cases(good=False))
def test_a_value_out_of_bounds_is_refused_and_the_field_is_named(part: str, field: str, value: Any):
    with pytest.raises(ProblemError) as refused:
        convert(ApplyAgent, {"id": "a", "provider": SCRIPTED, part: {field: value}})

    assert refused.value.problem.code == "validation"
    assert (refused.value.problem.field or "").startswith(f"{part}.{field}")


def test_memory_has_its_defaults():
    agent = convert(ApplyAgent, {"id": "a", "memory": {}})

    assert agent.memory == Memory(strategy="sliding_window", max_history=10, context_window=4000)


@pytest.mark.parametrize("field", ["tempreature", "api_key"])
def test_a_misspelt_field_is_refused(field: str):
    with pytest.raises(ProblemError) as refused:
        convert(ApplyAgent, {"id": "a", "provider": SCRIPTED, "config": {field: 1}})

    assert refused.value.problem.code == "validation"


@pytest.mark.parametrize(
    "agent_id", ["a.b", "a b", "*", ">", "", "$SYS", "a\n", "ä", "x" * 65, "a/b"]
)
def test_an_id_that_could_leave_its_subject_is_refused(agent_id: str):
    with pytest.raises(ProblemError) as refused:
        convert(ApplyAgent, {"id": agent_id, "provider": SCRIPTED})

    assert refused.value.problem.field == "id"


@pytest.mark.parametrize(
    "query",
    [
        {"status": status, "provider": "openai", "search": "x", "limit": 1, "offset": 0}
        for status in ("IDLE", "BUSY", "OFFLINE")
    ]
    + [
        {"sort_by": field, "sort_order": order}
        for field in ("created_at", "updated_at", "name", "execution_count")
        for order in ("asc", "desc")
    ],
)
def test_every_filter_and_order_of_a_list_is_understood(query: dict[str, Any]):
    listing = convert(ListAgents, query)

    assert {name: getattr(listing, name) for name in query} == query
