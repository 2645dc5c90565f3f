"""The circuit breaker: who keeps failing is left alone, then asked once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.resilience.scope import counts_against
from schemas.circuit import Circuit, Pass, Trip
from schemas.problems import Problem

TRIP = Trip(failures=3, share=0.5, window=30.0, pause=10.0, longest_pause=40.0)


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(TRIP)
    for call in [let_in(circuit, now) for _ in range(TRIP.failures)]:
        circuit.failed(call, now)
    return circuit


def let_in(circuit: Circuit, now: float) -> Pass:
    call = circuit.admit(now)
    assert call is not None
    return call


def test_a_circuit_is_closed_until_many_of_the_recent_calls_have_failed():
    circuit = Circuit(TRIP)

    states = []
    for _ in range(3):
        circuit.failed(let_in(circuit, 0.0), 0.0)
        states.append(circuit.state(0.0))

    assert states == ["closed", "closed", "open"]
    assert circuit.admit(9.9) is None
    assert circuit.wait(4.0) == 6.0


def test_failures_among_many_successes_do_not_open_it():
    circuit = Circuit(TRIP)
    for _ in range(10):
        circuit.succeeded(let_in(circuit, 0.0), 0.0)
    for _ in range(9):
        circuit.failed(let_in(circuit, 0.0), 0.0)

    assert circuit.state(0.0) == "closed"
    assert circuit.failures(0.0) == 9


def test_old_failures_are_forgotten():
    circuit = Circuit(TRIP)
    for now in (0.0, 1.0, 31.5):
        circuit.failed(let_in(circuit, now), now)

    assert circuit.state(31.5) == "closed"


def test_after_the_pause_exactly_one_probe_is_let_in():
    circuit = opened()

    assert circuit.state(10.0) == "half_open"
    assert circuit.admit(10.0) is not None
    assert [circuit.admit(now) for now in (10.0, 11.0, 1000.0)] == [None, None, None]


def test_a_probe_that_is_answered_closes_the_circuit_at_once():
    circuit = opened()
    probe = let_in(circuit, 10.0)

    circuit.answered(probe)

    assert circuit.state(10.0) == "closed"
    assert circuit.failures(10.0) == 0


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound():
    circuit, now, pauses = opened(), 10.0, list[float]()
    for _ in range(4):
        circuit.failed(let_in(circuit, now), now)
        pauses.append(circuit.wait(now))
        now += pauses[-1]

    assert pauses == [20.0, 40.0, 40.0, 40.0]


def test_a_probe_that_says_nothing_leaves_its_place_to_another():
    circuit = opened()
    circuit.release(let_in(circuit, 10.0))

    assert circuit.admit(10.0) is not None


def test_what_was_let_in_before_does_not_decide_about_a_circuit_that_is_open():
    circuit = Circuit(TRIP)
    early = let_in(circuit, 0.0)
    for _ in range(3):
        circuit.failed(let_in(circuit, 0.0), 0.0)
    probe = let_in(circuit, 10.0)

    circuit.succeeded(early, 10.0)
    assert circuit.state(10.0) == "half_open"
    circuit.failed(early, 10.0)
    assert circuit.admit(10.0) is None
    circuit.succeeded(probe, 10.0)

    assert circuit.state(10.0) == "closed"


@given(st.lists(st.tuples(st.sampled_from(["admit", "good", "bad", "nothing"]), st.floats(0, 15))))
def test_while_a_circuit_is_not_closed_at_most_one_call_is_under_way(
    steps: list[tuple[str, float]],
):
    circuit, now, probes = opened(), 0.0, list[Pass]()
    for step, seconds in steps:
        now += seconds
        if circuit.state(now) == "closed":
            return
        call = circuit.admit(now) if step == "admit" else None
        if call is not None:
            probes.append(call)
        assert len(probes) <= 1
        if step != "admit" and probes:
            _end(circuit, step, probes.pop(), now)


def _end(circuit: Circuit, step: str, call: Pass, now: float) -> None:
    match step:
        case "good":
            circuit.succeeded(call, now)
        case "bad":
            circuit.failed(call, now)
        case _:
            circuit.release(call)


@pytest.mark.parametrize(
    ("problem", "ill"),
    [
        (Problem(code="provider_overloaded", message="x", retryable=True), True),
        (Problem(code="timeout", message="x", retryable=True), True),
        (Problem(code="unavailable", message="x", retryable=True), True),
        (Problem(code="provider_error", message="x", retryable=True), True),
        (Problem(code="provider_error", message="x"), False),
        (Problem(code="rate_limited", message="x", retryable=True), False),
        (Problem(code="unauthorized", message="x"), False),
    ],
)
def test_only_what_the_endpoint_is_to_blame_for_counts_against_it(problem: Problem, ill: bool):
    assert counts_against(problem) is ill
