"""Fills a fleet with executions, and measures how much each costs while it does."""

import time
from collections import Counter
from itertools import count

import msgspec

from tests.bench import executions
from tests.bench.executions import ACCEPTED
from tests.bench.fleet import Fleet
from tests.bench.growth_figures import Figure
from tests.bench.rows import percentile
from tests.bench.wire import encoded

TENANTS = 200
FLYING = 200
LIGHT = 100
MEASURED = 3_000
"""The last executions of a step are measured, not more than these."""

LARGE_EACH, LARGE_BYTES = 100, 50_000
LONG_EACH, LONG_SESSIONS = 50, 4
COMPLETED = "cb.*.events.execution.completed.*"
WORDS = "one two three four five six seven eight nine"
AGENT = {
    "id": "fast",
    "provider": {"type": "scripted", "responses": [WORDS], "delay_ms": 0},
}
STREAMS = ("JOURNAL_EXECUTION", "JOURNAL_ACCOUNT", "EXECUTIONS", "EVENTS", "STREAMS", "BLOBS")


class Load:
    """A fleet, what it was given so far, and what came back."""

    def __init__(self, running: Fleet) -> None:
        self.running = running
        self.wire = running.wire
        self.done = 0
        self.local = 0
        self._completed, self._accepted = executions.Counter(), executions.Counter()
        self._numbers = count()

    async def begin(self) -> None:
        """Make the agents, and listen."""
        for tenant in ("local", *(tenant_of(number) for number in range(TENANTS))):
            await self.ask(tenant, "agents.apply", AGENT)
        await self.wire.subscribe(ACCEPTED, self._accepted.take)
        await self.wire.subscribe(COMPLETED, self._completed.take)

    async def ask(self, tenant: str, subject: str, body: object) -> dict[str, object]:
        """Make a public request of a tenant; a refusal ends the bench."""
        data = await self.wire.request(f"cb.{tenant}.{subject}", msgspec.json.encode(body))
        answer: dict[str, object] = msgspec.json.decode(data)
        assert answer.get("type") != "problem", answer
        return answer

    async def fill(self, size: int) -> list[Figure]:
        """Bring the fleet to so many executions; return what the last of them cost."""
        missing, before = size - self.done, await self._stored()
        measured = min(missing // 2, MEASURED)
        await self._run(missing - measured)
        used, began = self._used(), time.perf_counter()
        await self._run(measured)
        seconds = time.perf_counter() - began
        return [
            Figure("executions a second, 200 in flight", measured / seconds, "1/s", is_rate=True),
            Figure("processor time an execution", (self._used() - used) / measured * 1e3, "ms"),
            *await self._light(),
            *[
                Figure(f"bytes an execution, {stream}", each / missing, "B", 100)
                for stream, each in (await self._stored() - before).items()
            ],
        ]

    async def light(self, tenants: int = 1, many: int = LIGHT) -> list[float]:
        """Run executions one after another; return how long each took, in seconds."""
        self._completed.times.clear()
        takes: list[float] = []
        for number in range(1, many + 1):
            began = time.perf_counter()
            tenant = tenant_of(number % tenants)
            self.wire.write(_request(tenant, {"agent_id": "fast", "task": "Say nine words."}))
            takes.append(await self._completed.reach(number) - began)
        return takes

    async def _light(self) -> list[Figure]:
        takes = await self.light()
        return [
            Figure(
                f"light caller p{share:.0%}".rstrip("%"), percentile(takes, share) * 1e3, "ms", 5
            )
            for share in (0.5, 0.99)
        ]

    async def _run(self, many: int) -> None:
        """Keep some executions in flight until so many have ended."""
        self._completed.times.clear()
        requests = (self._next() for _ in range(many))
        self._completed.then = lambda: self.wire.write(next(requests, b""))
        for _ in range(min(many, FLYING)):
            self.wire.write(next(requests))
        await self._completed.reach(many)
        self._completed.then = lambda: None
        self.done += many

    def _next(self) -> bytes:
        number = next(self._numbers)
        tenant = tenant_of(number % TENANTS) if number % 2 else "local"
        self.local += not number % 2
        body: dict[str, object] = {"agent_id": "fast", "task": "Say nine words."}
        if number % LARGE_EACH == 0:
            body["task"] = "word " * (LARGE_BYTES // 5)
        if number % LONG_EACH == 2:
            body["session"] = f"long-{number // LONG_EACH % LONG_SESSIONS}"
        return _request(tenant, body)

    def _used(self) -> float:
        used = self.running.processor_seconds()
        return sum(seconds for who, seconds in used.items() if who != "bench")

    async def _stored(self) -> Counter[str]:
        """Return the bytes in each stream."""
        found = Counter[str]()
        for stream in STREAMS:
            answer = await self.wire.request(f"$JS.API.STREAM.INFO.{stream}", b"")
            found[stream] = msgspec.json.decode(answer)["state"]["bytes"]
        return found


def tenant_of(number: int) -> str:
    """Name one of the tenants beside ``local``."""
    return f"t{number:03}"


def _request(tenant: str, body: object) -> bytes:
    return encoded(f"cb.{tenant}.agents.execute", msgspec.json.encode(body), ACCEPTED)
