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

from bus.codec import decode
from bus.connection import Address
from bus.jetstream import NatsBus, open_bus
from bus.ports import Journal
from bus.server import EmbeddedCluster, EmbeddedServer
from bus.shard.report import owned_shards
from bus.subjects import journal_subject
from schemas.journal import Commit
from tests.chaos import report
from tests.chaos.clients import chaos_client
from tests.chaos.faults import Fault
from tests.chaos.judge import judge
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.run import LEAST_PAUSE, LONGEST_PAUSE, WARM_SECONDS, Result
from tests.chaos.victims import READY_SECONDS, REPLICAS, RESTART_SECONDS, Actor, wait_until_ready

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

    async def one(self) -> None:
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


async def run_on_cluster(directory: Path, *, faults: int, seed: int) -> Result:
    """Do so many things to a busy fleet on a cluster whose files lie in ``directory``."""
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(directory / "ledger.sqlite")))
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
        load = Load(clients, Random(seed + 1))
        await load.prepare()
        tormentor = ClusterTormentor(cluster, actors, Random(seed))
        await _torment(tormentor, load, faults, Random(seed + 2))
        await _readable(bus)
        verdict = await judge(bus, clients[0], ledger, load.given)
        verdict.faults.extend(death for actor in actors for death in actor.deaths)
        return Result(verdict, report.text(verdict, ledger, tormentor.faults, seed))


async def _readable(bus: NatsBus) -> None:
    """Wait until the journals are shown as far as their owners have written them.

    A server that was cut off may still answer for a moment as the leader that it was.
    """
    journal = bus.journal("execution")
    with anyio.fail_after(READY_SECONDS):
        for answer in await owned_shards(bus.transport, seconds=1.0):
            for owned in answer.owned:
                subject = journal_subject(answer.entity, owned.shard)
                while not await _shows(journal, subject, owned.commit):
                    await anyio.sleep(RESTART_SECONDS)


async def _shows(journal: Journal, subject: str, commit: int) -> bool:
    newest = await journal.last(subject)
    return commit == 0 or (newest is not None and decode(Commit, newest.data).n >= commit)


async def _torment(tormentor: ClusterTormentor, load: Load, faults: int, chance: Random) -> None:
    async with anyio.create_task_group() as tasks:
        load.start(tasks)
        await anyio.sleep(WARM_SECONDS)
        for _ in range(faults):
            await anyio.sleep(chance.uniform(LEAST_PAUSE, LONGEST_PAUSE))
            await tormentor.one()
        await anyio.sleep(WARM_SECONDS)
        load.stop()
