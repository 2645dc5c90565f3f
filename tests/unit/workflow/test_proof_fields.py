"""What is written wrongly in a net is found, with the path of its field."""

from typing import Any

import pytest

from actors.workflow.core.proof.checking import check
from tests.unit.workflow.nets import named, spoilt

AGENT = {"type": "agent", "agent_id": "reviewer"}
RULE = {"type": "field_equals", "field": "data.label", "value": "good"}

FIELDS: list[tuple[str, str, Any, str]] = [
    ("no_initial", "places.0.type", "normal", "net.places"),
    ("several_initial", "places.1.type", "initial", "net.places.1.type"),
    ("duplicate_place", "places.3.id", "approved", "net.places.3.id"),
    ("duplicate_transition", "transitions.2.id", "approve", "net.transitions.2.id"),
    (
        "duplicate_trigger",
        "triggers.1",
        {"type": "event", "id": "arrives", "subject": "x"},
        "net.triggers.1.id",
    ),
    (
        "unknown_place",
        "transitions.0.from_places",
        ["desk"],
        "net.transitions.0.from_places.0",
    ),
    ("unknown_place", "transitions.1.to_place", "desk", "net.transitions.1.to_place"),
    (
        "unknown_place",
        "places.1.timeout",
        {"seconds": 1, "to_place": "desk"},
        "net.places.1.timeout.to_place",
    ),
    (
        "unknown_place",
        "transitions.0.fork",
        {"over": "data.l", "most": 2, "empty_to": "desk"},
        "net.transitions.0.fork.empty_to",
    ),
    (
        "duplicate_source",
        "transitions.1.from_places",
        ["review", "review"],
        "net.transitions.1.from_places.1",
    ),
    (
        "end_has_transition",
        "transitions.2.from_places",
        ["review", "approved"],
        "net.transitions.2.from_places.1",
    ),
    (
        "end_has_timeout",
        "places.2.timeout",
        {"seconds": 1, "to_place": "draft"},
        "net.places.2.timeout",
    ),
    ("end_has_agents", "places.2.agents", [{"agent_id": "writer"}], "net.places.2.agents"),
    ("dead_end", "places.3.type", "normal", "net.places.3"),
    ("no_target", "transitions.2.to_place", None, "net.transitions.2.to_place"),
    ("two_targets", "transitions.2.to_places", ["approved"], "net.transitions.2.to_places"),
    (
        "route_without_place",
        "transitions.0.on_error",
        {"then": "route"},
        "net.transitions.0.on_error.to_place",
    ),
    (
        "place_without_route",
        "transitions.0.on_error",
        {"then": "pause", "to_place": "rejected"},
        "net.transitions.0.on_error.to_place",
    ),
    (
        "nothing_to_compensate",
        "transitions.0.on_error",
        {"then": "compensate"},
        "net.transitions.0.on_error.then",
    ),
    ("never_compensated", "transitions.0.compensation", AGENT, "net.transitions.0.compensation"),
    (
        "auto_transition_elsewhere",
        "places.0.agents",
        [{"agent_id": "writer", "auto_transition": "approve"}],
        "net.places.0.agents.0.auto_transition",
    ),
    (
        "unknown_transition",
        "places.0.agents",
        [{"agent_id": "writer", "auto_transition": "leave"}],
        "net.places.0.agents.0.auto_transition",
    ),
    (
        "duplicate_agent",
        "places.0.agents",
        [{"agent_id": "writer", "id": "one"}, {"agent_id": "critic", "id": "one"}],
        "net.places.0.agents.1.id",
    ),
    (
        "no_interval",
        "places.0.agents",
        [{"agent_id": "writer", "schedule": {"max_executions": 3}}],
        "net.places.0.agents.0.schedule.interval_seconds",
    ),
    ("join_without_fork", "transitions.2.join", {}, "net.transitions.2.join"),
    (
        "two_actions",
        "transitions.0.agent_execution",
        {"agent_id": "x"},
        "net.transitions.0.agent_execution",
    ),
    ("agent_not_allowed", "agents", ["draft-*"], "net.transitions.0.action.agent_id"),
    (
        "unknown_transition",
        "budget",
        {"limit_pico": 1, "final": ["approve", "leave"]},
        "net.budget.final.1",
    ),
    (
        "bad_target",
        "transitions.0.action.output_mapping",
        {"place": "text"},
        "net.transitions.0.action.output_mapping",
    ),
    (
        "unknown_answer",
        "transitions.0.action.output_mapping",
        {"data.x": "answer.x"},
        "net.transitions.0.action.output_mapping",
    ),
    (
        "bad_template",
        "transitions.0.action.task",
        "Review {{data..title}}",
        "net.transitions.0.action.task",
    ),
    (
        "bad_schema",
        "transitions.0.action.answer_schema",
        {"type": "object", "properties": {"score": {"type": "numeral"}}},
        "net.transitions.0.action.answer_schema.properties.score.type",
    ),
    (
        "bad_schema",
        "places.0.data_schema",
        {"required": "title"},
        "net.places.0.data_schema.required",
    ),
    ("timer_choice", "transitions.0.action", {"type": "timer"}, "net.transitions.0.action"),
    (
        "bad_cron",
        "transitions.0.action",
        {"type": "timer", "cron": "61 * * * *"},
        "net.transitions.0.action.cron",
    ),
    (
        "bad_cron",
        "transitions.0.action",
        {"type": "timer", "cron": "* * * * * *"},
        "net.transitions.0.action.cron",
    ),
    (
        "bad_zone",
        "transitions.0.action",
        {"type": "timer", "cron": "0 9 * * *", "zone": "Europe/Atlantis"},
        "net.transitions.0.action.zone",
    ),
    (
        "no_deadline",
        "transitions.0.action",
        {"type": "human", "title": "Look", "escalate_to": ["lead"]},
        "net.transitions.0.action.timeout_seconds",
    ),
    (
        "bad_expression",
        "transitions.1.conditions",
        ["data.score > 0.1", "data.score >"],
        "net.transitions.1.conditions.1",
    ),
    (
        "bad_expression",
        "transitions.1.conditions",
        ["score > 0.1"],
        "net.transitions.1.conditions.0",
    ),
    (
        "bad_expression",
        "transitions.0.action",
        {"type": "transform", "expressions": {"data.x": "shell('ls')"}},
        "net.transitions.0.action.expressions.data.x",
    ),
    (
        "unknown_name",
        "transitions.1.conditions",
        ["event.x == 1"],
        "net.transitions.1.conditions.0",
    ),
    (
        "unknown_counter",
        "transitions.1.rules.0",
        {"type": "field_less_than", "field": "counters.submit", "value": 3},
        "net.transitions.1.rules.0",
    ),
    ("bad_expression", "triggers.0.condition", "event.", "net.triggers.0.condition"),
    ("trigger_key", "triggers.0.does", "fire", "net.triggers.0.key"),
    ("trigger_target", "triggers.0.does", "put_token", "net.triggers.0.place"),
    ("unknown_place", "triggers.0.place", "desk", "net.triggers.0.place"),
    (
        "bad_cron",
        "triggers.0",
        {"type": "cron", "id": "daily", "cron": "0 0 30 2 *"},
        "net.triggers.0.cron",
    ),
    (
        "bad_target",
        "triggers.0.data",
        {"id": "event.id"},
        "net.triggers.0.data",
    ),
]


@pytest.mark.parametrize(
    ("code", "field", "value", "path"), FIELDS, ids=[f"{case[0]}-{case[1]}" for case in FIELDS]
)
def test_what_is_written_wrongly_is_found_at_its_field(
    code: str, field: str, value: Any, path: str
):
    assert (code, path) in named(spoilt(field, value))


def test_the_net_that_is_spoilt_is_sound():
    proof = check(spoilt("most_tokens", 1_000))

    assert not proof.findings
    assert proof.sound
    assert proof.executions == 1


GUARDS: list[tuple[str, list[Any], str]] = [
    (
        "two values of one field",
        [RULE, {**RULE, "value": "bad"}],
        "net.transitions.1.rules",
    ),
    (
        "above and below",
        [
            {"type": "field_greater_than", "field": "data.score", "value": 0.8},
            {"type": "field_less_than", "field": "data.score", "value": 0.8},
        ],
        "net.transitions.1.rules",
    ),
    (
        "a rule and its negation",
        [{"type": "and", "rules": [RULE, {"type": "not", "rule": RULE}]}],
        "net.transitions.1.rules.0",
    ),
    ("one of none", [{"type": "or", "rules": []}], "net.transitions.1.rules.0"),
    (
        "another type than the schema's",
        [{"type": "field_contains", "field": "data.score", "value": "high"}],
        "net.transitions.1.rules.0",
    ),
    (
        "a bound of the schema",
        [{"type": "field_greater_than", "field": "data.score", "value": 1.5}],
        "net.transitions.1.rules.0",
    ),
    (
        "a field the schema has not",
        [{"type": "field_exists", "field": "data.grade"}],
        "net.transitions.1.rules.0",
    ),
    ("no choice of the schema", [{**RULE, "value": "fair"}], "net.transitions.1.rules.0"),
    (
        "another place",
        [{"type": "field_equals", "field": "place", "value": "draft"}],
        "net.transitions.1.rules.0",
    ),
    (
        "an id that is a number",
        [{"type": "field_greater_than", "field": "id", "value": 3}],
        "net.transitions.1.rules.0",
    ),
]


@pytest.mark.parametrize(
    ("rules", "path"), [case[1:] for case in GUARDS], ids=[c[0] for c in GUARDS]
)
def test_a_guard_that_never_holds_is_found(rules: list[Any], path: str):
    assert named(spoilt("transitions.1.rules", rules)) == [("never_holds", path)]


def test_a_bare_name_may_be_in_the_metadata_of_which_no_schema_is_known():
    rules = [{"type": "field_greater_than", "field": "score", "value": 1.5}]

    assert named(spoilt("transitions.1.rules", rules)) == []


def test_a_condition_that_is_constant_is_found():
    assert named(spoilt("transitions.1.conditions", ["1 > 2"])) == [
        ("never_holds", "net.transitions.1.conditions.0")
    ]


def test_an_agent_of_a_place_that_is_never_triggered_is_found():
    agents = [{"agent_id": "writer", "trigger_conditions": [{"type": "or", "rules": []}]}]

    assert named(spoilt("places.0.agents", agents)) == [
        ("never_holds", "net.places.0.agents.0.trigger_conditions")
    ]
