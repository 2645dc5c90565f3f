"""Patterns of teams are proved sound, with the bound on executions that their rules come to."""

import pytest

from actors.workflow.core.proof.checking import check
from actors.workflow.core.proof.pricing import PricedAgent, worst_case
from schemas.nets import NetDefinition, WorkflowAction
from schemas.workflows import NetProof
from tests.unit.workflow import teams
from tests.unit.workflow.nets import named, spoilt

TEAMS = [
    ("hierarchical", teams.hierarchical(4, 5, 3), 2 + 5 * 3),
    ("pipeline", teams.pipeline(6, 3), 6 * 3),
    ("collaborative", teams.collaborative(4, 2), (4 + 1) * 2),
    ("democratic", teams.democratic(5), 2 * 5 + 1),
    ("debate", teams.debate(3, 2), 3 * (1 + 2 * 2) + 1),
    ("handoff", teams.handoff(4, 3), 3 + 1),
    ("critic loop", teams.critic_loop(2), 1 + 2 * 2),
    ("group chat", teams.group_chat(4, 6), 2 * 6 + 1),
    ("hierarchical of 16", teams.hierarchical(16, 20, 3), 2 + 20 * 3),
    ("democratic of 16", teams.democratic(16), 2 * 16 + 1),
    ("debate of 16", teams.debate(16, 3), 16 * (1 + 2 * 3) + 1),
]


@pytest.mark.parametrize(("net", "most"), [c[1:] for c in TEAMS], ids=[c[0] for c in TEAMS])
def test_a_team_is_proved_sound_and_bounded(net: NetDefinition, most: int):
    proof = check(net)

    assert proof.findings == []
    assert proof.sound
    assert proof.executions == most


def test_a_team_whose_member_may_vanish_is_not_sound():
    net = teams.democratic(3)
    lost = [one for one in net.transitions if one.id != "vote_1_acts"]

    assert {code for code, _ in named(NetDefinition(places=net.places, transitions=lost))} == {
        "dead_end"
    }


# What it costs


def test_the_worst_case_takes_the_dearest_agents_up_to_the_bound():
    """Any of four workers may have all five subtasks, but together they have five."""
    proof = check(teams.hierarchical(4, 5, 1))
    prices = {"leader": 10, "worker_0": 1, "worker_1": 5, "worker_2": 2, "worker_3": 3}
    worst = worst_case(proof, prices)

    assert worst.pico == 2 * 10 + 5 * 5
    assert worst.lines[0] == PricedAgent("leader", 2, 10)
    assert [one.executions for one in worst.lines[1:]] == [5, 5, 5, 5]


def test_without_a_bound_or_a_price_there_is_no_worst_case():
    bounded = NetProof(executions=1, agents={"a": 1})

    assert worst_case(bounded, {"a": None}).pico is None
    assert worst_case(NetProof(executions=None), {"a": 5}).pico is None
    assert worst_case(NetProof(executions=0), {}).pico == 0


def test_what_children_cost_is_part_of_the_worst_case():
    proof = NetProof(executions=3, agents={"a": 1}, workflows={"child": 2})

    assert worst_case(proof, {"a": 5}).pico is None
    assert worst_case(proof, {"a": 5}, {"child": None}).pico is None
    assert worst_case(proof, {"a": 5}, {"child": 100}).pico == 205


def test_what_a_child_runs_counts_and_is_told_where_it_is_not_known():
    net = spoilt("transitions.0.action", {"type": "workflow", "workflow_id": "child"})
    child = NetProof(executions=7, tool_calls=2)

    assert isinstance(net.transitions[0].action, WorkflowAction)
    assert check(net).executions is None
    assert named(net) == [("unknown_child", "net.transitions")]
    assert check(net, {"child": child}).executions == 7
    assert check(net, {"child": child}).tool_calls == 2
    assert check(net).workflows == {"child": 1}
