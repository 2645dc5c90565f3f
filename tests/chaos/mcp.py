"""Calls of tools over real lanes, cancelled and cut at random; afterwards nothing may be open.

    python -m tests.chaos.mcp [--calls 10000] [--seed 1]

Three servers at once: over HTTP with sessions and without, and a process behind its standard
streams. Every call is cancelled at a random moment, or ends; now and then a server loses all its
connections, or its process is killed. Exits with 0 if in the end the ledger tells of nothing open
and nothing leaked, and the servers, the system's table of processes and the event loop agree.
"""

import argparse
import logging
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from time import monotonic

import anyio

from actors.mcp_pool.actor import ANYWHERE, LIMITS
from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.adapters.processes import descendants
from actors.mcp_pool.core.servers import ServerPlace, ServerSpec
from actors.mcp_pool.core.upstream import ServerAddress, UpstreamError
from actors.mcp_pool.flow import replica
from actors.mcp_pool.flow.ledger import UpstreamLedger
from actors.mcp_pool.flow.means import PoolMeans
from actors.mcp_pool.flow.pool import ServerPool
from bus.http import HttpClient
from bus.tasks import background
from schemas.tool_servers import ServerLimits, ServerTerms
from schemas.tools import ToolHints
from tests.mcp.fake import FakeMcpServer, fake_server
from tests.pools import Pooled

AT_ONCE = 48
LONGEST = 0.3
"""Seconds until a call is cancelled, at most."""

RESTARTS = 100
"""A server loses its connections once in so many calls."""

EXITS = 40
"""Of the calls of the process one in so many ends it."""

OF_THE_PROCESS = 0.1
SETTLE_SECONDS = 30.0
TOOLS = ("echo", "slow", "hang", "progress", "endless", *["echo", "slow", "progress"] * 9, "cut")
COMMAND = (sys.executable, "-m", "tests.mcp.stdio_server")


class Storm:
    """Calls at random, from one seed."""

    def __init__(self, seed: int, servers: list[FakeMcpServer], pools: list[Pooled]) -> None:
        self.random = Random(seed)
        self.servers = servers
        self.pools = pools
        self.ended: Counter[str] = Counter()

    async def run(self, calls: int) -> None:
        """Make so many calls."""
        left = iter(range(calls))

        async def caller() -> None:
            for number in left:
                await self._one(number)

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(caller)

    async def _one(self, number: int) -> None:
        random = self.random
        if not random.randrange(RESTARTS):
            self.ended["restarts"] += 1
            random.choice(self.servers).restart()
        if random.random() < OF_THE_PROCESS:
            pool, tool = self.pools[-1], "hang" if random.randrange(EXITS) else "exit"
        else:
            pool, tool = random.choice(self.pools[:-1]), random.choice(TOOLS)
        result: object = None
        with anyio.move_on_after(random.uniform(0, LONGEST)) as scope:
            hints = ToolHints(read_only=bool(random.randrange(2)))
            result = await pool.call(tool, number, who=f"a{number % 7}", hints=hints)
        if scope.cancelled_caught:
            self.ended["cancelled"] += 1
        else:
            outcome = result.outcome if isinstance(result, UpstreamError) else "ok"
            self.ended[outcome] += 1


async def run(calls: int, seed: int) -> bool:
    """Run, report, and say whether all was given back."""
    # A circuit that opens would keep most calls from the servers.
    replica.TRIP = replica.TRIP._replace(failures=calls)
    logging.disable(logging.WARNING)
    began, tasks_before = monotonic(), len(anyio.get_running_tasks())
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(fake_server(modern=modern)) for modern in (False, True)
        ]
        client = await stack.enter_async_context(HttpClient(ANYWHERE, LIMITS))
        tasks = await stack.enter_async_context(background())
        ledger = UpstreamLedger(lambda: (client.opened, client.closed))
        means = PoolMeans(lambda where, _: Lanes(tasks, client)(where), tasks, ledger)
        places = [ServerPlace("http", url=each.url) for each in servers]
        places.append(ServerPlace("stdio", command=COMMAND))
        pools = [_pooled(place, means, ledger) for place in places]
        storm = Storm(seed, servers, pools)
        await storm.run(calls)
        for pool in pools:
            await pool.pool.close()
        for server in servers:
            # Those that still wait for a change look after their connections.
            server.changed.set()
        await client.aclose()
        with anyio.move_on_after(SETTLE_SECONDS):
            while (
                any(ledger.state().open.values())
                or any(each.sockets for each in servers)
                or len(descendants(os.getpid())) > 1
            ):
                await anyio.sleep(0.1)
        state, sockets = ledger.state(), sum(each.sockets for each in servers)
    left = {
        **state.open,
        **{f"{kind} leaked": count for kind, count in state.leaked.items()},
        "sockets of the servers": sockets,
        "processes of the system": len(descendants(os.getpid())) - 1,
        "tasks of the loop": len(anyio.get_running_tasks()) - tasks_before,
    }
    opened, _ = ledger.totals()
    print(f"{calls} calls, seed {seed}, {monotonic() - began:.0f} s: {dict(storm.ended)}")
    print(f"opened in all: {opened}")
    print(f"left: {left}")
    return not any(left.values())


def _pooled(place: ServerPlace, means: PoolMeans, ledger: UpstreamLedger) -> Pooled:
    limits = ServerLimits(concurrency=AT_ONCE)
    terms = ServerTerms(sharing="shared", limits=limits)
    spec = ServerSpec(name="fake", owner="", version=0, places=(place,), terms=terms)
    where = ServerAddress("fake", place.lane, url=place.url, command=place.command)
    return Pooled(ServerPool(spec, means, lambda *_: where, lambda *_: None), ledger, [])


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    return 0 if anyio.run(partial(run, told.calls, told.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
