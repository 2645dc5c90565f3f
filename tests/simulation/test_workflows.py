"""Workflows in seeded histories of faults, and the faults planted in them."""

from datetime import datetime, timedelta

import msgspec
import pytest

from actors.workflow.core import cron_trigger, timing
from actors.workflow.core.running import Running
from actors.workflow.core.tokens import Firing
from schemas.nets import CronTrigger
from tests.simulation.history import WORKFLOWS, failures
from tests.simulation.planted import Planted, forgotten
from tests.simulation.workflows import next_second

SEEDS = 45
PART = 15
"""So many seeds are one test, which keeps one core busy."""

OVERTAKE = timing.overtake
OVERTAKE_FIRING = timing._overtake_firing
CHAINED = cron_trigger.chained


def never_while_failing(run: Running, most: int) -> None:
    if run.scratch.failing is None:
        OVERTAKE(run, most)


def timers_at_once(run: Running, firing: Firing) -> None:
    if firing.deadline is not None and firing.retry_at is None:
        firing = msgspec.structs.replace(firing, deadline=min(firing.deadline, run.scratch.at))
    OVERTAKE_FIRING(run, firing)


def skip_a_time(trigger: CronTrigger, moment: datetime) -> datetime | None:
    try:
        return next_second(trigger.cron, trigger.zone, moment + timedelta(seconds=1))
    except cron_trigger.CalendarError:
        return None


def one_name_for_all_times(workflow_id: str, work: str) -> str:
    return CHAINED(0, workflow_id, work.rpartition("-")[0])


CORE = "actors.workflow.core"
PLANTED = (
    Planted(
        "a net that fails looks at no time", f"{CORE}.timing.overtake", never_while_failing, 40
    ),
    Planted("timers do not wait", f"{CORE}.timing._overtake_firing", timers_at_once, 20, 84),
    Planted("what was done is not noted", f"{CORE}.running.Running._undo", forgotten, 20),
    Planted("a cron leaves times out", f"{CORE}.cron_trigger._following", skip_a_time, 40),
    Planted(
        "all times of a cron begin one",
        f"{CORE}.cron_trigger.instance_of",
        one_name_for_all_times,
        40,
    ),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_whatever_befalls_a_fleet_nets_do_what_they_say(first: int):
    seeds = range(first, first + PART)
    broken = {each.seed: each.broken for each in failures(seeds, WORKFLOWS)}

    assert broken == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_fault_planted_in_workflows_is_found(planted: Planted):
    assert planted.found(WORKFLOWS)
