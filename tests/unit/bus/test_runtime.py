"""Parts that fail are started again, ever more slowly, until their budget is spent."""

import anyio
import pytest

from bus.config import Timing
from bus.errors import CallboardError
from bus.runtime import Part, Runtime


async def test_a_part_that_fails_is_given_twice_as_long_each_time(monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    async def fail() -> None:
        raise OSError("no room")

    monkeypatch.setattr("bus.runtime.anyio.sleep", sleep)
    timing = Timing(restarts=4, restart_pause_seconds=0.5)

    with pytest.RaisesGroup(CallboardError):
        await Runtime([Part(name="fails", run=fail)], timing).run()
    assert pauses == [0.5, 1.0, 2.0, 4.0]
