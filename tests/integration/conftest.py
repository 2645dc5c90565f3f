"""A bus for each test: in memory and on NATS, so that one suite holds for both."""

import logging
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import structlog

from actors.fleet.declared import entities
from bus.config import Timing
from bus.ids import new_id
from bus.memory import MemoryBus
from bus.testing import NatsWorld, Process, Server, World, memory_bus, nats_world
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.servers import local_server

ENTITIES = tuple(entities())

QUICK = Timing(ack_wait_seconds=0.5, resend_window_seconds=0.5)
"""What tests would wait for is shorter."""


@pytest.fixture(scope="session")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    """One bus for all tests that do not stop it. They keep apart by ``fresh`` tokens."""
    async with local_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def fresh() -> str:
    """A token that no other test uses: as tenant, shard or queue."""
    return new_id()


@pytest.fixture
async def shared_nats(shared_server: Server) -> NatsWorld:
    return NatsWorld(shared_server, ENTITIES, timing=QUICK)


@pytest.fixture(params=["memory", "nats"])
async def world(request: pytest.FixtureRequest, shared_nats: NatsWorld) -> AsyncGenerator[World]:
    """A bus that stays."""
    if request.param == "nats":
        yield shared_nats
    else:
        async with memory_bus(QUICK) as bus:
            yield bus


@pytest.fixture
async def bus(world: World) -> AsyncGenerator[Process]:
    """The bus as one process sees it."""
    async with world.process("test") as process:
        yield process


@pytest.fixture
async def memory_world() -> AsyncGenerator[MemoryBus]:
    """A bus in memory."""
    async with memory_bus(QUICK) as bus:
        yield bus


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncGenerator[NatsWorld]:
    """A nats-server of the test's own, which it may kill."""
    async with nats_world(local_server(tmp_path), ENTITIES, QUICK) as world:
        yield world


@pytest.fixture(params=["memory", "nats"])
async def mortal_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    """A bus that the test restarts."""
    opened = (
        memory_bus(QUICK)
        if request.param == "memory"
        else nats_world(local_server(tmp_path), ENTITIES, QUICK)
    )
    async with opened as world:
        yield world


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Generator[None]:
    """Take back what commands and processes that run within a test do to logging."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    """Real processes for all tests of a module, which leave them as they are."""
    async with running_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
async def client(fleet: RunningFleet) -> AsyncGenerator[PlainClient]:
    """A client for a tenant of the test's own."""
    async with fleet.client(f"tenant-{new_id()[-8:]}") as client:
        yield client
