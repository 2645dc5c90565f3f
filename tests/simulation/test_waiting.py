"""Who waits for executions, in seeded histories of faults, and the faults planted in it."""

import pytest

from bus.shard.asks import Asker
from schemas.callbacks import Ended
from schemas.decision import Ask
from tests.simulation.history import WAITING, failures
from tests.simulation.planted import Planted

SEEDS = 60
PART = 15
"""So many seeds are one test, which keeps one core busy."""


def resume_without_callbacks(asker: Asker) -> None:
    asks = asker._book.open_asks()
    asker.put((address, ask) for address, ask in asks if not isinstance(ask.command, Ended))


def call_nobody_back(_: object) -> list[Ask]:
    return []


PLANTED = (
    Planted(
        "callbacks are dropped at a takeover",
        "bus.shard.asks.Asker.resume",
        resume_without_callbacks,
        60,
        14,
    ),
    Planted("nobody is called back", "actors.agents.core.effects._callback", call_nobody_back, 10),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_whatever_befalls_a_fleet_each_end_is_told_once_to_who_waits(first: int):
    seeds = range(first, first + PART)
    broken = {each.seed: each.broken for each in failures(seeds, WAITING)}

    assert broken == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_fault_planted_in_callbacks_is_found(planted: Planted):
    assert planted.found(WAITING)
