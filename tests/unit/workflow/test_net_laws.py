"""Laws of nets: they agree with SNAKES, nothing is lost, and what was done can be done again."""

from collections import Counter
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.workflow.core import firing, running
from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.enabling import binding
from actors.workflow.core.firing import Run
from actors.workflow.core.scratch import Scratch, apply
from actors.workflow.core.steps import ActionBegun, Fired, Moved
from actors.workflow.core.tokens import Marking
from schemas.problems import Problem, ProblemCode
from tests.nets import BEGAN, Instance, net
from tests.petri import nets

MOST_MARKINGS = 25
MOST_TOKENS = 6

Counts = tuple[int, ...]


# Beside SNAKES


@st.composite
def plain_nets(draw: st.DrawFn) -> dict[str, Any]:
    """Draw places and transitions, at most twelve together, and how many tokens lie where."""
    places = [f"p{at}" for at in range(draw(st.integers(1, 6)))]
    some = st.lists(st.sampled_from(places), max_size=3)
    transitions = [
        {
            "id": f"t{at}",
            "from_places": draw(st.lists(st.sampled_from(places), min_size=1, unique=True)),
            "to_places": draw(some),
            "mode": draw(st.sampled_from(["any", "all"])),
            "manual": True,
        }
        for at in range(draw(st.integers(1, 6)))
    ]
    counts = draw(st.lists(st.integers(0, 2), min_size=len(places), max_size=len(places)))
    return {"places": places, "transitions": transitions, "counts": tuple(counts)}


@settings(max_examples=40, deadline=None)
@given(plain_nets())
def test_plain_nets_agree_with_snakes(drawn: dict[str, Any]):
    compiled = net([{"id": each} for each in drawn["places"]], *drawn["transitions"])
    theirs = Theirs(drawn)
    seen, pending = {drawn["counts"]}, [drawn["counts"]]
    while pending and len(seen) < MOST_MARKINGS:
        counts = pending.pop()
        reached = _reached(compiled, drawn["places"], counts)

        assert reached == theirs.reached(counts)

        fresh = {after for each in reached.values() for after in each} - seen
        fresh = {each for each in fresh if sum(each) <= MOST_TOKENS}
        seen |= fresh
        pending += sorted(fresh)


def _reached(compiled: CompiledNet, places: list[str], counts: Counts) -> dict[str, set[Counts]]:
    """Return the markings to which each enabled transition leads."""
    run = Run(compiled, Marking(), BEGAN)
    for place, count in zip(places, counts, strict=True):
        for _ in range(count):
            run.put(place, {}, {})
    event = run.event()
    marking = Marking() if event is None else apply(Marking(), event)
    found: dict[str, set[Counts]] = {}
    for transition in compiled.by_id:
        for token in marking.tokens:
            run = Run(compiled, marking, BEGAN)
            if run.fire(transition, token) is None:
                after = Counter(each.place for each in run.scratch.tokens.values())
                found.setdefault(transition, set()).add(tuple(after[each] for each in places))
        enabled = binding(compiled, Scratch(marking, BEGAN), compiled.by_id[transition])
        assert (enabled is not None) == (transition in found)
    return found


class Theirs:
    """The same net in SNAKES, where a transition that takes any token is one for each place."""

    def __init__(self, drawn: dict[str, Any]) -> None:
        self.places = drawn["places"]
        self.net = nets.PetriNet("drawn")
        self.names: dict[str, str] = {}
        for place in self.places:
            self.net.add_place(nets.Place(place))
        for each in drawn["transitions"]:
            variants = [[one] for one in each["from_places"]]
            if each["mode"] == "all":
                variants = [each["from_places"]]
            for at, sources in enumerate(variants):
                self._add(f"{each['id']}_{at}", each["id"], sources, each["to_places"])

    def _add(self, name: str, of: str, sources: list[str], targets: list[str]) -> None:
        self.names[name] = of
        self.net.add_transition(nets.Transition(name))
        black = nets.Value(nets.dot)
        for source in sources:
            self.net.add_input(source, name, black)
        for target, count in Counter(targets).items():
            arc = black if count == 1 else nets.MultiArc([black] * count)
            self.net.add_output(target, name, arc)

    def reached(self, counts: Counts) -> dict[str, set[Counts]]:
        found: dict[str, set[Counts]] = {}
        for name, of in self.names.items():
            self._mark(counts)
            transition = self.net.transition(name)
            for mode in transition.modes():
                self._mark(counts)
                transition.fire(mode)
                after = tuple(len(self.net.place(each).tokens) for each in self.places)
                found.setdefault(of, set()).add(after)
        return found

    def _mark(self, counts: Counts) -> None:
        for place, count in zip(self.places, counts, strict=True):
            self.net.place(place).reset([nets.dot] * count)


# Nets with data, actions, forks and joins, under any order of events

KINDS = [
    "plain",
    "plain",
    "all",
    "fork",
    "fork",
    "join",
    "join",
    "agent",
    "agent",
    "tool",
    "set",
    "timer",
]
HAPPENINGS = [
    *("finish", "finish", "finish", "fail", "fail", "fire", "after", "retry", "skip"),
    *("put", "update"),
]
CODES: list[ProblemCode] = ["provider_error", "timeout"]
SOURCES = st.sampled_from(["a", "a", "b", "b", "c", "d"])
TARGETS = st.sampled_from(["b", "b", "c", "d", "end", "bad"])


def _guards() -> st.SearchStrategy[list[Any]]:
    rule = st.one_of(
        st.builds(
            lambda n: {"type": "field_less_than", "field": "data.n", "value": n}, st.integers(0, 9)
        ),
        st.builds(lambda n: {"type": "field_exists", "field": n}, st.sampled_from(["x", "data.n"])),
        st.just({"type": "not", "rule": {"type": "field_exists", "field": "metadata.stop"}}),
    )
    return st.one_of(st.just([]), st.just([]), st.lists(rule, max_size=2))


@st.composite
def transitions(draw: st.DrawFn, at: int) -> dict[str, Any]:
    """Draw a transition, of any kind there is."""
    made: dict[str, Any] = {
        "id": f"t{at}",
        "from_places": draw(st.lists(SOURCES, min_size=1, max_size=2, unique=True)),
        "to_places": draw(st.lists(TARGETS, min_size=1, max_size=2)),
        "rules": draw(_guards()),
        "priority": draw(st.integers(-1, 1)),
        "manual": draw(st.booleans()),
        "most": draw(st.sampled_from([1, 3, None])),
        "as_group": draw(st.booleans()),
    }
    kind = draw(st.sampled_from(KINDS))
    if kind == "all":
        made["mode"] = "all"
    elif kind == "fork":
        made["fork"] = {"over": "data.items", "most": 3, "empty_to": "end"}
    elif kind == "join":
        made["join"] = draw(st.sampled_from([{}, {"need": 2}, {"deadline_seconds": 5, "least": 2}]))
    elif kind == "plain":
        made["most"] = None
    else:
        made["action"] = draw(_actions(kind))
        if draw(st.booleans()):
            made["fork"] = {"over": "data.items", "most": 3, "empty_to": "end"}
        made["on_error"] = draw(
            st.sampled_from(
                [
                    {"then": "route", "to_place": "bad"},
                    {"then": "pause"},
                    {"then": "compensate"},
                    {"then": "compensate"},
                    {},
                ]
            )
        )
        made["compensation"] = draw(
            st.sampled_from([None, {"type": "tool", "server": "s", "tool": "undo"}])
        )
    return made


def _actions(kind: str) -> st.SearchStrategy[Any]:
    retries = {"max_attempts": 2, "backoff_seconds": 2, "retry_on_errors": ["timeout"]}
    more = {"timeout_seconds": 3, "retry_config": retries, "required": False}
    kinds: dict[str, Any] = {
        "agent": {
            "type": "agent",
            "agent_id": "a",
            "task": "{{data.n}}",
            "output_mapping": {"n": "n"},
        },
        "tool": {"type": "tool", "server": "s", "tool": "t", "output_mapping": {"items": "items"}},
        "set": {"type": "transform", "values": {"data.x": 1}, "expressions": {"n": "data.n + 1"}},
        "timer": {"type": "timer", "seconds": 2},
    }
    return st.sampled_from([kinds[kind], {**kinds[kind], **more}])


@st.composite
def stories(draw: st.DrawFn) -> tuple[CompiledNet, list[Any]]:
    """Draw a net and what happens to an instance of it."""
    agent = {"agent_id": "h", "trigger_conditions": [{"type": "field_exists", "field": "n"}]}
    places = [
        *("*a", "b"),
        {"id": "c", "timeout": {"seconds": 4, "to_place": "d"}},
        {"id": "d", "agents": [agent], "capacity": draw(st.sampled_from([None, 2]))},
        *("end!", {"id": "bad", "type": "error"}),
    ]
    drawn = [draw(transitions(at)) for at in range(draw(st.integers(3, 7)))]
    happens = st.tuples(
        st.sampled_from(HAPPENINGS),
        st.integers(0, 5),
    )
    return net(places, *drawn, most_tokens=12), draw(st.lists(happens, min_size=4, max_size=24))


@settings(max_examples=100, deadline=None)
@given(stories(), st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(1, 9))
def test_whatever_happens_the_laws_hold(
    story: tuple[CompiledNet, list[Any]], items: list[int], most: int
):
    compiled, happenings = story
    # A net without end ends early.
    with patch.object(firing, "MOST_HOPS", 40), patch.object(running, "MOST_HOPS", 40):
        instance = Instance(compiled)
        instance.do("begin", {"items": items, "n": 0}, {}, most=most)
        for what, which in happenings:
            _happen(instance, what, which)
    _check_steps(instance)
    marking = Marking()
    for event in instance.events:
        marking = apply(marking, event)

    assert marking == instance.marking
    assert instance.standing in {"running", "waiting", "completed", "failed", "deadlock"}


def _happen(instance: Instance, what: str, which: int) -> None:
    firings, tokens = [*instance.marking.firings], [*instance.marking.tokens]
    if what == "after":
        instance.after(which)
    elif what == "put":
        instance.do("put", "a", {"n": which, "items": [which]}, {})
    elif what == "fire":
        instance.do("fire", f"t{which}")
    elif what == "update" and tokens:
        instance.do("update", tokens[which % len(tokens)], sets={"data.n": which})
    elif what == "finish" and firings:
        instance.do("finish", firings[which % len(firings)], {"n": which, "items": [1, 2]})
    elif what == "fail" and firings:
        problem = Problem(code=CODES[which % 2], message="it failed")
        instance.do("fail", firings[which % len(firings)], problem)
    elif what in {"retry", "skip"} and firings:
        instance.do(what, firings[which % len(firings)])


def _check_steps(instance: Instance) -> None:
    """Go through all steps one by one: nothing disabled has fired, and nothing is twice."""
    scratch = Scratch(Marking(), BEGAN)
    for event in instance.events:
        scratch.at = event.at
        for step in event.steps:
            if isinstance(step, Moved | Fired | ActionBegun):
                taken = (step.token,) if isinstance(step, Moved) else step.taken
                _check_taken(instance.net, scratch, step.transition, taken)
            scratch.apply(step)
            held = [
                each.token.id
                for each in scratch.firings.values()
                if each.kind == "action" and each.token
            ]
            assert len({*held, *scratch.tokens}) == len(held) + len(scratch.tokens)
            assert len(scratch.tokens) + len(held) <= instance.net.definition.most_tokens


def _check_taken(
    compiled: CompiledNet, scratch: Scratch, name: str, taken: tuple[str, ...]
) -> None:
    transition = compiled.by_id[name]
    for each in taken:
        token = scratch.tokens[each]
        assert token.place in transition.sources
        assert each not in scratch.busy
        assert all(verdict.passed for verdict in transition.verdicts(token))
        assert token.counters.get(name, 0) < (transition.most or 1_000_000)
    if transition.definition.mode == "all" and transition.definition.join is None:
        assert {scratch.tokens[each].place for each in taken} == set(transition.sources)


# Nothing is lost in forks within forks


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=3), min_size=1, max_size=4),
    st.randoms(),
)
def test_the_weight_of_nested_groups_is_kept_until_they_are_joined(
    rows: list[list[int]], chance: Any
):
    agent = {"type": "agent", "agent_id": "a", "output_mapping": {"data.answer": "text"}}
    compiled = net(
        ["*in", "row", "cell", "done", "rows", "out!"],
        {"id": "rows", "arc": "in > row", "fork": {"over": "rows", "most": 4, "into": "data.row"}},
        {"id": "cells", "arc": "row > cell", "fork": {"over": "row", "most": 3}},
        {"id": "work", "arc": "cell > done", "action": agent},
        {"id": "row_done", "arc": "done > rows", "join": {"take": "answer", "into": "data.cells"}},
        {"id": "all_done", "arc": "rows > out", "join": {"take": "cells", "into": "data.all"}},
    )
    instance = Instance(compiled, {"rows": rows, "kept": True})
    while instance.marking.firings:
        assert _weight(instance) == 1
        firing = instance.marking.firings[chance.choice([*instance.marking.firings])]
        assert firing.token is not None
        instance.do("finish", firing.id, {"text": firing.token.data["item"] * 2})

    assert _weight(instance) == 1
    assert instance.token.data["all"] == [[each * 2 for each in row] for row in rows]
    assert instance.token.data["kept"] is True
    assert "rows" not in instance.token.data
    assert instance.standing == "completed"


def _weight(instance: Instance) -> Fraction:
    held = [each.token for each in instance.marking.firings.values() if each.token]
    total = Fraction(0)
    for token in [*instance.marking.tokens.values(), *held]:
        weight = Fraction(1)
        for mark in token.group:
            weight /= mark.size
        total += weight
    return total


def test_an_event_that_is_not_of_a_marking_is_refused():
    instance = Instance(net(["*a", "b!"], {"id": "go", "arc": "a > b", "manual": True}), {})
    instance.do("fire", "go")
    with pytest.raises(KeyError):
        apply(Marking(), instance.events[-1])
