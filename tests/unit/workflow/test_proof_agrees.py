"""The proof agrees with the engine: whatever a net does when it runs, the proof has foreseen."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.firing import Run
from actors.workflow.core.proof.abstracting import Abstract, abstracted
from actors.workflow.core.proof.checking import check
from actors.workflow.core.proof.counting import EXECUTIONS, count
from actors.workflow.core.proof.exploring import Explored, explore
from actors.workflow.core.proof.findings import NetFindings
from actors.workflow.core.proof.guarding import Guard, verdicts
from actors.workflow.core.proof.moving import Moves
from actors.workflow.core.proof.outcomes import check_markings
from actors.workflow.core.proof.structure import check_structure
from actors.workflow.core.rules import guard as engine_guard
from actors.workflow.core.scratch import apply
from actors.workflow.core.standing import standing
from actors.workflow.core.steps import (
    ActionAgain,
    ActionBegun,
    Fired,
    Moved,
    PlaceAgentBegun,
)
from actors.workflow.core.timing import due
from actors.workflow.core.tokens import Marking, NetToken
from schemas.nets import (
    AgentRetryConfig,
    AgentTransitionConfig,
    ErrorPolicy,
    FieldEquals,
    FieldExists,
    FieldGreaterThan,
    Fork,
    Join,
    NetDefinition,
    NotRule,
    PlaceAgentConfig,
    PlaceDefinition,
    PlaceTimeout,
    TransitionDefinition,
)
from schemas.problems import Problem
from schemas.steps import at_once

NOW = datetime(2026, 12, 1, tzinfo=UTC)
INNER = ("p1", "p2", "p3", "p4")
PLACES: tuple[str, ...] = ("p0", *INNER, "end")
MOST = 3
MOST_MOVES = 1_500
MOST_STEPS = 12

FAILED = Problem(code="timeout", message="too late", retryable=True)

RULES = st.sampled_from(
    [
        FieldEquals(field="data.x", value=1),
        NotRule(rule=FieldEquals(field="data.x", value=1)),
        FieldGreaterThan(field="x", value=0),
        FieldExists(field="metadata.y"),
        FieldEquals(field="counters.t0", value=1),
    ]
)

ANSWERS = st.fixed_dictionaries(
    {
        "output": st.fixed_dictionaries(
            {
                "x": st.sampled_from([0, 1, 2, "a", None]),
                "l": st.sampled_from([[], [1], list(range(MOST))]),
            }
        )
    }
)


@st.composite
def _actions(draw: st.DrawFn) -> AgentTransitionConfig | None:
    if draw(st.booleans()):
        return None
    return AgentTransitionConfig(
        agent_id="a",
        required=draw(st.booleans()),
        retry_config=draw(st.sampled_from([None, AgentRetryConfig(max_attempts=2)])),
        output_mapping={"data.x": "output.x", "data.l": "output.l"},
    )


@st.composite
def _transitions(draw: st.DrawFn, name: str) -> TransitionDefinition:
    kind = draw(st.sampled_from(["any", "any", "any", "all", "fork", "join", "split"]))
    least = 2 if kind == "all" else 1
    sources: list[str] = draw(
        st.lists(st.sampled_from(PLACES[:-1]), min_size=least, max_size=2, unique=True)
    )
    targets: list[str] = draw(st.lists(st.sampled_from(PLACES), min_size=2, max_size=2))
    policy = draw(
        st.sampled_from(
            [ErrorPolicy(), ErrorPolicy(then="pause"), ErrorPolicy(then="route", to_place="end")]
        )
    )
    join = Join(
        need=draw(st.sampled_from([None, 1, 2])),
        deadline_seconds=draw(st.sampled_from([None, 60.0])),
        least=1,
    )
    fork = Fork(over="data.l", most=MOST, empty_to=draw(st.sampled_from([None, "p1", "end"])))
    return TransitionDefinition(
        id=name,
        from_places=sources,
        to_place=None if kind == "split" else targets[0],
        to_places=targets if kind == "split" else [],
        as_group=kind == "split" and draw(st.booleans()),
        mode="all" if kind == "all" else "any",
        manual=draw(st.integers(0, 5)) == 0,
        priority=draw(st.integers(0, 1)),
        most=1 if name == "t0" else draw(st.sampled_from([None, 1, 2])),
        rules=draw(st.lists(RULES, max_size=2)),
        fork=fork if kind == "fork" else None,
        join=join if kind == "join" else None,
        action=draw(_actions()),
        on_error=policy,
    )


@st.composite
def _nets(draw: st.DrawFn) -> NetDefinition:
    def place(name: str) -> PlaceDefinition:
        timeout = PlaceTimeout(seconds=5, to_place=draw(st.sampled_from(PLACES)))
        agent = PlaceAgentConfig(
            agent_id="b", required=False, output_mapping={"data.x": "output.x"}
        )
        return PlaceDefinition(
            id=name,
            type="initial" if name == "p0" else "normal",
            capacity=draw(st.sampled_from([None, None, None, 1, 2])),
            timeout=timeout if draw(st.integers(0, 6)) == 0 else None,
            agents=[agent] if draw(st.integers(0, 6)) == 0 else [],
        )

    count = draw(st.integers(2, 7))
    leaves = TransitionDefinition(id="leave", from_places=[*INNER], to_place="end", priority=-1)
    return NetDefinition(
        places=[*map(place, PLACES[:-1]), PlaceDefinition(id="end", type="terminal")],
        transitions=[*(draw(_transitions(f"t{number}")) for number in range(count)), leaves],
        most_tokens=draw(st.sampled_from([4, 1000])),
    )


class _Concrete:
    """A run of the engine: its marking, and all that it has done."""

    def __init__(self, net: NetDefinition, draw: st.DataObject) -> None:
        self.net, self.draw = CompiledNet(net), draw
        self.marking, self.now = Marking(), NOW
        self.count = 0
        self.fired, self.entered, self.executions = set[str](), set[str](), 0
        data = draw.draw(ANSWERS)["output"]
        self._do(lambda run: run.begin(data, draw.draw(st.sampled_from([{}, {"y": 1}]))))

    def step(self) -> bool:
        """Let something happen from outside; say whether anything could."""
        choices = [
            ("finish", name) for name, one in self.marking.firings.items() if not one.problem
        ]
        choices += [("fail", name) for _, name in choices]
        choices += [("skip", name) for name, one in self.marking.firings.items() if one.is_paused]
        choices += [("fire", one.id) for one in self.net.ranked if not one.auto]
        at = due(self.net, self.marking)
        choices += [("tick", "")] if at is not None else []
        if not choices or self.marking.problem is not None:
            return False
        self.count += 1
        what, name = self.draw.draw(st.sampled_from(choices))
        if what == "finish":
            answer = self.draw.draw(ANSWERS)
            self._do(lambda run: run.finish(name, answer))
        elif what == "fail":
            self._do(lambda run: run.fail(name, FAILED))
        elif what == "skip":
            self._do(lambda run: run.skip(name))
        elif what == "fire":
            self._do(lambda run: run.fire(name))
        else:
            self.now = at or self.now
            self._do(Run.event)
        return True

    @property
    def is_quiet(self) -> bool:
        """Whether nothing runs, and nothing has failed."""
        marking = self.marking
        return marking.problem is None and not marking.firings and not marking.more

    def lying(self, names: list[str]) -> tuple[tuple[int, int], ...]:
        """Return how many tokens lie where, by the numbers of the places."""
        places = (names.index(one.place) for one in self.marking.tokens.values())
        return tuple(sorted(Counter(n for n in places if names[n] != "end").items()))

    def _do(self, what: Any) -> None:
        run = Run(self.net, self.marking, self.now)
        what(run)
        run.advance()
        event = run.event()
        if event is None:
            return
        for step in event.steps:
            self._note(step)
        self.marking = apply(self.marking, event)

    def _note(self, step: Any) -> None:
        match step:
            case Moved() | Fired() | ActionBegun():
                self.fired.add(step.transition)
            case _:
                pass
        # What is refused before it asks anything begins without a request.
        if isinstance(step, PlaceAgentBegun | ActionAgain) or getattr(step, "request", None):
            self.executions += 1
        if isinstance(step, Moved):
            self.entered.add(step.place)
        for change in getattr(step, "puts", ()):
            self.entered |= {change.place} - {None}


def _searched(net: Abstract, *, full: bool) -> Explored:
    """Return all markings, if they are few; ``full``: every move of each is looked at."""
    steps = Moves.steps
    try:
        Moves.steps = Moves.all_steps if full else steps
        explored = at_once(explore(net, net.initial, MOST_MOVES))
    finally:
        Moves.steps = steps
    # Beside a net that is refused for its crowd, tokens take room from each other.
    assume(explored.complete and explored.crowded is None)
    return explored


def _abstracted(net: NetDefinition) -> Abstract:
    found = NetFindings()
    check_structure(net, found)
    assume(not found.refused)
    return abstracted(net)


def _places(explored: Explored) -> set[tuple[tuple[int, int], ...]]:
    found: set[tuple[tuple[int, int], ...]] = set()
    for state in explored.states:
        lying = Counter[int]()
        for token, times in state.tokens:
            lying[token.place] += times
        found.add(tuple(sorted(lying.items())))
    return found


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    deadline=None,
)
@given(_nets(), st.data())
def test_every_run_of_the_engine_is_one_that_the_proof_has_seen(
    net: NetDefinition, data: st.DataObject
):
    abstract = _abstracted(net)
    explored = _searched(abstract, full=False)
    most = at_once(count(explored)).most[EXECUTIONS]
    names = [place.id for place in net.places]
    seen = _places(_searched(abstract, full=True))
    run = _Concrete(net, data)
    while run.count < MOST_STEPS and run.step():
        assert run.executions <= most
        if run.is_quiet:
            assert run.lying(names) in seen
    assert run.fired <= {net.transitions[number].id for number in explored.fired}
    assert run.entered <= {names[number] for number in explored.entered}
    if standing(run.net, run.marking) == "deadlock":
        assert not check(net).sound


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    deadline=None,
)
@given(_nets())
def test_looking_at_a_few_moves_finds_what_looking_at_all_does(net: NetDefinition):
    abstract = _abstracted(net)
    few, every = _searched(abstract, full=False), _searched(abstract, full=True)
    found = NetFindings()
    check_markings(net, few, found)
    # What others do beside a token that goes round for ever need not be seen: the net is refused.
    assume("livelock" not in {one.code for one in found.all()})

    assert _ends(few) == _ends(every)
    assert few.entered == every.entered
    assert few.fired == every.fired
    ours, theirs = at_once(count(few)), at_once(count(every))
    assert ours.most[EXECUTIONS] == theirs.most[EXECUTIONS]


def _ends(explored: Explored) -> set[Any]:
    return {explored.states[number] for number, edges in enumerate(explored.edges) if not edges}


DATA = st.dictionaries(
    st.sampled_from(["x", "y", "z"]), st.sampled_from([0, 1, 2, 0.5, "a", "ab", [1], True, None])
)


@given(st.lists(st.lists(RULES, max_size=3), min_size=1, max_size=3), DATA, DATA)
def test_what_guards_say_of_a_token_is_one_of_what_they_may_say(
    rules: list[list[Any]], data: dict[str, Any], metadata: dict[str, Any]
):
    token = NetToken(
        id="1", place="p0", since=NOW, data=data, metadata=metadata, counters={"t0": 1}
    )
    told = tuple(engine_guard(some)(token) for some in rules)
    found = verdicts([Guard(some) for some in rules], PlaceDefinition(id="p0"), {"t0": 1})

    assert found is not None
    assert told in found
