"""Laws of calls of tools: whatever is said of them in whatever order, each has one outcome."""

from collections import Counter
from functools import reduce

import msgspec
from hypothesis import given, settings

from actors.agents.core.effects import effects
from actors.agents.core.execution import due, evolve, has_ended
from actors.agents.core.outward import record
from actors.agents.core.state import Execution
from schemas.lifecycle import (
    AttemptStarted,
    Cancel,
    Tick,
    ToolFailed,
    ToolFinished,
    ToolRefused,
    ToolsCalled,
    ToolStarted,
)
from schemas.streams import ToolReturned
from schemas.work import Stopped, WorkFailure
from tests.unit.agents.runs import TERMINALS, Run
from tests.unit.agents.tools import LIMITS, Steps, begun, played_with_tools, tool_steps

ONCE = ("1.2", "1.3")
"""Of the first answer; other answers may call the same tools in another order."""


def ended(run: Run) -> list[str]:
    """Return the work of the calls that have come to an outcome, as often as they did."""
    return [
        event.work
        for event in run.events
        if isinstance(event, ToolFinished | ToolRefused)
        or (isinstance(event, ToolFailed) and event.retry_at is None)
    ]


@settings(max_examples=60)
@given(tool_steps)
def test_every_call_has_one_outcome_and_the_execution_one_end(sequence: Steps):
    run = played_with_tools([*sequence, (Cancel(reason="the end"), 0.0)])

    assert sum(isinstance(event, TERMINALS) for event in run.events) == 1
    assert max(Counter(ended(run)).values(), default=0) <= 1
    made = record(run.execution).tools
    assert all(call.outcome is not None for call in made)
    named = [(call.step, call.place) for call in made]
    assert len(named) == len(set(named))


@settings(max_examples=60)
@given(tool_steps)
def test_what_is_once_and_was_claimed_is_begun_again_only_where_nothing_was_sent(sequence: Steps):
    run = begun("find", "send", "pay")
    for command, seconds in sequence:
        before, known = run.execution, len(run.events)
        run.take(command, seconds)
        for event in run.events[known:]:
            if isinstance(event, ToolStarted) and event.attempt > 1:
                earlier = before.attempts.of(event.work)
                assert earlier is not None
                told = isinstance(command, WorkFailure | Stopped) and not command.sent
                waited = earlier.phase == "waiting"
                assert not earlier.once or not earlier.claimed or told or waited
            if isinstance(event, ToolFailed) and event.retry_at is not None:
                assert isinstance(command, WorkFailure)
                assert event.work not in ONCE or not command.sent


@settings(max_examples=60)
@given(tool_steps)
def test_limits_hold(sequence: Steps):
    running: set[str] = set()
    run = played_with_tools(sequence)
    for event in run.events:
        if isinstance(event, ToolStarted):
            running.add(event.work)
        elif isinstance(event, ToolFinished | ToolRefused):
            running.discard(event.work)
        elif isinstance(event, ToolFailed):
            running = running if event.retry_at is not None else running - {event.work}
        elif isinstance(event, TERMINALS):
            running.clear()
        assert len(running) <= LIMITS.parallel

    started = {event.work for event in run.events if isinstance(event, ToolStarted)}
    assert len(started) <= LIMITS.calls
    rounds = [event for event in run.events if isinstance(event, ToolsCalled)]
    assert len(rounds) <= LIMITS.rounds + 1


@settings(max_examples=60)
@given(tool_steps)
def test_the_next_step_begins_once_all_calls_have_ended(sequence: Steps):
    run = played_with_tools(sequence)

    for place, event in enumerate(run.events):
        if isinstance(event, AttemptStarted) and event.attempt == 1 and event.work != "1":
            before = reduce(evolve, run.events[:place], None)
            assert before is not None
            assert before.tools is not None
            assert all(call.phase == "ended" for call in before.tools.calls)


@settings(max_examples=60)
@given(tool_steps)
def test_segments_are_allotted_once_and_results_are_told_once(sequence: Steps):
    run = played_with_tools([*sequence, (Cancel(reason="the end"), 0.0)])

    told = [each.body for each in run.published if isinstance(each.body, ToolReturned)]
    assert len(told) == len(ended(run))
    places = [(body.segment, body.sequence) for body in told]
    begun = [(event.segment, 0) for event in run.events if isinstance(event, AttemptStarted)]
    assert len({*places, *begun}) == len(places) + len(begun)
    assert places == sorted(places)


@settings(max_examples=40)
@given(tool_steps)
def test_an_execution_with_tools_that_is_left_alone_ends(sequence: Steps):
    run = played_with_tools(sequence)
    for _ in range(40):
        moment = due(run.execution)
        if moment is None:
            break
        run.take(Tick(), max(0.0, (moment - run.now).total_seconds()))

    assert has_ended(run.execution)


@settings(max_examples=40)
@given(tool_steps)
def test_replay_and_snapshot_give_the_same_state(sequence: Steps):
    run = played_with_tools(sequence)

    assert reduce(evolve, run.events, None) == run.state
    assert msgspec.json.decode(msgspec.json.encode(run.state), type=Execution) == run.state
    assert len(run.open) == len(effects(run.execution))
