"""On whose behalf the fleet asks is believed on its own subjects alone, and decides what it may."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from structlog.testing import capture_logs

from bus.client import Client
from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.jetstream import NatsBus
from bus.requests.caller import Caller
from bus.requests.service import Service, ServiceEndpoint
from bus.testing import NatsWorld
from schemas.agents import AgentDefinition, AgentList, DeleteAgent, ListAgents
from schemas.base import Message
from schemas.identity import HEADER, Principal, admin
from schemas.problems import Problem
from tests.integration.waiting import SECONDS

LISTED = AgentList(agents=[], total=0, limit=1, offset=0)


class Serving:
    """A service on a bus, and who has asked it."""

    def __init__(self, bus: NatsBus) -> None:
        self.bus = bus
        self.callers: list[Caller] = []

    async def answer(self, caller: Caller, _: ListAgents) -> Message:
        """Note who asks."""
        await checkpoint()
        self.callers.append(caller)
        return LISTED

    async def delete(self, caller: Caller, _: DeleteAgent) -> AgentDefinition:
        """Note who asks, and answer nothing of use."""
        await checkpoint()
        self.callers.append(caller)
        raise AssertionError(caller)


@asynccontextmanager
async def serving(world: NatsWorld) -> AsyncGenerator[Serving]:
    async with world.process("service") as bus, anyio.create_task_group() as tasks:
        found = Serving(bus)
        endpoints = [
            ServiceEndpoint(ListAgents, found.answer),
            ServiceEndpoint(DeleteAgent, found.delete),
        ]
        service = Service("agents", endpoints, bus)
        tasks.start_soon(service.run, bus.nats.client)
        with anyio.fail_after(SECONDS):
            while service.not_ready_reason():
                await anyio.sleep(0.01)
        yield found
        await service.drain()


READER = frozenset({"agents:read"})


async def test_who_is_allowed_an_action_in_its_tenant_is_answered_and_known(
    shared_nats: NatsWorld, fresh: str
):
    ann = Principal(tenant=fresh, actions=READER, user="ann", key="k1")
    async with serving(shared_nats) as service:
        assert await Client(service.bus.transport, by=ann).request(fresh, ListAgents()) == LISTED
        assert [caller.principal for caller in service.callers] == [ann]


@pytest.mark.parametrize(
    ("tenant", "actions"),
    [(None, frozenset[str]()), (None, {"agents:write"}), ("globex", READER), ("", READER)],
)
async def test_who_is_of_another_tenant_or_lacks_the_action_is_forbidden(
    shared_nats: NatsWorld, fresh: str, tenant: str | None, actions: set[str]
):
    by = Principal(tenant=fresh if tenant is None else tenant, actions=frozenset(actions))
    async with serving(shared_nats) as service:
        with pytest.raises(ProblemError) as refused:
            await Client(service.bus.transport, by=by).request(fresh, ListAgents())
        assert service.callers == []
    problem = refused.value.problem
    assert (problem.code, problem.details) == ("forbidden", {"action": "agents:read"})


@pytest.mark.parametrize("header", [None, "", "{", "7", '{"tenant": 1}', '{"actions": []}'])
async def test_who_does_not_say_on_whose_behalf_it_asks_is_allowed_nothing(
    shared_nats: NatsWorld, fresh: str, header: str | None
):
    headers = None if header is None else {HEADER: header}
    async with serving(shared_nats) as service:
        answer = await service.bus.transport.request(
            f"_cb.ask.{fresh}.agents.list", encode(ListAgents()), timeout=SECONDS, headers=headers
        )
        assert decode(Problem, answer.data).code == "forbidden"
        assert service.callers == []


async def test_on_a_public_subject_nobody_is_believed_to_be_somebody_else(
    shared_nats: NatsWorld, fresh: str
):
    forged = encode(Principal(tenant="globex", user="eve")).decode()
    async with serving(shared_nats) as service:
        answer = await service.bus.transport.request(
            f"cb.{fresh}.agents.list",
            encode(ListAgents()),
            timeout=SECONDS,
            headers={HEADER: forged},
        )
        assert decode(AgentList, answer.data) == LISTED
        assert [caller.principal for caller in service.callers] == [admin(fresh)]


async def test_what_nobody_waits_for_is_stored_only_as_a_command_of_its_tenant(
    shared_nats: NatsWorld, fresh: str
):
    """A question without a reply subject is dropped, and so is all that the fleet asks so."""
    stored, question = DeleteAgent(id="a"), ListAgents()
    heard: list[str] = []
    async with serving(shared_nats) as service, shared_nats.process("inbox") as inbox:
        async with inbox.transport.reception(
            f"cb.{fresh}.submit.>", lambda delivery: heard.append(delivery.subject)
        ):
            publish = service.bus.transport.publish
            with capture_logs() as logs:
                await publish(f"cb.{fresh}.agents.list", encode(question))
                await publish(f"_cb.ask.{fresh}.agents.delete", encode(stored))
                await publish(f"cb.{fresh}.agents.delete", encode(stored))
                with anyio.fail_after(SECONDS):
                    while not (heard and len(dropped(logs)) > 1):
                        await anyio.sleep(0.01)
        assert set(heard) == {f"cb.{fresh}.submit.agents.delete"}
        assert dropped(logs) == {"agents-list", "agents-delete"}
        assert service.callers == []


def dropped(logs: list[Any]) -> set[str]:
    reason = "nobody would get the answer"
    return {one["endpoint"] for one in logs if reason in one.get("error", "")}
