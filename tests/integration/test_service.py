"""A service that is told to stop answers what it has been sent."""

import anyio
from anyio.lowlevel import checkpoint

from bus.codec import encode
from bus.errors import UnavailableError
from bus.ports import Transport
from bus.requests.caller import Caller
from bus.requests.service import Service, ServiceEndpoint
from bus.testing import NatsWorld
from schemas.agents import AgentList, ListAgents
from schemas.base import Message
from tests.integration.waiting import SECONDS

REQUESTS = 300


async def _answer(caller: Caller, wanted: ListAgents) -> Message:
    del caller, wanted
    await anyio.sleep(0.01)
    return AgentList(agents=[], total=0, limit=1, offset=0)


async def _ask(transport: Transport, subject: str, outcomes: list[str]) -> None:
    try:
        await transport.request(subject, encode(ListAgents()), timeout=SECONDS)
        outcomes.append("answered")
    except UnavailableError:
        outcomes.append("nobody there")


async def test_no_request_that_reaches_a_service_goes_unanswered_when_it_stops(
    shared_nats: NatsWorld, fresh: str
):
    subject, outcomes = f"cb.{fresh}.agents.list", list[str]()
    async with (
        shared_nats.process("service") as serving,
        shared_nats.process("asker") as asking,
        anyio.create_task_group() as tasks,
    ):
        service = Service("agents", [ServiceEndpoint(ListAgents, _answer)], serving)
        tasks.start_soon(service.run, serving.nats.client)
        with anyio.fail_after(SECONDS):
            while service.not_ready_reason():
                await anyio.sleep(0.01)
            for _ in range(REQUESTS):
                tasks.start_soon(_ask, asking.transport, subject, outcomes)
            while not service.in_flight:
                await checkpoint()
            await service.drain()
            while len(outcomes) < REQUESTS:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()

    assert "answered" in outcomes
    assert len(outcomes) == REQUESTS
