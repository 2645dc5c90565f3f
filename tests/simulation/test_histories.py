"""Seeded histories of faults in virtual time; `make simulate` plays more, SEED=n shows one."""

import os
import subprocess
import sys

import pytest

from tests.simulation.history import failures, play
from tests.simulation.plan import plan_of

SEEDS = 300
PART = 25
"""So many seeds are one test, which keeps one core busy."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_whatever_befalls_a_fleet_every_promise_is_kept(first: int):
    broken = {each.seed: each.broken for each in failures(range(first, first + PART))}

    assert broken == {}


def test_seeds_are_played_on_all_cores():
    done = _simulated("--seeds", "30")

    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("30 histories in ")


@pytest.mark.parametrize("seed", [3, 22, 84, 122])
def test_a_seed_gives_the_same_history_again(seed: int):
    first, again = play(seed), play(seed)

    assert again.trace.digest == first.trace.digest
    assert again.drawn == first.drawn


def test_a_seed_gives_the_same_history_in_another_process():
    one, other = (
        _simulated("--seed", "7", PYTHONHASHSEED=hash_seed).stdout for hash_seed in ("1", "2")
    )

    assert one == other


def test_each_event_of_a_plan_has_a_name_of_its_own():
    for seed in range(1, 200):
        names = [event.name for event in plan_of(seed)]
        assert len(set(names)) == len(names)


def test_without_events_and_faults_nothing_happens():
    history = play(1, frozenset())

    assert (history.broken, history.drawn) == ([], [])


def _simulated(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
