"""How long executions stand still when a process is killed with SIGKILL."""

import time
from collections.abc import Callable

import anyio
import msgspec

from tests.bench.executions import ACCEPTED, COMPLETED, LONGEST_SECONDS, Counter
from tests.bench.fleet import Fleet, fleet
from tests.bench.rows import Row
from tests.bench.wire import encoded

NAME = "failover"
FLYING = 20
MOST_SECONDS = 3.0
WORDS, DELAY_MS = 150, 20
LAST_WORDS = 10
SLOW = {"type": "scripted", "responses": ["word " * WORDS], "delay_ms": DELAY_MS}


class Watch:
    """The newest place of every stream, and when each first brought text of another segment."""

    def __init__(self) -> None:
        self.place: dict[bytes, tuple[int, int]] = {}
        self.moved: dict[bytes, float] = {}
        self._changed = anyio.Event()

    def take(self, subject: bytes, data: bytes) -> None:
        """Note an event of a stream; only a worker's count."""
        event = msgspec.json.decode(data)
        if event["type"] != "content_chunk":
            return
        before, now = self.place.get(subject), (event["segment"], event["sequence"])
        if before is not None and now[0] > before[0]:
            self.moved.setdefault(subject, time.perf_counter())
        self.place[subject] = now
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds."""
        with anyio.fail_after(LONGEST_SECONDS):
            while not condition():
                await self._changed.wait()

    async def reach(self, sequence: int) -> None:
        """Return when every execution's stream is that far."""
        places = self.place
        await self.until(
            lambda: len(places) == FLYING and all(at[1] >= sequence for at in places.values())
        )


async def measure() -> list[Row]:
    """Kill a worker, then, in another fleet, an owner of shards."""
    return [await _worker_killed(), await _owner_killed()]


async def _worker_killed() -> Row:
    """Kill the worker that has all executions while another stands by: they begin new segments."""
    async with fleet(["agents", "streaming", "pricing"]) as running:
        watch = await _begun(running)
        await watch.reach(1)
        await running.start("streaming")
        killed_at = time.perf_counter()
        running.kill("streaming")
        await watch.until(lambda: len(watch.moved) == FLYING)
        took = max(watch.moved.values()) - killed_at
        return Row(NAME, f"worker killed, last of {FLYING} moved on", took, "s", most=MOST_SECONDS)


async def _owner_killed() -> Row:
    """Kill one of two owners of shards just before the answers end: who takes over ends them."""
    async with fleet(["agents", "agents", "streaming", "pricing"]) as running:
        completed = Counter()
        await running.wire.subscribe(COMPLETED, completed.take)
        watch = await _begun(running)
        await watch.reach(WORDS - LAST_WORDS)
        killed_at = time.perf_counter()
        running.kill("agents")
        took = await completed.reach(FLYING) - killed_at
        what = f"shard owner killed, last of {FLYING} ended"
        return Row(NAME, what, took, "s", most=MOST_SECONDS)


async def _begun(running: Fleet) -> Watch:
    """Begin the executions and return what watches their streams."""
    watch, accepted = Watch(), Counter()
    await running.ask("agents.apply", {"id": "slow", "provider": SLOW})
    await running.wire.subscribe("cb.local.stream.*", watch.take)
    await running.wire.subscribe(ACCEPTED, accepted.take)
    body = msgspec.json.encode({"agent_id": "slow", "task": "Take your time."})
    running.wire.write(encoded("cb.local.agents.execute", body, ACCEPTED) * FLYING)
    await accepted.reach(FLYING)
    return watch
