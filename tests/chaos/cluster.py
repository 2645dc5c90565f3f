"""Chaos on a cluster: of three nats-servers one at a time is killed, stopped or isolated.

The others must go on without it, and the fleet with them. Who is connected to an isolated server
still talks to it, and to nobody else. Actors are killed in between. What is
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

from bus.connection import NatsAddress
from bus.jetstream import NatsBus, open_bus
from bus.server import EmbeddedCluster, EmbeddedServer
from tests.chaos.clients import chaos_client
from tests.chaos.faults import Fault, Woken
from tests.chaos.judge import Judge
from tests.chaos.ledger import Ledger, time_of_day
from tests.chaos.load import Load
from tests.chaos.minority import Minority, leader_of
from tests.chaos.provider import running_provider
from tests.chaos.routes import Cut, Routes, open_routes
from tests.chaos.trial import Plan, Result, Trial
from tests.chaos.victims import REPLICAS, RESTART_SECONDS, Actor, wait_until_ready

SHORTEST_AWAY, LONGEST_AWAY = 0.5, 8.0
LONGEST_ALONE = 15.0
"""A server that leads a stream notices after 10 s that nobody follows."""

SERVER_KILLED, SERVER_STOPPED = "server killed", "server stopped"
SERVER_ISOLATED, LEADER_ISOLATED = "server isolated", "journal's leader isolated"
CUTS: tuple[Cut, ...] = ("silent", "broken")
WEIGHTS = {
    SERVER_KILLED: 4,
    SERVER_STOPPED: 2,
    SERVER_ISOLATED: 2,
    LEADER_ISOLATED: 2,
    "agents killed": 1,
    "streaming killed": 1,
    "pricing killed": 1,
}


class ClusterTormentor:
    """Does one thing after another to a cluster and the fleet on it, never to two servers at once.

    The moments of ``faults`` are their beginnings: nobody has to wait for a server to come back.
    """

    def __init__(
        self,
        cluster: EmbeddedCluster,
        routes: Routes,
        actors: list[Actor],
        bus: NatsBus,
        chance: Random,
    ) -> None:
        self._cluster = cluster
        self._routes = routes
        self._actors = actors
        self._bus = bus
        self._chance = chance
        self.minority = Minority()
        self.faults: list[Fault] = []
        self.woken: list[Woken] = []

    @property
    def surprises(self) -> list[str]:
        """What happened that it had not wanted."""
        return [*(death for actor in self._actors for death in actor.deaths), *self.minority.gone]

    async def one(self, tasks: TaskGroup) -> None:  # noqa: ARG002  nothing goes on later
        """Do one thing by chance, and wait until the servers agree again."""
        kind = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        victim, what = kind.rsplit(" ", 1)
        number = self._chance.randrange(len(self._cluster.nodes))
        if kind == LEADER_ISOLATED:
            number = await leader_of(self._bus, "execution")
        now = anyio.current_time()
        self.faults.append(Fault(now, kind, now))
        match what:
            case "isolated":
                await self._isolate(number)
            case "stopped":
                await self._stop(self._cluster.nodes[number])
            case _ if kind == SERVER_KILLED:
                await self._kill(self._cluster.nodes[number])
            case _:
                await self._kill_actor(victim)
        await self._cluster.agreed()

    async def _isolate(self, number: int) -> None:
        """Cut a server off; those who are connected to it stay so, and one of them writes."""
        async with self.minority.writing(self._cluster.nodes[number]):
            self._routes.isolate(number, self._chance.choice(CUTS))
            try:
                await anyio.sleep(self._chance.uniform(SHORTEST_AWAY, LONGEST_ALONE))
            finally:
                self._routes.heal(number)
        await self._cluster.agreed()
        await self.minority.look(self._bus)

    async def _kill(self, node: EmbeddedServer) -> None:
        await node.kill()
        await self._away()
        await node.start()

    async def _stop(self, node: EmbeddedServer) -> None:
        """Stop the process: connections to it stay open, and nothing comes back on them."""
        pid = node.pid or 0
        os.kill(pid, signal.SIGSTOP)
        try:
            await self._away()
        finally:
            os.kill(pid, signal.SIGCONT)
            self.woken.append(Woken(time_of_day(), SERVER_STOPPED))

    async def _away(self) -> None:
        await anyio.sleep(self._chance.uniform(SHORTEST_AWAY, LONGEST_AWAY))

    async def _kill_actor(self, kind: str) -> None:
        actor = self._chance.choice([actor for actor in self._actors if actor.kind == kind])
        while not actor.kill():
            await anyio.sleep(RESTART_SECONDS)


@asynccontextmanager
async def actors_on(cluster: EmbeddedCluster, directory: Path) -> AsyncGenerator[list[Actor]]:
    """Run the actors on a cluster while the context is open."""
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
        routes = await stack.enter_async_context(open_routes())
        cluster = await stack.enter_async_context(
            EmbeddedCluster(directory / "nats", ports=routes.ports, routes=routes.reached)
        )
        actors = await stack.enter_async_context(actors_on(cluster, directory))
        address = NatsAddress(urls=cluster.urls, name="judge")
        bus = await stack.enter_async_context(
            open_bus(address, entities=["execution"], durability=cluster.durability)
        )
        await wait_until_ready(bus.nats)
        clients = [
            await stack.enter_async_context(chaos_client(name, (url,), ledger))
            for name, url in zip(("one", "other"), cluster.urls, strict=False)
        ]
        trial = Trial(
            plan,
            ClusterTormentor(cluster, routes, actors, bus, Random(plan.seed)),
            Load(clients, provider, Random(plan.seed + 1)),
            ledger,
            bus.nats,
        )
        return await trial.run(Judge(bus, clients[0], ledger, calls_file))
