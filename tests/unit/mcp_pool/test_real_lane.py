"""The laws of the pool over the real HTTP lane, in both eras: what is lost is lost alone."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import anyio
import pytest

from actors.mcp_pool.actor import ANYWHERE, LIMITS
from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.core.servers import ServerPlace, ServerSpec
from actors.mcp_pool.core.upstream import UpstreamError
from actors.mcp_pool.flow.ledger import UpstreamLedger
from actors.mcp_pool.flow.means import PoolMeans
from actors.mcp_pool.flow.pool import ServerPool
from bus.http import HttpClient
from bus.tasks import background
from schemas.tool_servers import ServerLimits, ServerTerms
from schemas.tools import ToolHints
from tests.mcp.fake import FakeMcpServer, fake_server
from tests.pools import Pooled, address
from tests.unit.mcp_pool.test_pool_laws import gathered, outcome, outcomes

SECONDS = 30


class OverHttp(NamedTuple):
    """A pool over the HTTP lane, and what its client counts."""

    pool: Pooled
    client: HttpClient


@asynccontextmanager
async def over_http(server: FakeMcpServer) -> AsyncGenerator[OverHttp]:
    of = ServerSpec(
        name="fake",
        owner="",
        version=0,
        places=(ServerPlace("http", url=server.url),),
        terms=ServerTerms(sharing="shared", limits=ServerLimits(concurrency=64)),
    )
    async with HttpClient(ANYWHERE, LIMITS) as client, background() as tasks:
        ledger = UpstreamLedger(lambda: (client.opened, client.closed))
        lanes = Lanes(tasks, client)
        means = PoolMeans(lambda where, _: lanes(where), tasks, ledger)
        pool = ServerPool(of, means, address, lambda *_: None)
        yield OverHttp(Pooled(pool, ledger, []), client)
        await pool.close()
        await client.__aexit__()
        with anyio.move_on_after(5):
            while any(ledger.state().open.values()):
                await anyio.sleep(0.02)
        assert not any(ledger.state().open.values()), ledger.state()


@pytest.mark.parametrize("modern", [False, True])
async def test_a_restart_while_idle_costs_one_opening_at_most_and_no_call(*, modern: bool):
    with anyio.fail_after(SECONDS):
        async with fake_server(modern=modern) as server, over_http(server) as http:
            call = partial(http.pool.call, "echo", hints=ToolHints())
            assert outcome(await call()) == "ok"
            server.restart()
            await anyio.sleep(0.05)  # its connections are seen to be closed
            results = await gathered(*(call for _ in range(50)))
            opened = server.counts["initialize"]

    assert outcomes(results) == {"ok": 50}
    assert opened == (0 if modern else 2)
    assert server.counts["echo"] == 51


@pytest.mark.parametrize("modern", [False, True])
async def test_a_restart_while_busy_gives_every_call_an_outcome_and_repeats_what_may_be(
    *, modern: bool
):
    with anyio.fail_after(SECONDS):
        async with fake_server(modern=modern) as server, over_http(server) as http:
            call = http.pool.call
            assert outcome(await call("echo")) == "ok"
            results: list[object] = []

            async def one(hints: ToolHints) -> None:
                results.append(await call("slow", hints=hints, seconds=20))

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(one, ToolHints(read_only=bool(number % 2)))
                while server.counts["slow"] < 20:
                    await anyio.sleep(0.01)
                server.restart()

    assert len(results) == 20
    unknown = [each for each in results if isinstance(each, UpstreamError)]
    assert {each.outcome for each in unknown} <= {"outcome_unknown", "circuit_open"}
    assert all(each.sent for each in unknown)
    assert server.counts["slow"] <= 30
    assert server.counts["initialize"] <= 2


async def test_hung_calls_and_cancelled_ones_leave_nothing_open_and_others_alone():
    with anyio.fail_after(SECONDS):
        async with (
            fake_server() as ill,
            fake_server() as well,
            over_http(ill) as bad,
            over_http(well) as good,
        ):
            results = list[object]()
            async with anyio.create_task_group() as tasks:
                for number in range(120):
                    tasks.start_soon(partial(bad.pool.call, "hang", number, seconds=SECONDS))
                while ill.counts["hang"] < 64:
                    await anyio.sleep(0.01)
                results = await gathered(
                    *(partial(good.pool.call, "echo", n, seconds=5) for n in range(50))
                )
                tasks.cancel_scope.cancel()
            assert outcomes(results) == {"ok": 50}
            assert ill.counts["hang"] == 64
            assert not bad.pool.pool.busy
