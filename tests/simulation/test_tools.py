"""Executions that call tools, in seeded histories of faults, and the faults planted in them."""

from datetime import datetime
from typing import Any

import msgspec
import pytest

from actors.agents.core.tool_state import ToolRounds, is_call
from schemas import attempts
from schemas.attempts import Attempts, Rules
from schemas.decision import Decision
from schemas.lifecycle import ToolFailed
from schemas.llm import Answer
from schemas.work import Lost, Stopped
from tests.simulation.history import TOOLS, failures
from tests.simulation.planted import Planted, any_attempt, work_first

SEEDS = 30
PART = 15
"""So many seeds are one test, which keeps one core busy."""

REPLACE = attempts.replace
IS_CURRENT = Attempts.is_current
CLOSED = ToolRounds.closed


def forget_once(state: Attempts, command: Lost | Stopped, now: datetime, rules: Rules) -> Decision:
    known = state.of(command.work)
    if known is not None:
        state = state._with(command.work, msgspec.structs.replace(known, once=False))
    return REPLACE(state, command, now, rules)


def any_attempt_at_a_call(known: Attempts, work: str, attempt: int) -> bool:
    return any_attempt(known, work, attempt) if is_call(work) else IS_CURRENT(known, work, attempt)


def tell_to_repeat(_: str, event: ToolFailed) -> str:
    return f"not_sent: {event.problem.message}"


def never_sent(*_: Any) -> str:
    return "not_sent"


def nothing_runs(_: ToolRounds) -> int:
    return 0


def bring_twice(rounds: ToolRounds, answer: Answer | None) -> ToolRounds:
    after = CLOSED(rounds, answer)
    turns = (*after.turns, after.turns[-1]) if rounds.calls else after.turns
    return msgspec.structs.replace(after, turns=turns)


CORE = "actors.agents.core"
PLANTED = (
    Planted("what is once is opened again", "schemas.attempts.replace", forget_once, 60, 54),
    Planted(
        "a late result of another attempt is taken",
        "schemas.attempts.Attempts.is_current",
        any_attempt_at_a_call,
        400,
        337,
    ),
    Planted(
        "a call leaves before its start is stored",
        "bus.shard.owner.ShardOwner._store",
        work_first,
        10,
    ),
    Planted(
        "what is unknown is told to be unsent", f"{CORE}.tool_state.told", tell_to_repeat, 60, 12
    ),
    Planted(
        "what is unknown is stored as unsent", f"{CORE}.tool_rounds._outcome", never_sent, 60, 12
    ),
    Planted("all calls run side by side", f"{CORE}.tool_rounds._running", nothing_runs, 10),
    Planted(
        "a call brings two results", f"{CORE}.tool_state.ToolRounds.closed", bring_twice, 10, 4
    ),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_whatever_befalls_a_fleet_no_call_is_silently_made_twice(first: int):
    seeds = range(first, first + PART)
    broken = {each.seed: each.broken for each in failures(seeds, TOOLS)}

    assert broken == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_fault_planted_in_the_calls_of_tools_is_found(planted: Planted):
    assert planted.found(TOOLS)
