"""What fires, in which order, and what becomes of tokens: forks, joins, room, time, agents."""

from typing import Any

import pytest

from actors.workflow.core.steps import Fired, Moved
from actors.workflow.core.tokens import MOST_HOPS
from schemas.problems import Problem
from tests.nets import Instance, net

AGENT = {"type": "agent", "agent_id": "a", "task": "do {{item}}", "output_mapping": {"got": "text"}}


def _over(least: int, field: str = "data.n") -> dict[str, Any]:
    return {"type": "field_greater_than", "field": field, "value": least}


# Choice


def test_the_highest_priority_goes_first_then_the_first_of_the_definition():
    compiled = net(
        ["*a", "b!", "c!", "d!"],
        {"id": "low", "arc": "a > b"},
        {"id": "high", "arc": "a > c", "priority": 5, "rules": [_over(3)]},
        {"id": "later", "arc": "a > d", "priority": 5},
    )

    assert Instance(compiled, {"n": 4}).places == {"c": 1}
    assert Instance(compiled, {"n": 1}).places == {"d": 1}


def test_the_token_that_has_lain_longest_goes_first_whatever_its_place():
    compiled = net(["*a", "b", "c!"], {"id": "t", "arc": "a, b > c", "manual": True})
    instance = Instance(compiled)
    for place in ("b", "a", "b"):
        instance.do("put", place, {}, {})
    for _ in range(3):
        instance.do("fire", "t")

    taken = [step.taken for step in instance.steps if isinstance(step, Fired)]
    assert taken == [("1",), ("2",), ("3",)]


def test_a_token_takes_a_transition_at_most_so_often():
    compiled = net(
        ["*a", "b", "c!"],
        {"id": "again", "arc": "b > a", "most": 2, "priority": 1},
        {"id": "on", "arc": "a > b"},
        {"id": "out", "arc": "b > c"},
    )
    instance = Instance(compiled, {})

    assert instance.places == {"c": 1}
    assert instance.token.counters == {"again": 2}


def test_what_is_not_enabled_is_refused_with_the_verdict_of_each_guard():
    compiled = net(
        ["*a", "b!"],
        {"id": "t", "arc": "a > b", "manual": True, "rules": [_over(3)], "conditions": ["data.ok"]},
    )
    instance = Instance(compiled, {"n": 1, "ok": True})
    problem = instance.do("fire", "t")

    assert problem is not None
    assert problem.code == "conflict"
    (token,) = problem.details["tokens"]
    assert [each["passed"] for each in token["verdicts"]] == [False, True]
    assert token["verdicts"][0]["explanation"] == (
        "data.n is of type number; it holds if it is above 3.0"
    )
    assert instance.do("update", "1", sets={"data.n": 4}) is None
    assert instance.do("fire", "t", "1") is None
    assert instance.places == {"b": 1}


def test_what_is_not_there_cannot_be_fired_nor_changed():
    instance = Instance(net(["*a", "b!"], {"id": "t", "arc": "a > b", "manual": True}), {})
    found = [
        instance.do("fire", "u"),
        instance.do("fire", "t", "9"),
        instance.do("put", "z", {}, {}),
        instance.do("update", "9"),
        instance.do("remove", "9"),
    ]

    assert [each and (each.code, each.field) for each in found] == [
        ("not_found", field) for field in ("transition", "token", "place", "token", "token")
    ]


def test_a_token_that_moves_without_end_fails_the_net():
    compiled = net(["*a", "b"], {"id": "to", "arc": "a > b"}, {"id": "back", "arc": "b > a"})
    instance = Instance(compiled, {})

    assert instance.standing == "failed"
    assert sum(isinstance(step, Moved) for step in instance.steps) == MOST_HOPS
    assert max(len(event.steps) for event in instance.events) <= 257


# Split, fork and join


def test_a_split_puts_a_token_into_each_place_and_all_takes_one_of_each():
    compiled = net(
        ["*a", "b", "c", "d!"],
        {"id": "split", "arc": "a > b, c"},
        {
            "id": "mark",
            "arc": "b > b",
            "most": 1,
            "action": {"type": "transform", "values": {"x": 1}},
        },
        {
            "id": "meet",
            "arc": "b, c > d",
            "mode": "all",
            "rules": [{"type": "field_exists", "field": "n"}],
        },
    )
    instance = Instance(compiled, {"n": 1})

    assert instance.places == {"d": 1}
    assert instance.token.data == {"n": 1, "x": 1}
    assert instance.token.counters == {"mark": 1}


def test_tokens_of_different_groups_are_not_taken_together():
    compiled = net(
        ["*a", "b", "c", "d", "e!"],
        {"id": "fork", "arc": "a > b", "fork": {"over": "items", "most": 9}},
        {"id": "split", "arc": "b > c, d"},
        {
            "id": "drop",
            "arc": "c > ",
            "rules": [{"type": "field_equals", "field": "item", "value": 1}],
            "priority": 1,
        },
        {"id": "meet", "arc": "c, d > e", "mode": "all"},
    )
    instance = Instance(compiled, {"items": [1, 2, 3]})

    assert instance.places == {"d": 1, "e": 2}
    assert [
        each.data["item"] for each in instance.marking.tokens.values() if each.place == "d"
    ] == [1]


def test_a_fork_makes_a_token_of_each_element_and_none_keeps_the_list():
    compiled = net(
        ["*a", "b"], {"id": "fork", "arc": "a > b", "fork": {"over": "doc.items", "most": 3}}
    )
    instance = Instance(compiled, {"doc": {"items": ["x", "y"], "name": "n"}})

    assert [each.data for each in instance.marking.tokens.values()] == [
        {"doc": {"name": "n"}, "item": each} for each in ("x", "y")
    ]
    assert [each.group[-1].index for each in instance.marking.tokens.values()] == [0, 1]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"items": list(range(5))}, "items has 5 elements, more than 4"),
        ({"items": []}, "items is empty: there is nothing to fork"),
        ({"items": "x"}, "items is no list"),
        ({}, "items is no list"),
        ({"items": [1] * 4, "doc": "x" * 200_000}, None),
        ({"items": [1] * 4, "docs": ["x" * 100_000] * 2}, None),
    ],
)
def test_a_fork_over_what_is_no_list_within_its_bound_is_a_failure(data: Any, told: str | None):
    fork = {"id": "fork", "arc": "a > b", "fork": {"over": "items", "most": 4}}
    instance = Instance(net(["*a", "b"], fork), data)

    assert instance.standing == ("failed" if told else "deadlock")
    if told:
        assert instance.marking.problem is not None
        assert instance.marking.problem.message == told


def test_an_empty_list_goes_on_as_one_token_where_the_fork_says_so():
    fork = {"over": "items", "most": 4, "empty_to": "c"}
    compiled = net(["*a", "b", "c!"], {"id": "fork", "arc": "a > b", "fork": fork})

    assert Instance(compiled, {"items": []}).places == {"c": 1}


def _voting(join: dict[str, Any], **more: Any) -> Instance:
    compiled = net(
        ["*in", "work", "done", "out!", {"id": "lost", "type": "error"}],
        {"id": "fork", "arc": "in > work", "fork": {"over": "items", "most": 9}},
        {
            "id": "work",
            "arc": "work > done",
            "action": AGENT,
            "on_error": {"then": "route", "to_place": "lost"},
        },
        {"id": "join", "arc": "done > out", "join": {"take": "got", **join}, **more},
    )
    return Instance(compiled, {"items": [1, 2, 3, 4]})


def _answer(instance: Instance, *indices: int) -> None:
    by_item = {
        each.token.data["item"]: each for each in instance.marking.firings.values() if each.token
    }
    for index in indices:
        assert instance.do("finish", by_item[index].id, {"text": f"t{index}"}) is None


def test_a_join_waits_for_all_and_lists_them_in_the_order_of_the_fork():
    instance = _voting({})
    _answer(instance, 3, 1, 4)
    assert instance.standing == "running"
    _answer(instance, 2)

    assert instance.standing == "completed"
    assert instance.token.data == {"item": 1, "results": ["t1", "t2", "t3", "t4"]}
    assert instance.token.group == ()


def test_a_join_that_needs_some_cancels_the_rest_wherever_it_is():
    instance = _voting({"need": 2})
    _answer(instance, 4, 2)

    assert instance.token.data["results"] == ["t2", "t4"]
    assert instance.marking.firings == {}
    joined = instance.steps[-1]
    assert isinstance(joined, Fired)
    assert len(joined.stopped) == 2


def test_at_its_deadline_a_join_goes_on_with_the_least_that_it_needs():
    instance = _voting({"deadline_seconds": 60, "least": 2})
    instance.after(1000)
    _answer(instance, 3)
    instance.after(30)
    _answer(instance, 1)
    assert instance.marking.firings
    instance.after(30)

    assert instance.standing == "completed"
    assert instance.token.data["results"] == ["t1", "t3"]


def test_at_its_deadline_a_join_with_fewer_fails_by_its_policy():
    policy = {"then": "route", "to_place": "lost"}
    instance = _voting({"deadline_seconds": 60, "least": 2}, on_error=policy)
    _answer(instance, 3)
    instance.after(60)

    assert instance.places == {"lost": 1}
    assert instance.token.data["errors"]["join"]["code"] == "timeout"
    assert instance.marking.firings == {}


def test_a_join_does_not_wait_for_what_has_ended_elsewhere():
    instance = _voting({})
    _answer(instance, 1, 2, 3)
    (last,) = instance.marking.firings
    instance.do("fail", last, _problem())

    assert instance.places == {"lost": 1, "out": 1}
    assert instance.standing == "completed"
    results = [
        each.data["results"] for each in instance.marking.tokens.values() if each.place == "out"
    ]
    assert results == [["t1", "t2", "t3"]]


def test_a_split_as_a_group_is_joined_by_quorum():
    compiled = net(
        ["*in", "a", "b", "c", "done", "out!"],
        {"id": "ask", "arc": "in > a, b, c", "as_group": True},
        *({"id": f"by_{each}", "arc": f"{each} > done", "action": AGENT} for each in "abc"),
        {"id": "count", "arc": "done > out", "join": {"need": 2, "take": "got"}},
    )
    instance = Instance(compiled, {})
    by_name = {each.name: each.id for each in instance.marking.firings.values()}
    instance.do("finish", by_name["by_c"], {"text": "no"})
    instance.do("finish", by_name["by_a"], {"text": "yes"})

    assert instance.token.data["results"] == ["yes", "no"]
    assert instance.standing == "completed"


def test_tokens_of_no_group_are_joined_by_number():
    compiled = net(["*a", "b!"], {"id": "batch", "arc": "a > b", "join": {"need": 3, "take": "n"}})
    instance = Instance(compiled)
    for n in range(5):
        instance.do("put", "a", {"n": n}, {})

    assert instance.places == {"a": 2, "b": 1}
    assert next(each.data.get("results") for each in instance.marking.tokens.values()) == [0, 1, 2]


def test_all_takes_the_tokens_of_a_split_group_together_but_not_those_of_a_fork():
    split = net(
        ["*a", "b", "c", "d!"],
        {"id": "split", "arc": "a > b, c", "as_group": True},
        {"id": "meet", "arc": "b, c > d", "mode": "all"},
    )
    instance = Instance(split, {})

    assert instance.places == {"d": 1}
    assert instance.token.group == ()


def test_all_finds_tokens_that_belong_together_whichever_come_first():
    compiled = net(
        ["*a", "b", "x", "y", "free", "d!"],
        {"id": "fork", "arc": "a > b", "fork": {"over": "items", "most": 9}},
        {
            "id": "one",
            "arc": "b > x",
            "rules": [{"type": "field_equals", "field": "item", "value": 1}],
        },
        {"id": "two", "arc": "b > x, y"},
        {"id": "meet", "arc": "free, x, y > d", "mode": "all"},
    )
    instance = Instance(compiled, {"items": [1, 2]})
    instance.do("put", "free", {"free": True}, {})

    assert instance.places == {"x": 1, "d": 1}
    assert instance.marking.tokens.popitem()[1].data == {"free": True, "item": 2}


# Room


def _problem() -> Problem:
    return Problem(code="provider_error", message="it failed")
