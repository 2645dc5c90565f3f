"""Looks at a fleet that was filled: what questions, rest, death and a cold start take."""

import time
from collections.abc import Awaitable, Callable, Mapping
from statistics import median
from typing import Any

import anyio
import msgspec

from tests.bench.growth_figures import Figure
from tests.bench.growth_load import Load, tenant_of

TIMES = 5
IDLE_SECONDS = 5.0
SETTLE_SECONDS = 3.0
MOST_REPORT_MS = 100.0
MOST_SET_MS = 100.0
MOST_SLOT_SECONDS = 2.0
LONGEST_SECONDS = 120.0
LISTS: Mapping[str, dict[str, Any]] = {
    "first page": {},
    "by status": {"status": "COMPLETED"},
    "by session": {"session": "long-1"},
    "by agent": {"agent_id": "fast"},
}
REPORTS: Mapping[str, dict[str, Any]] = {
    "total": {},
    "by day": {"group_by": ["day"]},
    "by model": {"group_by": ["model"]},
    "by user": {"group_by": ["user"]},
}
PAGE = 100
EVENTS_A_STEP = 5
"""One event of the long stream for so many executions."""

SLOW = {"type": "scripted", "responses": ["word " * 60], "delay_ms": 50}
GREEDY = 120


async def memory(load: Load) -> list[Figure]:
    """Memory of each process."""
    return [
        Figure(f"memory (PSS), {who}", size, "MB", 60)
        for who, size in load.running.memory().items()
    ]


async def lists(load: Load) -> list[Figure]:
    """Lists of executions, by each filter."""
    return [
        Figure(f"executions.list {what}", await _took(load, "executions.list", asked), "ms", 3)
        for what, asked in LISTS.items()
    ]


async def reports(load: Load) -> list[Figure]:
    """Reports of all that was spent, and recommendations."""
    found = [
        Figure(
            f"pricing.report {what}",
            await _took(load, "pricing.report", asked),
            "ms",
            most=MOST_REPORT_MS,
        )
        for what, asked in REPORTS.items()
    ]
    took = await _took(load, "pricing.recommend", {})
    return [*found, Figure("pricing.recommend", took, "ms", is_flat=False)]


async def pages(load: Load) -> list[Figure]:
    """A page near the end of a long stream."""
    words = max(load.done // EVENTS_A_STEP, 2 * PAGE)
    await load.ask(
        "local",
        "agents.apply",
        {
            "id": "long",
            "provider": {"type": "scripted", "responses": ["word " * words], "delay_ms": 0},
        },
    )
    answer = await load.ask("local", "agents.execute", {"agent_id": "long", "task": "Say all."})
    execution = str(answer["execution_id"])
    await _ended(load, execution)
    subject = f"$JS.API.DIRECT.GET.STREAMS.cb.local.stream.{execution}"
    end = msgspec.json.decode(await load.wire.request(subject, b""))
    asked = {
        "execution_id": execution,
        "after": f"{end['segment']}.{max(end['sequence'] - 2 * PAGE, 0)}",
        "limit": PAGE,
    }
    first = await _took(load, "streams.read", asked, times=1)
    again = await _took(load, "streams.read", asked)
    return [
        Figure("streams.read near the end, never read before", first, "ms", 10),
        Figure("streams.read near the end, again", again, "ms", 10),
    ]


async def budgets(load: Load) -> list[Figure]:
    """Setting a budget."""
    takes: list[float] = []
    for number in range(TIMES):
        asked = {"id": f"b{number}", "limit_pico": 10**15, "scope": "user", "name": f"u{number}"}
        began = time.perf_counter()
        await load.ask("local", "budgets.set", asked)
        takes.append((time.perf_counter() - began) * 1e3)
    for number in range(TIMES):
        await load.ask("local", "budgets.remove", {"id": f"b{number}"})
    return [Figure("budgets.set", median(takes), "ms", most=MOST_SET_MS)]


async def slots(load: Load) -> list[Figure]:
    """A tenant that comes while another has all slots."""
    await load.ask("local", "agents.apply", {"id": "slow", "provider": SLOW})
    names = [
        str(
            (await load.ask("local", "agents.execute", {"agent_id": "slow", "task": "Go on."}))[
                "execution_id"
            ]
        )
        for _ in range(GREEDY)
    ]
    began = time.perf_counter()
    await load.light(many=1)
    took = time.perf_counter() - began
    for name in names:
        await _ended(load, name)
    return [Figure("a tenant beside one with all slots", took, "s", most=MOST_SLOT_SECONDS)]


async def idle(load: Load) -> list[Figure]:
    """Processor time of an idle fleet."""
    await anyio.sleep(SETTLE_SECONDS)
    before = load.running.processor_seconds()
    await anyio.sleep(IDLE_SECONDS)
    after = load.running.processor_seconds()
    used = sum(after[who] - before[who] for who in after if who != "bench")
    return [Figure("processor time when idle, of a core", used / IDLE_SECONDS * 100, "%", 5)]


async def takeover(load: Load) -> list[Figure]:
    """The death of the agents process."""
    accepted = listed = 0.0
    began = time.perf_counter()
    load.running.kill("agents")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load.running.start, "agents")
        await _until_accepted(load)
        accepted = time.perf_counter() - began
        listed = await _until_listed(load, began)
    return [
        Figure("agents killed, until one is accepted", accepted, "s", 1),
        Figure("agents killed, until lists are complete", listed, "s", 1),
    ]


async def cold(load: Load) -> list[Figure]:
    """A start of all actors beside what is stored."""
    actors = list(load.running.running)
    for actor in actors:
        load.running.kill(actor)
    began = time.perf_counter()
    await load.running.start(*actors)
    ready = time.perf_counter() - began
    return [
        Figure("all actors started, until ready", ready, "s", 1),
        Figure("  and until lists are complete", await _until_listed(load, began), "s", 1),
    ]


LOOKS: tuple[Callable[[Load], Awaitable[list[Figure]]], ...] = (
    memory,
    lists,
    reports,
    pages,
    budgets,
    slots,
    idle,
    takeover,
    cold,
)


async def _took(load: Load, subject: str, asked: object, *, times: int = TIMES) -> float:
    """Return the median of what a question took, in milliseconds."""
    takes: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        await load.ask("local", subject, asked)
        takes.append((time.perf_counter() - began) * 1e3)
    return median(takes)


async def _ended(load: Load, execution: str) -> None:
    with anyio.fail_after(LONGEST_SECONDS):
        asked = {"execution_id": execution}
        while (await load.ask("local", "executions.get", asked))["status"] != "COMPLETED":
            await anyio.sleep(0.05)


async def _tried(load: Load, tenant: str, subject: str, asked: object) -> dict[str, Any] | None:
    """Ask once; None where nobody answers or the answer is a refusal."""
    try:
        with anyio.fail_after(1):
            data = await load.wire.request(f"cb.{tenant}.{subject}", msgspec.json.encode(asked))
    except TimeoutError:
        return None
    answer = msgspec.json.decode(data) if data else {"type": "problem"}
    return None if answer.get("type") == "problem" else answer


async def _until_accepted(load: Load) -> None:
    asked = {"agent_id": "fast", "task": "Say nine words."}
    with anyio.fail_after(LONGEST_SECONDS):
        while await _tried(load, tenant_of(0), "agents.execute", asked) is None:
            await anyio.sleep(0.05)


async def _until_listed(load: Load, began: float) -> float:
    """Return how long it took until a list counts every execution of ``local``."""
    with anyio.fail_after(LONGEST_SECONDS):
        while True:
            answer = await _tried(load, "local", "executions.list", {"limit": 1})
            if answer is not None and answer["total"] >= min(load.local, 50_000):
                return time.perf_counter() - began
            await anyio.sleep(0.05)
