"""Submitted commands of any bytes and size: they block nobody and cut no connection."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from bus.codec import decode
from bus.jetstream import NatsBus
from bus.requests.dead_letters import CUT_CHARACTERS
from bus.requests.service import Service, ServiceEndpoint
from bus.testing import nats_world
from schemas.executions import ExecuteAgent, ExecutionHandle
from tests.integration.waiting import until
from tests.servers import PATIENCE, local_server
from tests.submitting import (
    TIMING,
    Fleet,
    emptied,
    execution,
    letters,
    messages,
    rejected,
    rejections,
    submit,
)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[Fleet]:
    async with nats_world(local_server(tmp_path), timing=TIMING) as world:
        yield Fleet(world)


@pytest.mark.parametrize("byte", [b"\x01", b"\xff", b'"'])
async def test_what_fits_into_no_letter_is_rejected_with_its_beginning(fleet: Fleet, byte: bytes):
    async with fleet.process(tenants=("acme",)) as bus, rejections(bus, "acme") as told:
        size = bus.nats.client.max_payload - 100
        await submit(bus, "acme", byte * size)
        await told.holds(1)
        await emptied(bus, "acme")
        [letter] = await letters(bus)

    assert rejected(told)[0].error.code == "validation"
    assert letter.body == (byte * CUT_CHARACTERS).decode(errors="replace")
    assert f"{size} characters" in letter.reason


@asynccontextmanager
async def serving(fleet: Fleet, bus: NatsBus) -> AsyncGenerator[Service]:
    """Answer for executions while the context is open."""
    service = Service("agents", [ServiceEndpoint(ExecuteAgent, fleet.execute)], bus)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.run, bus.public.client)
        await until(lambda: service.not_ready_reason() is None)
        yield service
        await service.drain()


async def test_what_nobody_waits_for_and_no_inbox_takes_holds_up_no_others(fleet: Fleet):
    timing = msgspec.structs.replace(TIMING, inbox_max_bytes=4096)
    async with fleet.process(timing=timing, tenants=("acme",)):
        pass
    async with fleet.world.process("agents") as bus, serving(fleet, bus) as service:
        for _ in range(100):
            await bus.nats.publish("cb.acme.agents.execute", execution("x" * 900))
        await until(lambda: service.in_flight > 0)
        await bus.outbox.post("cb.globex.events.execution.accepted.e", b"{}")
        await bus.outbox.flush(timeout=1.0 * PATIENCE)
        assert await messages(bus, "acme") < 6


async def test_a_command_that_fits_without_headers_alone_costs_no_connection(fleet: Fleet):
    async with fleet.process(tenants=("acme",)):
        pass
    async with fleet.world.process("agents") as bus, serving(fleet, bus) as service:
        with capture_logs() as logs:
            data = b" " * bus.nats.client.max_payload
            await bus.nats.publish("cb.acme.agents.execute", data)
            await until(lambda: any(each["event"] == "service.command_lost" for each in logs))
        answer = await bus.nats.request(
            "cb.acme.agents.execute", execution("small"), timeout=5.0 * PATIENCE
        )
        assert decode(ExecutionHandle, answer.data).status == "PENDING"
        assert bus.nats.client.stats["reconnects"] == 0
        assert service.not_ready_reason() is None


# Faults
