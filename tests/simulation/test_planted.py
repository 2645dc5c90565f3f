"""The simulation finds what is wrong: each planted fault within a stated number of seeds."""

import pytest

from tests.simulation.history import play
from tests.simulation.planted import PLANTED, Planted
from tests.simulation.shrink import shrunk


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_fault_is_found(planted: Planted):
    assert planted.found()


def test_a_failing_history_shrinks_to_what_matters():
    planted = next(each for each in PLANTED if each.name == "copies of an offer are taken")
    history = planted.found()
    assert history is not None
    with planted.plant():
        small = shrunk(history)
        again = play(history.seed, frozenset(small.drawn))

    assert small.broken
    assert len(small.drawn) < len(history.drawn)
    assert again.trace.digest == small.trace.digest
