"""Which processes a fleet consists of."""

from pathlib import Path

import msgspec
import pytest

from actors.fleet.plan import FleetPlan, PlannedProcess, chosen, counts
from bus.errors import ConfigError


def test_a_fleet_runs_every_actor_unless_told_otherwise():
    assert chosen(None, []) == {
        "agents": 1,
        "streaming": 2,
        "pricing": 1,
        "mcp_pool": 1,
        "identity": 1,
        "workflow": 1,
    }


def test_actors_and_their_numbers_can_be_chosen():
    assert chosen("streaming", ["streaming=3"]) == {"streaming": 3}
    assert chosen(" streaming , agents ", []) == {"agents": 1, "streaming": 2}


@pytest.mark.parametrize(
    ("actors", "replicas", "setting"),
    [
        ("singers", [], "--actors"),
        (" , ", [], "--actors"),
        (None, ["streaming"], "--replicas"),
        (None, ["streaming=0"], "--replicas"),
        (None, ["streaming=65"], "--replicas"),
        (None, ["streaming=-1"], "--replicas"),
        (None, ["singers=1"], "--replicas"),
        ("agents", ["streaming=1"], "--replicas"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_option_that_says_it(
    actors: str | None, replicas: list[str], setting: str
):
    with pytest.raises(ConfigError) as refused:
        chosen(actors, replicas)
    assert refused.value.name == setting


def test_counts_are_read_by_actor():
    assert counts(["agents=1", "streaming=2"], "--expect") == {"agents": 1, "streaming": 2}


def test_processes_are_numbered_by_actor():
    plan = FleetPlan(replicas={"agents": 1, "streaming": 2}, data=Path("x"))
    assert plan.processes() == [
        [PlannedProcess("agents.1", "agents")],
        [PlannedProcess("streaming.1", "streaming")],
        [PlannedProcess("streaming.2", "streaming")],
    ]


def test_the_light_actors_share_processes_unless_each_is_to_have_its_own():
    together = FleetPlan(replicas={"agents": 2, "streaming": 1, "pricing": 1}, data=Path("x"))
    apart = msgspec.structs.replace(together, apart=True)

    assert [[one.name for one in process] for process in together.processes()] == [
        ["agents.1", "pricing.1"],
        ["agents.2"],
        ["streaming.1"],
    ]
    assert [len(process) for process in apart.processes()] == [1, 1, 1, 1]
