"""Pictures of nets show what lies where, and survive whatever a definition says."""

from xml.etree import ElementTree as ET

from actors.workflow.core.drawing.mermaid import mermaid
from actors.workflow.core.drawing.svg import svg
from schemas.net_builder import NetBuilder
from schemas.nets import ErrorPolicy, EventAction, Fork, Join, PlaceTimeout
from tests.unit.workflow import teams
from tests.unit.workflow.nets import agent


def _net() -> NetBuilder:
    return (
        NetBuilder()
        .place("begin", "initial", timeout=PlaceTimeout(seconds=1, to_place="late"))
        .place("late", "error")
        .place("end", "terminal")
        .place("apart")
        .transition(
            "split",
            "begin",
            "begin",
            fork=Fork(over="data.l", most=3, empty_to="end"),
            action=agent(),
            on_error=ErrorPolicy(then="route", to_place="late"),
            most=2,
        )
        .transition(
            "wait", "begin", "end", manual=True, action=EventAction(subject="x.>"), join=Join()
        )
    )


def test_tokens_are_shown_where_they_lie():
    assert '  p0(["begin ●3"]):::marked' in mermaid(_net().build(), {"begin": 3}).splitlines()
    assert "begin ●3" in svg(_net().build(), {"begin": 3})
    assert "●" not in svg(_net().build())


def test_ways_that_are_not_the_usual_ones_say_why():
    text = mermaid(_net().build())

    assert "p0 -. times out .-> p1" in text
    assert "t0 -. fails .-> p1" in text
    assert "t0 -. none .-> p2" in text
    assert "agent writer, at most 2, fork, at most 3" in text
    assert 't1[/"wait<br/><small>event x.#62;, join</small>"/]' in text


def test_a_place_that_nothing_leads_to_is_drawn_and_an_unknown_one_left_out():
    net = _net().transition("lost", "nowhere", "elsewhere").build()
    root = ET.fromstring(svg(net))  # noqa: S314 - our own

    assert "apart" in {one.text for one in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "nowhere" not in mermaid(net)


def test_a_large_team_lies_in_layers_without_two_nodes_in_one_spot():
    root = ET.fromstring(svg(teams.debate(16, 2)))  # noqa: S314 - our own
    spots = [(one.get("x"), one.get("y")) for one in root.iter("{http://www.w3.org/2000/svg}rect")]

    assert (
        len(set(spots))
        == len(spots)
        == len(teams.debate(16, 2).places) + len(teams.debate(16, 2).transitions)
    )
