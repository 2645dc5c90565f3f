"""Executions that run other agents, in seeded histories of faults, and the faults planted there."""

from datetime import datetime
from typing import Any

import msgspec
import pytest

from actors.agents.core import delegation, work_items
from actors.agents.core.tool_state import RoundCall, ToolRounds
from schemas.beginnings import BeginWork
from schemas.callbacks import Ended, Waits
from schemas.tools import ToolResult
from tests.simulation.history import DELEGATION, failures
from tests.simulation.planted import Planted

SEEDS = 12

BEGIN_BODY = work_items._begin_body
RESULT_OF = delegation.result_of


def begin_another(state: Any, rounds: ToolRounds, call: RoundCall, offered: Any) -> BeginWork:
    body = BEGIN_BODY(state, rounds, call, offered)
    assert body is not None
    return msgspec.structs.replace(body, id=f"{body.id}-{call.attempts}")


def leave_running(_: Waits, at: datetime) -> Waits:
    del at
    return Waits()


def any_call(rounds: ToolRounds, child: str) -> RoundCall | None:
    del child
    return next((call for call in rounds.calls if call.phase == "running"), None)


def all_is_well(end: Ended) -> ToolResult:
    return msgspec.structs.replace(RESULT_OF(end), is_error=False)


CORE = "actors.agents.core"
PLANTED = (
    Planted(
        "each attempt begins another one", f"{CORE}.work_items._begin_body", begin_another, 30, 4
    ),
    Planted(
        "who ends leaves what it runs", "schemas.callbacks.Waits.stopped", leave_running, 30, 13
    ),
    Planted("an end is another call's", f"{CORE}.tool_state.ToolRounds.of_child", any_call, 30, 6),
    Planted("a failure is told as an answer", f"{CORE}.delegation.result_of", all_is_well, 30, 6),
)


@pytest.mark.timeout(600)
def test_whatever_befalls_a_fleet_each_call_tells_the_end_of_what_it_runs():
    broken = {each.seed: each.broken for each in failures(range(1, SEEDS + 1), DELEGATION)}

    assert broken == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_fault_planted_in_what_runs_agents_is_found(planted: Planted):
    assert planted.found(DELEGATION)
