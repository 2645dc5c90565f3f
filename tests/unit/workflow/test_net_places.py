"""Places: agents that run in them, times that are over in them, and nets that cannot go on."""

from typing import Any

import pytest

from actors.workflow.core.rules import Verdict
from actors.workflow.core.standing import deadlock
from tests.nets import BEGAN, Instance, net
from tests.unit.workflow.test_net_firing import AGENT, _over, _problem


def test_what_would_put_too_much_into_a_place_waits_until_there_is_room():
    compiled = net(
        ["*a", {"id": "b", "capacity": 1}, "c!"],
        {"id": "in", "arc": "a > b"},
        {"id": "work", "arc": "b > b", "action": AGENT, "most": 1},
        {"id": "out", "arc": "b > c", "rules": [{"type": "field_exists", "field": "got"}]},
    )
    instance = Instance(compiled, {})
    instance.do("put", "a", {}, {})
    assert instance.places == {"a": 1}
    instance.do("finish", instance.firing.id, {"text": "x"})

    assert instance.places == {"c": 1}
    assert len(instance.marking.firings) == 1


def test_an_instance_never_has_more_tokens_than_its_net_allows():
    compiled = net(
        ["*a", "b", "c!"],
        {"id": "split", "arc": "a > b, b"},
        {"id": "on", "arc": "b > c", "manual": True},
        most_tokens=3,
    )
    instance = Instance(compiled, {})
    instance.do("put", "a", {}, {})
    refused = instance.do("put", "a", {}, {})

    assert instance.places == {"a": 1, "b": 2}
    assert refused is not None
    assert refused.code == "conflict"
    instance.do("remove", "1")
    assert instance.places == {"b": 3}


# Time


def test_a_token_that_lies_too_long_goes_elsewhere_at_that_moment():
    compiled = net(
        ["*a", {"id": "b", "timeout": {"seconds": 30, "to_place": "late"}}, "late!", "c!"],
        {"id": "in", "arc": "a > b"},
        {"id": "out", "arc": "b > c", "manual": True},
    )
    instance = Instance(compiled, {})
    instance.after(29)
    assert instance.places == {"b": 1}
    assert instance.standing == "waiting"
    instance.after(1)

    assert instance.places == {"late": 1}


@pytest.mark.parametrize(
    ("action", "seconds"),
    [
        ({"seconds": 90}, 90),
        ({"until": "data.at"}, 3600),
        ({"cron": "30 13 * * *", "zone": "Europe/Berlin"}, 30 * 60),
    ],
)
def test_a_timer_ends_at_its_moment(action: dict[str, Any], seconds: int):
    compiled = net(["*a", "b!"], {"id": "t", "arc": "a > b", "action": {"type": "timer", **action}})
    instance = Instance(compiled, {"at": "2026-03-01T13:00:00Z"})
    instance.after(seconds - 1)
    assert instance.standing == "running"
    instance.after(1)

    assert instance.standing == "completed"
    assert (instance.token.since - BEGAN).total_seconds() == seconds


@pytest.mark.parametrize("at", [None, "soon", {}, 1e300, "9999-12-31T23:59:59-12:00"])
def test_a_timer_until_no_moment_is_a_failure(at: Any):
    action = {"type": "timer", "until": "data.at"}
    instance = Instance(
        net(["*a", "b!"], {"id": "t", "arc": "a > b", "action": action}), {"at": at}
    )

    assert instance.standing == "failed"


# Agents of places


def _hosted(**more: Any) -> dict[str, Any]:
    return {"agent_id": "h", "output_mapping": {"label": "text"}, **more}


def test_an_agent_of_a_place_runs_before_a_transition_takes_the_token():
    place = {"id": "b", "agents": [_hosted(trigger_conditions=[_over(1)])]}
    compiled = net(["*a", place, "c!"], {"id": "in", "arc": "a > b"}, {"id": "out", "arc": "b > c"})

    assert Instance(compiled, {"n": 1}).places == {"c": 1}
    instance = Instance(compiled, {"n": 2})
    assert instance.places == {"b": 1}
    refused = instance.do("fire", "out")
    assert refused is not None
    assert "runs for it" in refused.message
    instance.do("finish", instance.firing.id, {"text": "good"})

    assert instance.places == {"c": 1}
    assert instance.token.data == {"n": 2, "label": "good"}


def test_agents_of_places_run_in_a_cascade_by_their_transitions():
    first = _hosted(auto_transition="on")
    compiled = net(
        [
            {"id": "a", "type": "initial", "agents": [first]},
            {"id": "b", "agents": [_hosted()]},
            "c!",
        ],
        {"id": "on", "arc": "a > b", "manual": True},
        {"id": "out", "arc": "b > c"},
    )
    instance = Instance(compiled, {})
    instance.do("finish", instance.firing.id, {"text": "x"})
    assert instance.places == {"b": 1}
    instance.do("finish", instance.firing.id, {"text": "y"})

    assert instance.places == {"c": 1}
    assert instance.token.data["label"] == "y"


def test_an_agent_of_a_place_runs_by_its_schedule():
    schedule = {"initial_delay_seconds": 10, "interval_seconds": 60, "max_executions": 2}
    place = {"id": "a", "type": "initial", "agents": [_hosted(schedule=schedule)]}
    instance = Instance(net([place]), {})
    instance.after(9)
    assert instance.marking.firings == {}
    instance.after(1)
    instance.do("finish", instance.firing.id, {"text": "1"})
    instance.after(59)
    assert instance.marking.firings == {}
    instance.after(1)
    instance.do("finish", instance.firing.id, {"text": "2"})
    instance.after(10_000)

    assert instance.token.runs["0"].count == 2
    assert instance.standing == "deadlock"


def test_an_agent_of_a_place_that_fails_pauses_unless_it_is_not_required():
    for required in (True, False):
        agent = _hosted(auto_transition="on", required=required)
        compiled = net(
            [{"id": "a", "type": "initial", "agents": [agent]}, "b!"],
            {"id": "on", "arc": "a > b", "manual": True},
        )
        instance = Instance(compiled, {})
        instance.do("fail", instance.firing.id, _problem())
        if required:
            assert instance.standing == "waiting"
            assert instance.do("skip", instance.firing.id) is None

        assert instance.places == {"b": 1}
        assert instance.token.data["errors"]["a"]["code"] == "provider_error"


# Standing


def test_a_net_that_cannot_go_on_says_why_of_each_transition():
    compiled = net(
        ["*a", "b", "c!"],
        {"id": "meet", "arc": "a, b > c", "mode": "all"},
        {"id": "out", "arc": "a > c", "rules": [_over(3)]},
    )
    instance = Instance(compiled, {"n": 1})

    assert instance.standing == "deadlock"
    details = deadlock(compiled, instance.marking).details["transitions"]
    assert {each["transition"]: each["reason"] for each in details} == {
        "meet": "no token that it could take lies in b",
        "out": "a rule or condition does not hold",
    }


@pytest.mark.parametrize(
    "more",
    [
        {
            "triggers": [
                {"type": "event", "id": "x", "subject": "a.b", "does": "put_token", "place": "b"}
            ]
        },
        {},
    ],
)
def test_what_can_come_from_outside_is_waited_for(more: dict[str, Any]):
    place: Any = "*a" if more else {"id": "a", "type": "review"}
    compiled = net([place, "b", "c!"], {"id": "t", "arc": "b > c"}, **more)
    instance = Instance(compiled)
    instance.do("put", "a", {}, {})

    assert instance.standing == "waiting"


def test_a_verdict_shows_no_value_of_a_token():
    secret = "hunter2"
    rules: list[Any] = [
        {"type": "field_equals", "field": "data.key", "value": "other"},
        {"type": "field_contains", "field": "key", "value": "z"},
        {"type": "and", "rules": [_over(1, "key"), {"type": "not", "rule": _over(1, "key")}]},
    ]
    conditions = ["data.key == 'x'", "data.key + 1 > 2", "data.key.map(x, x)"]
    transition = {"id": "t", "arc": "a > b", "rules": rules, "conditions": conditions}
    instance = Instance(net(["*a", "b!"], transition), {"key": secret})
    told: list[Verdict] = instance.net.by_id["t"].verdicts(instance.token)

    assert [each.passed for each in told] == [False] * 6
    assert secret not in str(told)
