"""Nets that are made to keep the proof busy end within its bounds, as not proved."""

from collections.abc import Callable
from itertools import count

import pytest

from actors.workflow.core.proof.checking import check, check_steps
from actors.workflow.core.proof.exploring import MOST_MOVES
from schemas.net_builder import NetBuilder, all_of, any_of, field, negated
from schemas.nets import (
    MOST_PLACES,
    MOST_TRANSITIONS,
    Fork,
    Join,
    NetDefinition,
    Rule,
    TransitionDefinition,
)
from schemas.steps import begun
from schemas.workflows import NetProof
from tests.unit.workflow.nets import agent

MOST_PAUSES = 20_000


def _mesh() -> NetDefinition:
    """As many places as may be, each tied to three others, with counters."""
    net = NetBuilder().place("p0", "initial").place("end", "terminal")
    for number in range(1, MOST_PLACES - 1):
        net.place(f"p{number}")
    free = MOST_TRANSITIONS - 1
    for number in range(free):
        source, target = number % (MOST_PLACES - 1), (number * 7 + 1) % (MOST_PLACES - 1)
        net.transition(
            f"t{number}", f"p{source}", f"p{target}", most=100, when=["data.x == 1"], action=agent()
        )
    return net.transition("out", "p0", "end", priority=-1).build()


def _crowd() -> NetDefinition:
    """Forks within forks, whose tokens take one of many ways and meet others."""
    net = NetBuilder().place("begin", "initial").place("end", "terminal")
    for number in range(4):
        net.place(f"w{number}", capacity=500)
    net.transition("one", "begin", "w0", fork=Fork(over="data.l", most=400, empty_to="end"))
    for number in range(3):
        for way in range(2):
            net.transition(
                f"t{number}_{way}",
                f"w{number}",
                f"w{number + 1}",
                when=[field("data.x").equals(way)] if way else [],
                most=1,
            )
    net.transition("join", "w3", "end", join=Join(need=3, deadline_seconds=5))
    return net.build()


def _deep_rules() -> NetDefinition:
    """Guards of many fields, nested as deep as a definition may be."""
    rule: Rule = field("data.f0").equals(0)
    for number in range(40):
        other = field(f"data.f{number % 20}") > number
        rule = negated(any_of(rule, all_of(other, rule))) if number < 5 else negated(rule)
    net = NetBuilder().place("begin", "initial").place("end", "terminal")
    for number in range(64):
        net.transition(f"t{number}", "begin", "end", when=[rule], priority=number)
    return net.transition("else", "begin", "end").build()


def _many_ways() -> NetDefinition:
    """Members side by side, each of which ends in one of two places, so that all pairs differ."""
    net = NetBuilder().place("begin", "initial").place("end", "terminal")
    split = [f"m{number}" for number in range(32)]
    for one in split:
        net.place(one).place(f"{one}_good").place(f"{one}_bad")
        net.transition(f"{one}_a", one, f"{one}_good", when=[field("data.x").exists()], priority=1)
        net.transition(f"{one}_b", one, f"{one}_bad")
        net.transition(f"{one}_c", [f"{one}_good", f"{one}_bad"], "end", manual=True, mode="all")
    return net.transition("split", "begin", split).build()


HOSTILE = [_mesh, _crowd, _many_ways]


def _bounded(net: NetDefinition) -> NetProof:
    steps = check_steps(net)
    for pauses in count():
        assert pauses < MOST_PAUSES
        done = begun(steps)
        if done is not None:
            return done.result
    raise AssertionError


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__.strip("_"))
def test_a_hostile_net_ends_within_bounds_as_not_proved(make: Callable[[], NetDefinition]):
    proof = _bounded(make())

    assert proof.markings <= MOST_MOVES
    assert "too_large" in {one.code for one in proof.findings if one.severity == "unproved"}
    assert proof.executions is None
    assert proof.agents == {}
    assert not proof.sound


def test_rules_of_which_too_much_may_hold_are_taken_to_hold_or_not():
    net = _deep_rules()
    without_default = NetDefinition(places=net.places, transitions=net.transitions[:-1])

    assert check(net).sound
    assert [one.code for one in check(without_default).findings] == ["may_stick"]


def test_a_long_run_is_told_by_its_end():
    net = NetBuilder().place("begin", "initial").place("end", "terminal").place("other")
    net.transition("again", "begin", "begin", most=100, when=["data.x == 1"])
    net.transition("in", "begin", "other", when=["counters.again >= 100"], priority=1)
    net.transition("both", ["other", "begin"], "end", mode="all").transition(
        "out", "begin", "end", priority=-1
    )
    (found,) = [one for one in check(net.build()).findings if one.code == "deadlock"]

    assert found.witness[0] == "…"
    assert found.witness[-1] == "in"
    assert len(found.witness) == 65


def test_a_hundred_findings_are_enough():
    places = [f"p{number}" for number in range(200)]
    net = NetBuilder().place("begin", "initial")
    for name in places:
        net.place(name)
    spoilt = net.transition("t", "begin", "p0").build()

    assert len(check(spoilt).findings) == 100
    assert isinstance(spoilt.transitions[0], TransitionDefinition)
