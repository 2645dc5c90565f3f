"""What anybody may send travels apart from the fleet's own traffic: its loss costs no shard."""

import anyio
from nats.aio.client import Client

from bus.codec import decode, encode
from bus.config import QuotaTerms
from bus.connection import NatsAddress
from bus.connection.client import MOST_UNWRITTEN_BYTES
from bus.fairness import Quotas
from bus.jetstream import open_bus
from bus.requests.caller import Caller
from bus.requests.service import Service, ServiceEndpoint
from bus.testing import NatsWorld
from schemas.agents import AgentList, ListAgents
from schemas.base import Message
from schemas.problems import Problem
from tests.integration.waiting import SECONDS, until


async def _answer(caller: Caller, wanted: ListAgents) -> Message:
    del caller, wanted
    return AgentList(agents=[], total=7, limit=1, offset=0)


async def _cut(client: Client) -> None:
    """Cut a connection as a server does that finds it too slow."""
    transport = client._transport
    assert transport is not None
    transport.close()


async def test_a_cut_of_the_public_connection_leaves_the_fleets_own_alone_and_is_not_ready(
    own_nats: NatsWorld, fresh: str
):
    lost: list[str] = []
    address = NatsAddress(urls=own_nats.server.urls, name="agents")
    async with (
        open_bus(address, durability=own_nats.server.durability, apart=True) as bus,
        own_nats.process("asker") as asking,
        anyio.create_task_group() as tasks,
    ):
        bus.nats.on_loss(lambda: lost.append("own"))
        bus.public.on_loss(lambda: lost.append("public"))
        service = Service("agents", [ServiceEndpoint(ListAgents, _answer)], bus)
        tasks.start_soon(service.run, bus.public.client)
        await until(lambda: service.not_ready_reason() is None)

        await _cut(bus.public.client)
        await until(lambda: bool(lost))
        assert service.not_ready_reason() == "the connection of service agents is away"
        await until(lambda: service.not_ready_reason() is None)

        subject = f"cb.{fresh}.agents.list"
        reply = await asking.transport.request(subject, encode(ListAgents()), timeout=SECONDS)
        assert decode(AgentList, reply.data).total == 7
        tasks.cancel_scope.cancel()
    assert lost[0] == "public"
    assert "own" not in lost


async def test_a_refusal_is_sent_however_much_the_fleets_own_connection_has_to_write(
    own_nats: NatsWorld, fresh: str
):
    quotas = Quotas(QuotaTerms(requests=1))
    address = NatsAddress(urls=own_nats.server.urls, name="agents")
    waiting = anyio.Event()

    async def answer(caller: Caller, wanted: ListAgents) -> Message:
        await waiting.wait()
        return await _answer(caller, wanted)

    async with (
        open_bus(address, durability=own_nats.server.durability, apart=True) as bus,
        own_nats.process("asker") as asking,
        anyio.create_task_group() as tasks,
    ):
        service = Service("agents", [ServiceEndpoint(ListAgents, answer)], bus, quotas)
        tasks.start_soon(service.run, bus.public.client)
        await until(lambda: service.not_ready_reason() is None)
        subject = f"cb.{fresh}.agents.list"
        await asking.transport.publish(subject, encode(ListAgents()), reply="_INBOX.x.1")
        await until(lambda: service.in_flight == 1)
        bus.nats.client._pending_data_size = MOST_UNWRITTEN_BYTES

        reply = await asking.transport.request(subject, encode(ListAgents()), timeout=SECONDS)

        assert decode(Problem, reply.data).details["quota"] == "requests"
        waiting.set()
        await until(lambda: service.in_flight == 0)
        tasks.cancel_scope.cancel()


async def test_without_need_there_is_one_connection(own_nats: NatsWorld):
    async with own_nats.process("one") as bus:
        assert bus.public is bus.nats
