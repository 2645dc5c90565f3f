"""What becomes of actions that fail: attempts, policies, compensation, people; money, migration."""

from typing import Any

import pytest

from actors.workflow.core.steps import ActionBegun, ActionEnded, TokensSet, UndoBegun
from schemas.problems import Problem, ProblemCode
from tests.nets import Instance, net

TOOL: dict[str, Any] = {
    "type": "tool",
    "server": "s",
    "tool": "t",
    "arguments": {"a.fixed": 1, "b": 2},
    "input_mapping": {"a.n": "n", "b": "metadata.missing"},
    "output_mapping": {"data.out.x": "x.0.y", "data.none": "nothing"},
}


def _one(action: dict[str, Any], **more: Any) -> Instance:
    compiled = net(
        ["*a", "b!", {"id": "bad", "type": "error"}],
        {"id": "t", "arc": "a > b", "action": action, **more},
    )
    return Instance(compiled, {"n": 7})


def _problem(code: ProblemCode = "provider_error", **more: Any) -> Problem:
    return Problem(code=code, message="it failed", **more)


def test_an_action_is_asked_what_is_mapped_and_its_answer_is_mapped_into_the_token():
    instance = _one(TOOL)
    assert instance.firing.request == {"a": {"fixed": 1, "n": 7}, "b": None}
    instance.do("finish", instance.firing.id, {"x": [{"y": "found"}]})

    assert instance.places == {"b": 1}
    assert instance.token.data == {"n": 7, "out": {"x": "found"}, "none": None}


@pytest.mark.parametrize(
    ("task", "more", "asked"),
    [
        ("say {{data.n}} and {{ metadata.no }} {{n}}", {}, "say 7 and null 7"),
        ("'n is ' + string(data.n)", {"task_is": "expression"}, "n is 7"),
        ("", {}, '{"n":7}'),
        ("", {"input_mapping": {"task": "id"}}, "1"),
        ("", {"input_mapping": {"context.task": "place"}}, "a"),
    ],
)
def test_the_task_of_an_agent_is_filled_from_the_token(task: str, more: Any, asked: str):
    instance = _one({"type": "agent", "agent_id": "a", "task": task, **more})

    assert instance.firing.request is not None
    assert instance.firing.request["task"] == asked


@pytest.mark.parametrize("kind", ["publish", "emit"])
def test_what_is_published_is_in_the_step_and_the_net_goes_on(kind: str):
    action = {"type": kind, **({"subject": "x.y"} if kind == "publish" else {"event": "e"})}
    instance = _one(action)

    assert [type(step) for step in instance.steps] == [TokensSet, ActionBegun, ActionEnded]
    begun = instance.steps[1]
    assert isinstance(begun, ActionBegun)
    assert begun.request == {"n": 7}
    assert instance.standing == "completed"


# Attempts


@pytest.mark.parametrize(
    ("config", "waits"),
    [
        ({"backoff": "fixed", "backoff_seconds": 5}, [5, 5]),
        ({"backoff": "linear", "backoff_seconds": 5}, [5, 10]),
        ({"backoff_seconds": 5}, [5, 10]),
        ({"backoff_seconds": 5, "max_attempts": 4}, [5, 10, 20]),
        ({"backoff_seconds": 5, "max_attempts": 1}, []),
    ],
)
def test_another_attempt_is_made_after_its_wait(config: dict[str, Any], waits: list[int]):
    instance = _one({**TOOL, "retry_config": config})
    for attempt, wait in enumerate(waits, 1):
        assert instance.firing.attempt == attempt
        instance.do("fail", instance.firing.id, _problem(retryable=True))
        instance.after(wait - 1)
        assert instance.firing.attempt == attempt
        instance.after(1)
    instance.do("fail", instance.firing.id, _problem(retryable=True))

    assert instance.standing == "failed"


@pytest.mark.parametrize(
    ("named", "code", "again"),
    [
        ([], "provider_error", False),
        (["timeout"], "timeout", True),
        (["rate_limit"], "rate_limited", True),
        (["timeout"], "rate_limited", False),
        ([], "outcome_unknown", False),
        (["outcome_unknown"], "outcome_unknown", True),
    ],
)
def test_only_some_errors_are_repeated(named: list[str], code: ProblemCode, again: bool):
    config = {"retry_on_errors": named, "backoff_seconds": 1}
    instance = _one({**TOOL, "retry_config": config}, on_error={"then": "pause"})
    instance.do("fail", instance.firing.id, _problem(code))

    assert (instance.firing.retry_at is not None) == again


def test_an_attempt_that_takes_too_long_fails_by_timeout():
    config = {"retry_on_errors": ["timeout"], "backoff_seconds": 10, "max_attempts": 2}
    instance = _one({**TOOL, "timeout_seconds": 30, "retry_config": config})
    instance.after(39)
    assert instance.firing.problem is not None
    instance.after(1)
    assert (instance.firing.attempt, instance.firing.problem) == (2, None)
    instance.after(30)

    assert instance.marking.problem is not None
    assert instance.marking.problem.code == "timeout"


def test_a_task_that_nobody_does_goes_from_person_to_person():
    action = {"type": "human", "title": "x", "timeout_seconds": 60, "escalate_to": ["b", "c"]}
    instance = _one(action)
    instance.after(120)
    assert instance.firing.attempt == 3
    assert instance.standing == "running"
    instance.after(60)

    assert instance.standing == "failed"


# Policies


def test_what_is_not_required_lets_the_token_pass_with_its_problem():
    instance = _one({**TOOL, "required": False})
    instance.do("fail", instance.firing.id, _problem())

    assert instance.places == {"b": 1}
    assert instance.token.data["errors"]["t"]["code"] == "provider_error"


def test_a_failure_is_routed_with_its_problem():
    instance = _one(TOOL, on_error={"then": "route", "to_place": "bad"})
    instance.do("fail", instance.firing.id, _problem())

    assert instance.places == {"bad": 1}
    assert instance.token.data["errors"]["t"]["message"] == "it failed"
    assert instance.standing == "completed"


@pytest.mark.parametrize("then", ["retry", "skip"])
def test_a_paused_action_waits_for_a_person(then: str):
    instance = _one(TOOL, on_error={"then": "pause"})
    assert instance.do(then, instance.firing.id) is not None
    instance.do("fail", instance.firing.id, _problem())
    assert instance.standing == "waiting"
    assert instance.do("fail", instance.firing.id, _problem()) is not None
    instance.do(then, instance.firing.id)
    if then == "retry":
        assert instance.firing.attempt == 2
        instance.do("finish", instance.firing.id, {})

    assert instance.places == {"b": 1}


def test_an_unknown_outcome_pauses_rather_than_fail():
    instance = _one(TOOL)
    instance.do("fail", instance.firing.id, _problem("outcome_unknown"))

    assert instance.standing == "waiting"


def test_a_failure_leaves_the_token_where_it_was_and_stops_all():
    compiled = net(
        ["*a", "b", "c", "d!"],
        {"id": "split", "arc": "a > b, c"},
        {"id": "left", "arc": "b > d", "action": TOOL},
        {"id": "right", "arc": "c > d", "action": TOOL},
    )
    instance = Instance(compiled, {})
    first = next(iter(instance.marking.firings))
    instance.do("fail", first, _problem())

    assert instance.places == {"b": 1}
    assert instance.marking.firings == {}
    assert instance.standing == "failed"
    assert instance.do("put", "a", {}, {}) is not None
    assert instance.do("fire", "split") is not None


def _saga(*tools: str, retries: int = 1) -> Instance:
    undo = {
        "type": "tool",
        "server": "s",
        "tool": "undo",
        "input_mapping": {"of": "data.done"},
        "retry_config": {"max_attempts": retries, "backoff_seconds": 1},
    }
    places = ["*p0", *(f"p{at}" for at in range(1, len(tools))), "end!"]
    names = [*(f"p{at}" for at in range(len(tools))), "end"]
    steps = [
        {
            "id": each,
            "arc": f"{names[at]} > {names[at + 1]}",
            "action": {**TOOL, "output_mapping": {"done": "name"}},
            "compensation": undo,
            "on_error": {"then": "compensate"},
        }
        for at, each in enumerate(tools)
    ]
    return Instance(net(places, *steps), {})


def test_what_was_done_is_undone_latest_first_and_then_the_net_fails():
    instance = _saga("book", "pay", "send")
    for name in ("B", "P"):
        instance.do("finish", instance.firing.id, {"name": name})
    instance.do("fail", instance.firing.id, _problem())
    undone: list[Any] = []
    while instance.marking.firings:
        undone.append((instance.firing.name, instance.firing.request))
        assert instance.standing == "running"
        instance.do("finish", instance.firing.id, {})

    assert undone == [("pay", {"of": "P"}), ("book", {"of": "B"})]
    assert instance.standing == "failed"
    assert instance.marking.problem == _problem()


def test_what_cannot_be_undone_is_told_and_the_rest_is_undone():
    instance = _saga("book", "pay", "send", retries=2)
    for name in ("B", "P"):
        instance.do("finish", instance.firing.id, {"name": name})
    instance.do("fail", instance.firing.id, _problem())
    instance.do("fail", instance.firing.id, _problem(retryable=True))
    instance.after(1)
    assert instance.firing.attempt == 2
    instance.do("fail", instance.firing.id, _problem(retryable=True))
    instance.do("finish", instance.firing.id, {})

    assert sum(isinstance(step, UndoBegun) for step in instance.steps) == 2
    assert instance.marking.problem is not None
    assert instance.marking.problem.details == {"not_undone": ["pay"]}


def test_data_that_grow_without_bound_are_a_failure():
    action = {"type": "transform", "expressions": {"s": "data.s + data.s"}}
    compiled = net(["*a"], {"id": "t", "arc": "a > a", "action": action})
    instance = Instance(compiled, {"s": "x" * 1000})

    assert instance.standing == "failed"
    assert instance.marking.problem is not None
    assert "exceed" in instance.marking.problem.message


# Money, and another definition


def test_with_the_reserve_only_final_transitions_begin_what_costs():
    compiled = net(
        ["*a", "b!", "c!"],
        {"id": "work", "arc": "a > b", "action": TOOL},
        {
            "id": "sum_up",
            "arc": "a > c",
            "action": TOOL,
            "rules": [
                {"type": "field_equals", "field": "metadata.wrap_up", "value": True},
            ],
        },
        budget={"limit_pico": 1, "final": ["sum_up"]},
    )
    instance = Instance(compiled)
    instance.do("meter", wrap_up=True, reserve=True)
    instance.do("put", "a", {}, {})

    assert instance.firing.name == "sum_up"
    assert instance.firing.token is not None
    assert instance.firing.token.metadata == {"wrap_up": True}


def test_a_wrap_up_is_told_to_all_tokens_also_those_of_running_actions():
    instance = _one(TOOL)
    instance.do("put", "b", {}, {"k": 1})
    instance.do("meter", wrap_up=True, reserve=False)
    instance.do("finish", instance.firing.id, {})

    assert [each.metadata for each in instance.marking.tokens.values()] == [
        {"k": 1, "wrap_up": True},
        {"wrap_up": True},
    ]


def test_an_instance_goes_on_under_another_definition_by_a_map_of_places():
    old = net(
        ["*a", "b", "c!"],
        {"id": "t", "arc": "a > b", "action": TOOL},
        {"id": "u", "arc": "b > c", "manual": True},
    )
    new = net(
        ["*x", "y!"], {"id": "u", "arc": "x > y"}, {"id": "t", "arc": "x > y", "action": TOOL}
    )
    instance = Instance(old, {})
    instance.do("finish", instance.firing.id, {})
    instance.net = new

    refused = instance.do("migrate", {})
    assert refused is not None
    assert refused.code == "conflict"
    assert instance.do("migrate", {"b": "x"}) is None
    assert instance.places == {"y": 1}


def test_what_runs_must_be_part_of_the_other_definition():
    instance = _one(TOOL)
    instance.net = net(["*a", "b!"], {"id": "other", "arc": "a > b"})
    refused = instance.do("migrate", {})

    assert refused is not None
    assert "t" in refused.message


@pytest.mark.parametrize(
    ("place", "more", "told"),
    [
        ({"id": "b"}, {"most_tokens": 3}, "more than 3 tokens"),
        ({"id": "b", "capacity": 2}, {}, "b has no room"),
        ({"id": "b"}, {}, None),
    ],
)
def test_a_fork_of_what_an_action_has_answered_needs_room_for_all(
    place: Any, more: Any, told: str | None
):
    action = {**TOOL, "output_mapping": {"items": "found"}}
    fork = {"over": "items", "most": 9}
    compiled = net(
        ["*a", place], {"id": "t", "arc": "a > b", "action": action, "fork": fork}, **more
    )
    instance = Instance(compiled, {})
    instance.do("finish", instance.firing.id, {"found": [1, 2, 3, 4]})

    if told is None:
        assert instance.places == {"b": 4}
    else:
        assert instance.marking.problem is not None
        assert told in instance.marking.problem.message
