"""Async tests in virtual time, for a module that waits for nothing but timers and memory.

They need no margins, and no time::

    @pytest.fixture(scope="module")
    def anyio_backend() -> Backend:
        return VIRTUAL_TIME
"""

import asyncio
from typing import Any, cast

from tests.simulation.loop import VirtualLoop

Backend = tuple[str, dict[str, Any]]

VIRTUAL_TIME: Backend = ("asyncio", {"loop_factory": lambda: VirtualLoop(0)})


def stand_still(seconds: float) -> None:
    """Let time pass in which the process does nothing."""
    loop = cast("VirtualLoop", asyncio.get_running_loop())
    loop.skip(seconds)
