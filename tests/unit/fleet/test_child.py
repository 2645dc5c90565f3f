"""A process of several actors: ready when all are, and left by the one that fails too often."""

from typing import Any, cast

import anyio
import pytest

from actors.fleet import child
from actors.fleet.child import Child
from actors.fleet.forks import ForkServer
from actors.fleet.plan import PlannedProcess
from bus.config import Config, Timing
from bus.runtime import process, supervision
from bus.runtime.process import Process, run_together
from bus.runtime.supervision import Part, RestartsSpentError
from schemas.fleet import Alive

AGENTS, PRICING = PlannedProcess("agents.1", "agents"), PlannedProcess("pricing.1", "pricing")


def made(parted: list[PlannedProcess]) -> Child:
    return Child(
        [AGENTS, PRICING], ForkServer([]), {}, lambda *_: None, lambda: None, parted.append
    )


def beat(member: PlannedProcess, *, ready: bool = True) -> Alive:
    return Alive(process=member.name, actor=member.actor, ready=ready)


async def test_it_is_ready_when_each_of_its_actors_is():
    both = made([])
    states: list[str] = []
    for alive in (beat(AGENTS), beat(PRICING, ready=False), beat(PRICING)):
        both.heard(alive)
        states.append(both.state)

    assert (both.name, states) == ("agents.1+pricing.1", ["down", "down", "ready"])


@pytest.mark.parametrize(
    ("code", "parts", "stays"),
    [(101, [PRICING], [AGENTS]), (100, [AGENTS], [PRICING]), (1, [], [AGENTS, PRICING])],
)
async def test_an_actor_over_its_budget_is_given_a_process_of_its_own(
    code: int,
    parts: list[PlannedProcess],
    stays: list[PlannedProcess],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(child, "FIRST_PAUSE_SECONDS", 0.0)
    parted: list[PlannedProcess] = []
    both = made(parted)
    await both._after(code)

    assert (parted, both.members) == (parts, stays)


class Fake:
    """As much of a process as is needed to run its parts."""

    timing, config = Timing(restarts=0), Config(metrics_host="127.0.0.1")
    own_parts = ()
    port, lacks = None, None


async def sleep() -> None:
    await anyio.sleep_forever()


async def fail() -> None:
    raise OSError("no room")


@pytest.mark.parametrize(("fails", "code"), [(0, 100), (1, 101)])
async def test_a_process_of_several_says_with_its_exit_code_which_is_to_run_alone(
    fails: int, code: int
):
    runs = [sleep, sleep]
    runs[fails] = fail
    actors = [(cast("Process", Fake()), [Part(name="part", run=run)]) for run in runs]
    with pytest.raises(ExceptionGroup) as raised:
        await run_together(cast("Any", actors))

    assert raised.group_contains(RestartsSpentError)
    spent = process._first(raised.value)
    assert isinstance(spent, RestartsSpentError)
    assert spent.exit_code == code


def test_both_sides_mean_the_same_by_an_exit_code():
    assert (child.EXIT_ALONE, child.EXIT_CONFIG) == (supervision.EXIT_ALONE, process.EXIT_CONFIG)
