"""A bus in memory, and a fleet on it."""

from collections.abc import AsyncGenerator

import pytest

from bus.memory import MemoryBus
from bus.testing import memory_bus
from tests.simulation.fleet import QUICK, Fleet, fleet
from tests.virtual import VIRTUAL_TIME, Backend


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


@pytest.fixture
async def world() -> AsyncGenerator[MemoryBus]:
    async with memory_bus(QUICK) as bus:
        yield bus


@pytest.fixture
async def running(world: MemoryBus) -> AsyncGenerator[Fleet]:
    async with fleet(world) as processes:
        yield processes
