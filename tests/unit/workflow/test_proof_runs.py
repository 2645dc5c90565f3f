"""What is wrong with the runs of a net is found, with a run that shows it."""

import pytest

from actors.workflow.core.proof.checking import check
from schemas.net_builder import NetBuilder, field
from schemas.nets import (
    AgentRetryConfig,
    ErrorPolicy,
    EventTrigger,
    Fork,
    HumanAction,
    Join,
    NetDefinition,
    PlaceAgentConfig,
    PlaceAgentSchedule,
    PlaceTimeout,
    RunBudget,
    ToolAction,
    TransformAction,
)
from tests.unit.workflow.nets import agent, found, named

GOOD = field("data.score") > 0.8
BAD = field("data.score") < 0.2


def _ends(start: str = "begin") -> NetBuilder:
    return NetBuilder().place(start, "initial").place("end", "terminal")


def _parallel(*, joined: bool = True) -> NetBuilder:
    """Return a net that splits into two branches, which come together again."""
    net = _ends().place("a").place("b").place("a_done").place("b_done")
    net.transition("split", "begin", ["a", "b"]).transition("do_a", "a", "a_done", action=agent())
    net.transition("do_b", "b", "b_done", action=agent())
    if joined:
        net.transition("join", ["a_done", "b_done"], "end", mode="all")
    return net


def _no_way_out() -> NetDefinition:
    return (
        _ends()
        .place("x")
        .transition("in", "begin", "x")
        .transition("wait", ["x", "end_of_other"], "end", mode="all")
        .place("end_of_other")
        .build()
    )


def _waits_for_ever() -> NetDefinition:
    net = (
        NetBuilder()
        .place("begin", "initial")
        .place("x", "waiting")
        .place("other")
        .place("end", "terminal")
    )
    net.transition("in", "begin", "x")
    return net.transition("both", ["x", "other"], "end", mode="all").build()


def _branch_that_leaves() -> NetDefinition:
    return _parallel().transition("give_up", "a", "end", when=[BAD], priority=1).build()


def _loop_that_grows() -> NetDefinition:
    return (
        _ends()
        .place("more")
        .transition("grow", "begin", ["begin", "more"], manual=True)
        .transition("leave", "more", "end")
        .transition("stop", "begin", "end", manual=True)
        .place("kept")
        .transition("keep", "more", "kept", when=[GOOD], priority=1)
        .transition("drop", "kept", "end", manual=True)
        .build()
    )


def _ring() -> NetDefinition:
    return (
        _ends()
        .place("a")
        .place("b")
        .transition("in", "begin", "a")
        .transition("there", "a", "b", action=HumanAction(title="Look"))
        .transition("back", "b", "a")
        .transition("out", "begin", "end", when=[GOOD], priority=1)
        .build()
    )


def _spin() -> NetDefinition:
    return (
        _ends()
        .place("a")
        .transition("in", "begin", "a")
        .transition("there", "a", "begin", when=[GOOD])
        .transition("out", "a", "end")
        .build()
    )


def _capacity() -> NetDefinition:
    return (
        _ends()
        .place("desk", capacity=1)
        .place("a")
        .place("b")
        .transition("split", "begin", ["a", "b"])
        .transition("one", "a", "desk")
        .transition("two", "b", "desk")
        .transition("both", ["desk", "b"], "end", mode="all")
        .build()
    )


def _shadowed() -> NetDefinition:
    return _ends().transition("always", "begin", "end").transition("never", "begin", "end").build()


def _stick() -> NetDefinition:
    return _ends().transition("good", "begin", "end", when=[GOOD]).build()


def _exhausted() -> NetDefinition:
    return (
        _ends()
        .transition("again", "begin", "begin", most=2, action=agent(), when=["data.x == 1"])
        .transition("once", "begin", "begin", most=1, priority=-1, action=agent())
        .place("other")
        .transition("out", "other", "end")
        .build()
    )


def _paid_loop() -> NetDefinition:
    return (
        _ends()
        .transition("out", "begin", "end", when=[GOOD], priority=1)
        .transition("again", "begin", "begin", action=agent())
        .build()
    )


def _cascade() -> NetDefinition:
    first = PlaceAgentConfig(agent_id="one", auto_transition="on")
    second = PlaceAgentConfig(agent_id="two", auto_transition="back")
    return (
        _ends()
        .place("a", agents=[first])
        .place("b", agents=[second])
        .transition("in", "begin", "a")
        .transition("on", "a", "b", manual=True)
        .transition("back", "b", "a", manual=True)
        .transition("out", "b", "end", when=[GOOD], priority=1)
        .build()
    )


def _join_of_too_few() -> NetDefinition:
    return (
        _ends()
        .place("a")
        .place("b")
        .transition("in", "begin", "a", fork=Fork(over="data.l", most=3, empty_to="end"))
        .transition("on", "a", "b", action=agent())
        .transition("take", "b", "end", join=Join(need=4))
        .build()
    )


def _group_that_leaks() -> NetDefinition:
    return (
        _ends()
        .place("a")
        .place("b")
        .place("c")
        .transition("in", "begin", "a", fork=Fork(over="data.l", most=3, empty_to="end"))
        .transition("on", "a", "b", action=agent())
        .transition("off", "a", "c", when=[BAD], priority=1)
        .transition("take", "b", "end", join=Join())
        .transition("pair", ["c", "begin"], "end", mode="all")
        .build()
    )


def _too_many() -> NetDefinition:
    return (
        _ends()
        .place("a")
        .transition("in", "begin", "a", fork=Fork(over="data.l", most=8, empty_to="end"))
        .transition("on", "a", "end")
        .build(most_tokens=4)
    )


RUNS = [
    ("a partner that never comes", _no_way_out(), "deadlock", "net.places.2", "in"),
    (
        "a branch that leaves its partner",
        _branch_that_leaves(),
        "deadlock",
        "net.places.5",
        "give_up",
    ),
    ("a loop that leaves tokens", _loop_that_grows(), "unbounded", None, "grow"),
    ("a ring without a way out", _ring(), "livelock", None, "in"),
    ("a loop without an action", _spin(), "spins", None, "there"),
    ("room that never comes", _capacity(), "deadlock", None, "split"),
    (
        "a transition that is always late",
        _shadowed(),
        "unreachable_transition",
        "net.transitions.1",
        None,
    ),
    ("guards that need not hold", _stick(), "may_stick", "net.places.0", "(begin keeps it)"),
    ("most that is used up", _exhausted(), "deadlock", "net.places.0", "once"),
    ("no run that ends", _waits_for_ever(), "no_completion", "net.places", None),
    ("a place that none comes to", _exhausted(), "unreachable_place", "net.places.1", None),
    ("a loop that costs", _paid_loop(), "unbounded_loop", "net.transitions.1.most", "again"),
    ("a cascade without a bound", _cascade(), "unbounded_loop", "net.transitions.2.most", "back"),
    (
        "a join of more than there are",
        _join_of_too_few(),
        "join_never",
        "net.transitions.2.join.need",
        None,
    ),
    ("a group that loses a token", _group_that_leaks(), "deadlock", "net.places.4", "off"),
    ("more tokens than are allowed", _too_many(), "too_many_tokens", "net.most_tokens", None),
]


@pytest.mark.parametrize(
    ("net", "code", "path", "step"), [case[1:] for case in RUNS], ids=[c[0] for c in RUNS]
)
def test_what_is_wrong_with_runs_is_found(
    net: NetDefinition, code: str, path: str | None, step: str | None
):
    told = [one for one in found(net) if one.code == code]

    assert told, found(net)
    assert path is None or told[0].path == path
    assert step is None or step in told[0].witness


def test_branches_that_come_together_are_sound():
    proof = check(_parallel().build())

    assert proof.sound
    assert proof.executions == 2


def test_a_default_makes_guards_sound_and_so_do_those_of_which_one_must_hold():
    low = field("data.score") < 0.8
    schema = {
        "properties": {"score": {"type": "number"}},
        "required": ["score"],
    }
    default = (
        _ends()
        .transition("good", "begin", "end", when=[GOOD], priority=1)
        .transition("else", "begin", "end")
    )
    equal = field("data.score").equals(0.8)
    covered = NetBuilder().place("begin", "initial", data_schema=schema).place("end", "terminal")
    for number, rule in enumerate((GOOD, low, equal)):
        covered.transition(f"t{number}", "begin", "end", when=[rule])

    assert check(default.build()).sound
    assert check(covered.build()).sound
    assert [one.code for one in found(_stick())] == ["may_stick"]


def test_a_timeout_or_a_person_lets_a_token_out():
    late = NetBuilder().place("begin", "initial", timeout=PlaceTimeout(seconds=9, to_place="end"))
    late.place("end", "terminal").transition("good", "begin", "end", when=[GOOD])
    person = (
        _ends()
        .transition("good", "begin", "end", when=[GOOD])
        .transition("by_hand", "begin", "end", manual=True)
    )

    assert check(late.build()).sound
    assert check(person.build()).sound


def test_the_bound_counts_loops_attempts_members_and_agents_of_places():
    retry = AgentRetryConfig(max_attempts=3)
    again = PlaceAgentSchedule(interval_seconds=60, max_executions=4)
    watcher = PlaceAgentConfig(agent_id="watcher", schedule=again)
    net = (
        NetBuilder()
        .place("begin", "initial")
        .place("work")
        .place("done", agents=[watcher])
        .place("all")
        .place("end", "terminal")
        .transition("fork", "begin", "work", fork=Fork(over="data.l", most=5, empty_to="end"))
        .transition("do", "work", "done", action=agent(retry_config=retry))
        .transition("join", "done", "all", join=Join())
        .transition("again", "all", "all", most=2, when=[GOOD], priority=1, action=agent("critic"))
        .transition("look", "all", "end", action=ToolAction(server="s", tool="t"))
        .build()
    )
    proof = check(net)

    assert proof.sound, proof.findings
    assert proof.agents == {"writer": 15, "watcher": 20, "critic": 2}
    assert proof.executions == 37
    assert proof.tools == {"s/t": 1}
    assert proof.tool_calls == 1


def test_a_counter_in_a_guard_bounds_a_loop_too():
    net = (
        _ends()
        .transition(
            "again",
            "begin",
            "begin",
            most=9,
            when=["counters.again < 3"],
            priority=1,
            action=agent(),
        )
        .transition("out", "begin", "end")
        .build()
    )

    assert check(net).executions == 3


def test_a_budget_or_a_person_makes_an_endless_loop_a_warning():
    by_hand = (
        _ends()
        .transition("out", "begin", "end", manual=True)
        .transition("again", "begin", "begin", manual=True, action=agent())
    )
    proof = check(by_hand.build())

    assert [one.severity for one in proof.findings] == ["warning"]
    assert proof.executions is None
    assert [one.severity for one in found(_paid_loop()) if one.code == "unbounded_loop"] == [
        "error"
    ]
    kept = (
        _ends()
        .transition("out", "begin", "end", when=[GOOD], priority=1)
        .transition("again", "begin", "begin", action=agent())
    )
    budgeted = check(kept.build(budget=RunBudget(limit_pico=10)))
    assert [one.severity for one in budgeted.findings] == ["warning"]


def test_a_route_for_errors_is_a_way_like_any_other():
    net = (
        _parallel(joined=False)
        .place("wrong", "error")
        .transition(
            "risky",
            "a_done",
            "end",
            action=agent(),
            on_error=ErrorPolicy(then="route", to_place="wrong"),
        )
        .transition("also", "b_done", "end", action=TransformAction(values={"data.x": 1}))
        .build()
    )

    assert check(net).sound


def test_a_token_that_a_trigger_puts_is_not_waited_for_in_vain():
    put = EventTrigger(
        id="paid", subject="bank.paid", does="put_token", place="paid", key="event.order"
    )
    net = _ends().place("paid").transition("ship", ["begin", "paid"], "end", mode="all")

    assert ("deadlock", "net.places.0") in named(net.build())
    assert check(net.trigger(put).build()).sound


def test_counters_that_nothing_depends_on_any_more_are_forgotten():
    net = _ends().place("second")
    net.transition("first", "begin", "begin", most=50, when=["data.x == 1"], priority=1)
    net.transition("on", "begin", "second")
    net.transition("again", "second", "second", most=50, when=["data.x == 1"], priority=1)
    proof = check(net.transition("out", "second", "end").build())

    assert proof.sound
    assert proof.markings == 51 + 51 + 1


def test_a_place_for_errors_is_reached_by_a_failure_alone():
    route = ErrorPolicy(then="route", to_place="wrong")
    net = _ends().place("wrong", "error").transition("do", "begin", "end", action=agent())
    routed = (
        _ends()
        .place("wrong", "error")
        .transition("do", "begin", "end", action=agent(), on_error=route)
    )

    assert named(net.build()) == [("unreachable_place", "net.places.2")]
    assert check(routed.build()).sound
