"""Our HTTP lane beside a session of the official SDK, on the same fake server, in one run."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import anyio
from mcp.client import Client

from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.core.upstream import CallPlan, ServerAddress
from bus.http import HttpClient
from bus.security.egress import Egress
from bus.tasks import loop_time
from tests.bench.rows import Row, percentile

NAME = "mcp"
SECONDS = 2.0
OPENINGS = 20
ARGUMENTS = {"text": "hello", "number": 7}

Call = Callable[[], Awaitable[object]]


async def measure() -> list[Row]:
    """Return calls a second at several widths, and the time to open one more session."""
    rows: list[Row] = []
    for era, words in (("2025-11-25", []), ("2026-07-28", ["modern"])):
        with serving(*words) as url:
            rows += await _calls(url, era)
            rows += await _openings(url, era)
    return rows


async def _calls(url: str, era: str) -> list[Row]:
    rows: list[Row] = []
    for width, least in ((1, None), (32, 15.0), (200, 10.0)):
        # Taken in turns, since the machine has other work at times.
        ours = theirs = 0.0
        for _ in range(2):
            async with lane(url) as call:
                ours = max(ours, await _rate(call, width))
            async with sdk(url, era) as call:
                theirs = max(theirs, await _rate(call, width))
        what = f"calls/s at {width}, {era}, beside the SDK"
        rows.append(Row(NAME, what, ours, "/s", theirs, least=least))
    return rows


async def _openings(url: str, era: str) -> list[Row]:
    ours: list[float] = []
    theirs: list[float] = []
    async with HttpClient(Egress(allow_loopback=True)) as client:
        async with anyio.create_task_group() as tasks:
            lanes = Lanes(tasks, client)
            for _ in range(OPENINGS):
                began = perf_counter()
                upstream = lanes(_address(url))
                await upstream.open(loop_time() + 10)
                ours.append(perf_counter() - began)
                await upstream.close()
        for _ in range(OPENINGS):
            began = perf_counter()
            async with sdk(url, era):
                theirs.append(perf_counter() - began)
    what = f"one more session opened, {era}"
    figures = [percentile(each, 0.5) * 1000 for each in (ours, theirs)]
    return [Row(NAME, what, figures[0], "ms", figures[1], most=0.125)]


async def _rate(call: Call, width: int) -> float:
    done = 0
    end = perf_counter() + SECONDS

    async def caller() -> None:
        nonlocal done
        while perf_counter() < end:
            await call()
            done += 1

    for _ in range(5):
        await call()
    began = perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(width):
            tasks.start_soon(caller)
    return done / (perf_counter() - began)


@asynccontextmanager
async def lane(url: str) -> AsyncGenerator[Call]:
    """Open our lane; yield what calls a tool."""
    async with (
        HttpClient(Egress(allow_loopback=True)) as client,
        anyio.create_task_group() as tasks,
    ):
        upstream = Lanes(tasks, client)(_address(url))
        await upstream.open(loop_time() + 10)

        async def call() -> object:
            return await upstream.call(CallPlan("echo", ARGUMENTS, loop_time() + 60))

        yield call
        await upstream.close()


@asynccontextmanager
async def sdk(url: str, era: str) -> AsyncGenerator[Call]:
    """Open the SDK's session; yield what calls a tool."""
    async with Client(url, mode="legacy" if era < "2026" else era) as client:

        async def call() -> object:
            return await client.call_tool("echo", ARGUMENTS)

        yield call


class serving:  # noqa: N801  used as a function
    """Runs the fake server in a process of its own; gives its URL."""

    def __init__(self, *words: str) -> None:
        self._command = [sys.executable, "-m", "tests.mcp.fake", *words]

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _address(url: str) -> ServerAddress:
    return ServerAddress("fake", "http", url=url)
