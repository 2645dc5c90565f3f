"""What large requests cost: memory while they wait, the loop's time, the light ones beside them.

The figures are those of a request that is stored apart before it is accepted (``bus/bodies``).
"""

import gc
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec

from actors.agents.adapters import prompts as stored
from actors.agents.core.entity import EXECUTION
from actors.agents.core.prompts import prompt_of, referring
from actors.streaming.adapters import prompts as read
from bus.codec import decode, encode
from bus.connection import NatsAddress
from bus.fairness.slices import Slices
from bus.jetstream import open_bus
from bus.requests.rpc import command
from bus.shard.book import ShardBook
from bus.shard.turn import PendingCommand, take_turn
from schemas.bodies import BodyReference
from schemas.lifecycle import Accept, GenerateWork, Origin
from schemas.llm import ChatMessage, GenerateRequest, ImageData
from schemas.providers import Scripted
from tests.bench.executions import COMPLETED, LONGEST_SECONDS
from tests.bench.fleet import Fleet, fleet, server
from tests.bench.rows import Row, percentile
from tests.lag import measured

NAME = "bodies"
WAITING, WAITING_BYTES = 10_000, 20_000
IMAGE_BYTES = 11 * 1024**2
PROMPT_BYTES, AT_ONCE = 50_000, 5
LIGHT = 200
TURNS, FEW, MANY = 100, 10, 90
"""Turns of a session, and between which two the journals' growth is compared."""

LINE = "a line of a text that somebody has pasted. "
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FAST = {"type": "scripted", "responses": ["one two three"], "delay_ms": 0}
SLOW = {"type": "scripted", "responses": ["one two three"], "delay_ms": 20}


class Ends:
    """Hears which executions are completed."""

    def __init__(self) -> None:
        self._ended: dict[str, anyio.Event] = defaultdict(anyio.Event)

    def take(self, subject: bytes, _: bytes) -> None:
        """Note the end of an execution."""
        self._ended[subject.decode().rpartition(".")[2]].set()

    async def of(self, handle: Mapping[str, Any]) -> None:
        """Wait for the end of an execution."""
        with anyio.fail_after(LONGEST_SECONDS):
            await self._ended[handle["execution_id"]].wait()
        del self._ended[handle["execution_id"]]


async def measure() -> list[Row]:
    """Measure what waits, the loop, then a fleet."""
    rows = [_waiting(), await _held()]
    async with fleet(["agents", "streaming", "pricing"]) as running:
        ends = Ends()
        await running.wire.subscribe(COMPLETED, ends.take)
        return [*rows, *await _beside(running, ends), await _session(running, ends)]


def _asked(content: ChatMessage, task: str, number: int = 0) -> Accept:
    origin = Origin(
        tenant=f"tenant-{number % 200}",
        execution_id=f"0198f0c4-5b7e-7000-8000-{number:012}",
        task=task,
        digest="d" * 32,
        max_attempts=5,
    )
    request = GenerateRequest(provider=Scripted(responses=["Hi."]), messages=[content])
    return Accept(origin=origin, request=request, timeout_seconds=300.0)


def _waiting() -> Row:
    """Have so many executions accepted whose work waits, and weigh the book that holds them."""
    gc.collect()
    tracemalloc.start()
    book = ShardBook(EXECUTION)
    for number in range(WAITING):
        task = f"{number} {LINE * (WAITING_BYTES // len(LINE))}"
        wanted = _asked(ChatMessage(role="user", content=task), task, number)
        digest = f"{number:064}"
        name = f"body.execution.3.{wanted.origin.tenant}.{wanted.origin.execution_id}.{digest}"
        body = len(encode(prompt_of(wanted)))
        short = referring(wanted, BodyReference(name=name, digest=digest, bytes=body))
        origin = wanted.origin
        envelope = command(
            "accept", origin.tenant, origin.execution_id, short, digest=origin.digest
        )
        take_turn(book, [PendingCommand(envelope)], NOW)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return Row(NAME, "memory of 10,000 waiting items of 20 KB", used, "MB", most=60)


async def _held() -> Row:
    """Store and read a request with a large image, and see how long the loop stands still."""
    image = ImageData(media_type="image/png", data="iVBORw0K" * (IMAGE_BYTES // 8))
    wanted = _asked(ChatMessage(role="user", content=[image]), "What is this?")
    async with server() as running, open_bus(NatsAddress(urls=running.urls, name="bench")) as bus:
        storing = stored.PromptStore(bus, 16, Slices())
        reading = read.PromptReader(bus, Slices())
        async with measured() as lag:
            short = decode(Accept, await storing.encoded(wanted))
            assert isinstance(short.request, GenerateRequest)
            work = GenerateWork(
                execution_id=short.origin.execution_id,
                tenant=short.origin.tenant,
                step=1,
                attempt=1,
                segment=1,
                deadline=NOW,
                request=short.request,
                prompt=short.prompt,
            )
            async with reading.whole(work) as whole:
                pass
    if whole.request != wanted.request:
        raise AssertionError("another request was read")
    return Row(
        NAME, "longest stop of the loop, a request of 11 MB", lag.longest * 1e3, "ms", most=50
    )


async def _beside(running: Fleet, ends: Ends) -> list[Row]:
    """Measure light executions beside others under way: with small prompts, then with large."""
    await running.ask("agents.apply", {"id": "fast", "provider": FAST})
    await _light(running, ends)
    small = await _loaded(running, ends, LINE)
    large = await _loaded(running, ends, LINE * (PROMPT_BYTES // len(LINE)))
    what = "light p50, 5 others under way: 50 KB / 43 B"
    return [
        Row(NAME, what, percentile(large, 0.5), "ms", percentile(small, 0.5), most=1.2),
        Row(NAME, "    p99", percentile(large, 0.99), "ms", percentile(small, 0.99)),
    ]


async def _loaded(running: Fleet, ends: Ends, text: str) -> list[float]:
    takes: list[float] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(_other, running, ends, text)
        await anyio.sleep(0.3)
        takes = await _light(running, ends)
        tasks.cancel_scope.cancel()
    return takes


async def _light(running: Fleet, ends: Ends) -> list[float]:
    takes: list[float] = []
    for _ in range(LIGHT):
        began = time.perf_counter()
        handle = await running.ask("agents.execute", {"agent_id": "fast", "task": "Say it."})
        await ends.of(handle)
        takes.append((time.perf_counter() - began) * 1e3)
    return takes


async def _other(running: Fleet, ends: Ends, text: str) -> None:
    while True:
        messages = [{"role": "user", "content": text}]
        handle = await running.ask("llm.generate", {"provider": SLOW, "messages": messages})
        await ends.of(handle)


async def _session(running: Fleet, ends: Ends) -> Row:
    """Lead a long conversation, and compare what early and late turns add to the journals."""
    memory = {"strategy": "last_n", "max_history": 100}
    await running.ask("agents.apply", {"id": "talker", "provider": FAST, "memory": memory})
    sizes: list[int] = []
    for number in range(TURNS):
        task = f"Question {number}: {LINE * 4}"
        wanted = {"agent_id": "talker", "task": task, "session": "long"}
        handle = await running.ask("agents.execute", wanted)
        await ends.of(handle)
        sizes.append(await _journals(running))
    early, late = (sizes[FEW + 9] - sizes[FEW - 1]) / 10, (sizes[MANY + 9] - sizes[MANY - 1]) / 10
    what = "journalled by turn 90 of a session / turn 10"
    return Row(NAME, what, late, "bytes", early, most=1.2)


async def _journals(running: Fleet) -> int:
    info = msgspec.json.decode(
        await running.wire.request("$JS.API.STREAM.INFO.JOURNAL_EXECUTION", b"")
    )
    return int(info["state"]["bytes"])
