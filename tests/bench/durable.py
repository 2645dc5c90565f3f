"""A durable flow of three trivial steps, from its start to its result: speed, cost, recovery.

Each step is journalled with ``sync_interval: always`` by the owner of its shard and done by a
worker, in processes of their own. Callers ask a Service and get the result on their inbox.
"""

import tempfile
import time
from collections import Counter as Tally
from pathlib import Path

import anyio
import msgspec

from tests.bench.executions import LONGEST_SECONDS, STREAM, Counter
from tests.bench.fleet import Fleet, fleet
from tests.bench.flow import LEDGER
from tests.bench.flow_entity import STEPS
from tests.bench.rows import Row, percentile
from tests.bench.wire import Wire, encoded

NAME = "durable"
OWNER, WORKER = "tests.bench.flow owner", "tests.bench.flow worker"
ACCEPTED, DONE, ACKS = "_INBOX.bench.accepted", "_INBOX.bench.done", "_INBOX.bench.acks"
LIGHT, WARM = 300, 100
LOADS = ((20, 3000), (200, 8000))
"""Callers, and flows in all."""

FLOOR_PUBLISHES = 3000
FLYING, STEP_SECONDS = 100, 3.0


async def measure() -> list[Row]:
    """Measure speed and cost in one fleet, recovery in another."""
    async with fleet([OWNER, WORKER]) as running:
        done = Counter()
        await running.wire.subscribe(DONE, done.take)
        await running.wire.subscribe(ACCEPTED, Counter().take)
        await keep(running.wire, start(), done, 50, 1000)
        rows = [*await _floor(running.wire), *await _light(running.wire, done)]
        for callers, count in LOADS:
            rows += await _loaded(running, done, callers, count)
        rows += memory_rows(NAME, running.memory())
    return [*rows, *await _worker_killed()]


def start(seconds: float = 0.0) -> bytes:
    """Return the encoded request for a flow."""
    body = msgspec.json.encode({"answer_to": DONE, "seconds": seconds})
    return encoded("cb.local.flows.start", body, ACCEPTED)


async def keep(wire: Wire, request: bytes, done: Counter, flying: int, count: int) -> float:
    """Keep so many requests in flight until ``count`` are done; return how many a second."""
    done.times.clear()
    left = count - flying

    def send_next() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            wire.write(request)

    done.then = send_next
    began = time.perf_counter()
    wire.write(request * flying)
    ended = await done.reach(count)
    done.then = lambda: None
    return count / (ended - began)


async def _floor(wire: Wire) -> list[Row]:
    """Measure publishes into a synced stream: one at a time, and with 200 in flight."""
    answer = await wire.request("$JS.API.STREAM.CREATE.BENCH", msgspec.json.encode(STREAM))
    assert b'"error"' not in answer, answer
    acks, takes = Counter(), list[float]()
    await wire.subscribe(ACKS, acks.take)
    publish = encoded("bench.floor", b"x" * 500, ACKS)
    for turn in range(1, LIGHT + 1):
        began = time.perf_counter()
        wire.write(publish)
        takes.append(await acks.reach(turn) - began)
    rate = await keep(wire, publish, acks, 200, FLOOR_PUBLISHES)
    return [
        Row(NAME, "floor: acked synced publish p50", percentile(takes, 0.5) * 1e3, "ms"),
        Row(NAME, "floor: acked synced publishes, 200 in flight", rate, "1/s"),
    ]


async def _light(wire: Wire, done: Counter) -> list[Row]:
    """Measure one caller: start to result."""
    done.times.clear()
    takes, request = list[float](), start()
    for turn in range(1, LIGHT + WARM + 1):
        began = time.perf_counter()
        wire.write(request)
        takes.append(await done.reach(turn) - began)
    return light_rows(NAME, takes[WARM:])


def light_rows(bench: str, takes: list[float]) -> list[Row]:
    """Return the rows of one caller."""
    what = "one caller, start -> result"
    return [
        Row(bench, f"{what} p50", percentile(takes, 0.5) * 1e3, "ms"),
        Row(bench, f"{what} p99", percentile(takes, 0.99) * 1e3, "ms"),
    ]


async def _loaded(running: Fleet, done: Counter, callers: int, count: int) -> list[Row]:
    """Measure throughput and what it costs."""
    before = running.processor_seconds()
    rate = await keep(running.wire, start(), done, callers, count)
    after = running.processor_seconds()
    each = {_short(who): (after[who] - before[who]) / count * 1e3 for who in after}
    return load_rows(NAME, callers, rate, each)


def load_rows(bench: str, callers: int, rate: float, each: dict[str, float]) -> list[Row]:
    """Return the rows of a load; ``each`` is processor time a flow in ms, by process."""
    mine = each.pop("bench")
    return [
        Row(bench, f"completed, {callers} callers", rate, "1/s"),
        Row(bench, f"processor time a flow, {callers} callers", sum(each.values()), "ms"),
        *(Row(bench, f"    {who}", used, "ms") for who, used in each.items()),
        Row(bench, "    the callers, not counted", mine, "ms"),
    ]


def memory_rows(bench: str, used: dict[str, float]) -> list[Row]:
    """Return the rows of the memory in use after the loads."""
    return [
        Row(bench, "memory after the loads (PSS)", sum(used.values()), "MB"),
        *(Row(bench, f"    {_short(who)}", size, "MB") for who, size in used.items()),
    ]


def _short(who: str) -> str:
    return who.rpartition(" ")[2]


# Recovery


async def _worker_killed() -> list[Row]:
    """Kill the worker that has all flows while another stands by."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        async with fleet([OWNER, WORKER], {LEDGER: str(ledger)}) as running:
            done = Counter()
            await running.wire.subscribe(DONE, done.take)
            await running.wire.subscribe(ACCEPTED, Counter().take)
            await keep(running.wire, start(), done, FLYING, WARM)
            ledger.unlink()
            done.times.clear()
            running.wire.write(start(STEP_SECONDS) * FLYING)
            began = await all_begun(ledger)
            await running.start(WORKER)
            killed_at = time.perf_counter()
            assert killed_at < began + STEP_SECONDS, "the first steps are over"
            running.kill(WORKER)
            took = await done.reach(FLYING) - killed_at
        return recovery_rows(NAME, took, ledger)


async def all_begun(ledger: Path) -> float:
    """Wait until all first steps are in the works; return when."""
    with anyio.fail_after(LONGEST_SECONDS):
        while len(_notes(ledger)) < FLYING:
            await anyio.sleep(0.01)
    return time.perf_counter()


def _notes(ledger: Path) -> list[str]:
    return ledger.read_text(encoding="ascii").splitlines() if ledger.exists() else []


def recovery_rows(bench: str, took: float, ledger: Path) -> list[Row]:
    """Return the time beyond that of the steps, and from the ledger what was done twice."""
    notes = Tally(_notes(ledger))
    twice = [note for note, times in notes.items() if times > 1]
    finished = sum(note.startswith("ended") for note in twice)
    begun = sum(note.startswith("begun") for note in twice) - finished
    return [
        Row(
            bench, f"worker killed, {FLYING} flows done, overhead", took - STEPS * STEP_SECONDS, "s"
        ),
        Row(bench, "  steps in flight begun twice", begun, ""),
        Row(bench, "  finished steps run again", finished, "", most=0),
    ]
