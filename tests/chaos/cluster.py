"""Chaos on a cluster: of three nats-servers one at a time is killed, or cut off by being stopped.

The others must go on without it, and the fleet with them. Actors are killed in between. What is
promised, and how it is judged, is the same as on one server.
"""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from random import Random

import anyio
from anyio.abc import TaskGroup

from bus.connection import Address
from bus.jetstream import open_bus
from bus.server import EmbeddedCluster, EmbeddedServer
from tests.chaos.clients import chaos_client
from tests.chaos.faults import Fault, Woken
from tests.chaos.judge import Judge
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.provider import running_provider
from tests.chaos.trial import Plan, Result, Trial
from tests.chaos.victims import REPLICAS, RESTART_SECONDS, Actor, wait_until_ready

SHORTEST_AWAY, LONGEST_AWAY = 0.5, 8.0

SERVER_KILLED, SERVER_CUT_OFF = "server killed", "server cut off"
WEIGHTS = {SERVER_KILLED: 3, SERVER_CUT_OFF: 3, "agents killed": 1, "streaming killed": 1}


class ClusterTormentor:
    """Does one thing after another to a cluster and the fleet on it, never to two servers at once.

    The moments of ``faults`` are their beginnings: nobody has to wait for a server to come back.
    """

    def __init__(self, cluster: EmbeddedCluster, actors: list[Actor], chance: Random) -> None:
        self._cluster = cluster
        self._actors = actors
        self._chance = chance
        self.faults: list[Fault] = []
        self.woken: list[Woken] = []

    @property
    def deaths(self) -> list[str]:
        """The ends of processes that it had not wanted."""
        return [death for actor in self._actors for death in actor.deaths]

    async def one(self, tasks: TaskGroup) -> None:  # noqa: ARG002  nothing goes on later
        """Do one thing by chance, and wait until the servers agree again."""
        kind = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        now = anyio.current_time()
        self.faults.append(Fault(now, kind, now))
        if kind in (SERVER_KILLED, SERVER_CUT_OFF):
            node = self._chance.choice(self._cluster.nodes)
            away = self._chance.uniform(SHORTEST_AWAY, LONGEST_AWAY)
            await (_killed if kind == SERVER_KILLED else _cut_off)(node, away)
            await self._cluster.agreed()
        else:
            await self._kill_actor(kind.partition(" ")[0])

    async def _kill_actor(self, kind: str) -> None:
        actor = self._chance.choice([actor for actor in self._actors if actor.kind == kind])
        while not actor.kill():
            await anyio.sleep(RESTART_SECONDS)


async def _killed(node: EmbeddedServer, away: float) -> None:
    await node.kill()
    await anyio.sleep(away)
    await node.start()


async def _cut_off(node: EmbeddedServer, away: float) -> None:
    """Stop the process: connections to it stay open, and nothing comes back on them."""
    pid = node.pid or 0
    os.kill(pid, signal.SIGSTOP)
    try:
        await anyio.sleep(away)
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def actors_on(cluster: EmbeddedCluster, directory: Path) -> AsyncGenerator[list[Actor]]:
    """Run two agents and two streaming processes on a cluster while the context is open."""
    url = ",".join(cluster.urls)
    actors = [
        Actor(kind, url, directory / f"{kind}-{number}.log", durability=cluster.durability)
        for number, kind in enumerate(REPLICAS)
    ]
    async with anyio.create_task_group() as tasks:
        for actor in actors:
            tasks.start_soon(actor.supervise)
        yield actors
        tasks.cancel_scope.cancel()


async def run_on_cluster(directory: Path, plan: Plan) -> Result:
    """Do what is planned to a busy fleet on a cluster whose files lie in ``directory``."""
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(directory / "ledger.sqlite")))
        calls_file = directory / "calls.jsonl"
        provider = await stack.enter_async_context(running_provider(calls_file))
        cluster = await stack.enter_async_context(EmbeddedCluster(directory / "nats"))
        actors = await stack.enter_async_context(actors_on(cluster, directory))
        address = Address(urls=cluster.urls, name="judge")
        bus = await stack.enter_async_context(
            open_bus(address, entities=["execution"], durability=cluster.durability)
        )
        await wait_until_ready(bus.nats)
        clients = [
            await stack.enter_async_context(chaos_client(name, cluster.url, ledger))
            for name in ("one", "other")
        ]
        trial = Trial(
            plan,
            ClusterTormentor(cluster, actors, Random(plan.seed)),
            Load(clients, provider, Random(plan.seed + 1)),
            ledger,
        )
        return await trial.run(Judge(bus, clients[0], ledger, calls_file))
