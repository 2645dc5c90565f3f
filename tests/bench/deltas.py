"""From the provider's bytes to the subscriber: what the way adds, and how much passes a second."""

import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec

from tests.bench.executions import ACCEPTED, COMPLETED, Counter
from tests.bench.fleet import Fleet, fleet
from tests.bench.provider import STAMP_WIDTH
from tests.bench.rows import Row, percentile
from tests.bench.wire import encoded

NAME = "deltas"
PACED_STREAMS, PACED_CHUNKS, PACED_SECONDS = 20, 150, 0.025
FULL_STREAMS, FULL_CHUNKS = 200, 500
ENVIRONMENT = {"MAX_CONCURRENT_EXECUTIONS": "200", "OPENAI_API_KEY": "none"}


class Deltas:
    """Takes stream events: how late each text is, how many chunks and events came, and by when.

    Times count from the request: who brings the first text sooner has not begun its work sooner.
    """

    def __init__(self) -> None:
        self.late: list[float] = []
        self.chunks = 0
        self.events = 0
        self.began = self.last = time.monotonic()

    def take(self, _: bytes, data: bytes) -> None:
        """Note one event; a text event may hold several chunks."""
        now = time.monotonic()
        decoded = msgspec.json.decode(data)
        if decoded["type"] != "content_chunk":
            return
        text: str = decoded["content"]
        self.last = now
        self.events += 1
        self.chunks += len(text) // STAMP_WIDTH
        self.late.append(now - float(text[-STAMP_WIDTH:]))


async def measure() -> list[Row]:
    """Measure paced streams for latency and unpaced ones for throughput."""
    async with _provider() as url, fleet(["agents", "streaming"], ENVIRONMENT) as running:
        await _apply(running, "paced", url, f"{PACED_CHUNKS}:{PACED_SECONDS}")
        await _apply(running, "full", url, f"{FULL_CHUNKS}:0")
        await _play(running, "full", 10)
        paced = await _play(running, "paced", PACED_STREAMS)
        full = await _play(running, "full", FULL_STREAMS)
    assert full.chunks == FULL_STREAMS * FULL_CHUNKS, full.chunks
    took, late = full.last - full.began, [seconds * 1e3 for seconds in paced.late]
    what = f"added latency, {PACED_STREAMS} paced streams"
    return [
        Row(NAME, f"{what}, p50", percentile(late, 0.5), "ms", most=1.5),
        Row(NAME, f"{what}, p99", percentile(late, 0.99), "ms"),
        Row(NAME, f"deltas, {FULL_STREAMS} streams", full.chunks / took, "1/s", least=15_000),
        Row(NAME, "events that carried them", full.events / took, "1/s"),
    ]


async def _apply(running: Fleet, name: str, url: str, model: str) -> None:
    provider = {"type": "custom", "model": model, "base_url": url}
    await running.ask("agents.apply", {"id": name, "provider": provider})


async def _play(running: Fleet, agent: str, streams: int) -> Deltas:
    """Run so many executions of an agent at once, and return what their streams brought."""
    deltas, accepted, completed = Deltas(), Counter(), Counter()
    wire = running.wire
    subscriptions = [
        await wire.subscribe("cb.local.stream.*", deltas.take),
        await wire.subscribe(ACCEPTED, accepted.take),
        await wire.subscribe(COMPLETED, completed.take),
    ]
    body = msgspec.json.encode({"agent_id": agent, "task": "Tell the time."})
    deltas.began = time.monotonic()
    wire.write(encoded("cb.local.agents.execute", body, ACCEPTED) * streams)
    await completed.reach(streams)
    for subscription in subscriptions:
        wire.unsubscribe(subscription)
    return deltas


@asynccontextmanager
async def _provider() -> AsyncGenerator[str]:
    command = [sys.executable, "-m", "tests.bench.provider"]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout is not None
        port = (await process.stdout.receive()).decode().strip()
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
