"""Definitions on a real server: several processes on one bucket, and a server that dies."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from nats.js.api import KeyValueConfig

from actors.agents.adapters.definitions import Definitions
from bus.connection import NatsAddress, NatsTransport, connect
from bus.errors import ProblemError, UnavailableError
from bus.kv import NatsBucket
from bus.streams.api import JetStream
from bus.testing import Server
from schemas.agents import AgentDefinition, ApplyAgent, CreateAgent, GetAgent, Prompts
from schemas.providers import OpenAI
from tests.servers import PATIENCE, local_server
from tests.unit.agents.samples import opened

PROVIDER = OpenAI(model="gpt-4o-mini")


def _connected(server: Server) -> AbstractAsyncContextManager[NatsTransport]:
    return connect(NatsAddress(urls=server.urls, name="test"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    async with local_server(tmp_path) as process, _connected(process) as transport:
        js = transport.client.jetstream()
        await js.create_key_value(KeyValueConfig(bucket="agents", history=1))
        yield process


@asynccontextmanager
async def _process(server: Server) -> AsyncGenerator[Definitions]:
    async with _connected(server) as transport:
        bucket = NatsBucket(transport, JetStream(transport), "agents", AgentDefinition)
        async with opened(bucket) as definitions:
            yield definitions


async def test_another_process_sees_an_answered_change_in_reads_lists_and_executions(
    server: Server,
):
    async with _process(server) as one, _process(server) as other:
        for number in range(30):
            wanted = ApplyAgent(id=f"agent-{number}", provider=PROVIDER)
            stored = await one.apply("acme", wanted)

            assert await other.executable("acme", stored.id) == stored
            assert await other.get("acme", GetAgent(id=stored.id)) == stored
            assert stored.id in {row.id for row in await other.rows("acme")}


async def test_concurrent_changes_from_several_processes_lose_nothing(server: Server):
    async with _process(server) as one, _process(server) as two, _process(server) as three:
        await one.create("acme", CreateAgent(id="reviewer", provider=PROVIDER))

        async def change(definitions: Definitions, number: int) -> None:
            wanted = ApplyAgent(id="reviewer", prompts=Prompts(system=f"change {number}"))
            await definitions.apply("acme", wanted)

        async with anyio.create_task_group() as writers:
            for number, definitions in enumerate((one, two, three, one, two, three)):
                writers.start_soon(change, definitions, number)

        versions = [
            await one.get("acme", GetAgent(id="reviewer", version=version))
            for version in range(1, 8)
        ]

    assert [definition.version for definition in versions] == list(range(1, 8))
    assert sorted(definition.prompts.system for definition in versions[1:]) == [
        f"change {number}" for number in range(6)
    ]


async def test_of_processes_that_create_the_same_agent_one_succeeds(server: Server):
    created: list[AgentDefinition] = []
    refused: list[str] = []

    async def create(definitions: Definitions, name: str) -> None:
        wanted = CreateAgent(id="reviewer", provider=PROVIDER, name=name)
        try:
            created.append(await definitions.create("acme", wanted))
        except ProblemError as error:
            refused.append(error.problem.code)

    async with _process(server) as one, _process(server) as two, anyio.create_task_group() as tasks:
        for number, definitions in enumerate((one, two, one, two)):
            tasks.start_soon(create, definitions, f"creator {number}")

    async with _process(server) as reader:
        assert [await reader.get("acme", GetAgent(id="reviewer"))] == created
    assert refused == ["conflict"] * 3


async def test_definitions_survive_the_death_of_the_server_and_so_do_the_processes(
    server: Server,
):
    async with _process(server) as one, _process(server) as other:
        stored = await one.create("acme", CreateAgent(id="reviewer", provider=PROVIDER))

        await server.kill()
        await server.start()
        with anyio.fail_after(30 * PATIENCE):
            changed = await one.apply("acme", ApplyAgent(id="reviewer", name="Critic"))
            names = await _names(other)

        assert names == ["Critic"]
        assert await other.executable("acme", "reviewer") == changed
        assert await other.get("acme", GetAgent(id="reviewer", version=1)) == stored


async def _names(definitions: Definitions) -> list[str]:
    """Ask until the bus is there again."""
    while True:
        try:
            return [row.name for row in await definitions.rows("acme")]
        except UnavailableError:
            await anyio.sleep(0.05)
