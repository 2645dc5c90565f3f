"""Executions of a model that takes no time: latency at light load, throughput at full load."""

import time
from collections import deque
from statistics import median

import anyio
import msgspec

from tests.bench.fleet import Fleet, fleet
from tests.bench.rows import Row, percentile
from tests.bench.wire import Wire, encoded

NAME = "executions"
LIGHT = 200
LOADS = ((50, 1500), (200, 4000))
"""Executions in flight, and how many a round."""

ROUNDS = 5
"""One round varies by a tenth and more where the processors are shared with others."""

LONGEST_SECONDS = 120.0
AGENT = {
    "id": "fast",
    "provider": {"type": "scripted", "responses": ["one two three"], "delay_ms": 0},
}
ACCEPTED, COMPLETED = "_INBOX.bench.accepted", "cb.local.events.execution.completed.*"
BODY = msgspec.json.encode({"agent_id": "fast", "task": "Say three words."})
STREAM = {"name": "BENCH", "subjects": ["bench.floor"], "max_bytes": 1024**3}


class Counter:
    """Counts what a subject brings, and notes when."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._waiting: deque[tuple[int, anyio.Event]] = deque()
        self.then = lambda: None

    def take(self, _: bytes, data: bytes) -> None:
        """Note a message."""
        assert not data.startswith(b'{"type":"problem"'), data
        self.times.append(time.perf_counter())
        self.then()
        while self._waiting and len(self.times) >= self._waiting[0][0]:
            self._waiting.popleft()[1].set()

    async def reach(self, count: int) -> float:
        """Return when the ``count``-th message came."""
        if len(self.times) < count:
            event = anyio.Event()
            self._waiting.append((count, event))
            with anyio.fail_after(LONGEST_SECONDS):
                await event.wait()
        return self.times[count - 1]


async def measure() -> list[Row]:
    """Measure light latency beside an acked publish, then throughput."""
    async with fleet(["agents", "streaming", "pricing"]) as running:
        await running.ask("agents.apply", AGENT)
        accepted, completed = Counter(), Counter()
        await running.wire.subscribe(ACCEPTED, accepted.take)
        await running.wire.subscribe(COMPLETED, completed.take)
        request = encoded("cb.local.agents.execute", BODY, ACCEPTED)
        rows = await _light(running, request, accepted, completed)
        for flying, count in LOADS:
            used = running.processor_seconds()
            rates = [
                await _throughput(running.wire, request, completed, flying, count)
                for _ in range(ROUNDS)
            ]
            least = 800.0 if flying == LOADS[-1][0] else None
            what = f"completed, {flying} in flight, median of {ROUNDS}"
            rows.append(Row(NAME, what, median(rates), "1/s", least=least))
            for who, seconds in running.processor_seconds().items():
                what = f"  processor time an execution, {who}"
                rows.append(Row(NAME, what, (seconds - used[who]) / (count * ROUNDS) * 1e6, "us"))
        return rows


async def _light(
    running: Fleet, request: bytes, accepted: Counter, completed: Counter
) -> list[Row]:
    """Measure one at a time, each beside one publish into a synced stream."""
    await _floor_stream(running.wire)
    acks = Counter()
    await running.wire.subscribe("_INBOX.bench.acks", acks.take)
    publish = encoded("bench.floor", BODY * 20, "_INBOX.bench.acks")
    floors: list[float] = []
    takes: list[tuple[float, float]] = []
    for turn in range(1, LIGHT + 51):
        began = time.perf_counter()
        running.wire.write(publish)
        floors.append(await acks.reach(turn) - began)
        began = time.perf_counter()
        running.wire.write(request)
        ended = await completed.reach(turn)
        takes.append((await accepted.reach(turn) - began, ended - began))
    return _light_rows(floors[50:], takes[50:])


def _light_rows(floors: list[float], takes: list[tuple[float, float]]) -> list[Row]:
    milli = 1e3
    floor = percentile(floors, 0.5) * milli
    ends = [end for _, end in takes]
    accepts = [accept for accept, _ in takes]
    return [
        Row(NAME, "request -> accepted p50", percentile(accepts, 0.5) * milli, "ms", floor),
        Row(NAME, "request -> completed p50", percentile(ends, 0.5) * milli, "ms", floor, most=8),
        Row(NAME, "request -> completed p99", percentile(ends, 0.99) * milli, "ms", floor),
    ]


async def _floor_stream(wire: Wire) -> None:
    answer = await wire.request("$JS.API.STREAM.CREATE.BENCH", msgspec.json.encode(STREAM))
    assert b'"error"' not in answer, answer


async def _throughput(
    wire: Wire, request: bytes, completed: Counter, flying: int, count: int
) -> float:
    """Keep so many executions in flight until ``count`` are completed; return how many a second."""
    completed.times.clear()
    left = count - flying

    def send_next() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            wire.write(request)

    completed.then = send_next
    began = time.perf_counter()
    wire.write(request * flying)
    return count / (await completed.reach(count) - began)
