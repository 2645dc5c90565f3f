"""Executions whose answers call tools, and a server that counts what it has carried out.

Workers are killed in the middle of calls, stand still, are cut off, and tell their results late:
what may be done only once must not have been done twice, and what is told of it must be true.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import anyio

from actors.agents.core.entity import EXECUTION
from bus.ports import Bus
from bus.work.worker import Job, Report
from schemas.lifecycle import (
    ToolFailed,
    ToolFinished,
    ToolRefused,
    ToolStarted,
)
from schemas.llm import ToolCall
from schemas.problems import Problem
from schemas.tools import (
    TOOL_QUEUE,
    FailTool,
    FinishTool,
    OfferedTool,
    ToolLimits,
    ToolPlan,
    ToolResult,
    ToolText,
    ToolWork,
)
from schemas.work import WorkItem
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.plan import USERS, Event, troubles
from tests.simulation.site import Site

PLAN = ToolPlan(
    offered=[
        OfferedTool(name="find", server="notes", tool="find", once=False, seconds=20),
        OfferedTool(name="send", server="mail", tool="send", seconds=20),
    ],
    limits=ToolLimits(rounds=3, parallel=2),
)
DOWN = Problem(code="unavailable", message="the server is down", retryable=True)


def asked(name: str, step: int) -> list[ToolCall]:
    """Return the calls of an answer, by chance."""
    if random.random() < 0.4:
        return []
    names = random.choices(["find", "send", "nowhere"], weights=[3, 5, 1], k=random.randint(1, 4))
    calls = enumerate(names)
    return [ToolCall(id=f"{name}.{step}.{n}", name=each, arguments="{}") for n, each in calls]


def tool_job(site: Site, judge: Judge, bus: Bus) -> Job[ToolWork]:
    """Return the work of a process that calls tools."""

    async def handle(item: WorkItem[ToolWork]) -> Report:
        work = item.body
        judge.began(item.id, site)
        site.trace.note(site.name, f"calls {item.id}")
        await anyio.sleep(random.choice([0.0, 0.1, 0.5]) * random.random())
        if random.random() < 0.1:
            return _failed(item, bus, sent=False)
        judge.carried_out[(work.execution_id, item.work)] += 1
        await anyio.sleep(random.choice([0.0, 0.1, 2.0]) * random.random())
        if random.random() < 0.1:
            return _failed(item, bus, sent=True)
        result = ToolResult(content=[ToolText(text=f"result of {item.id}")])
        return FinishTool(
            work=item.work, attempt=item.attempt, result=result, started_at=bus.clock()
        )

    return Job(queue=TOOL_QUEUE, body_type=ToolWork, handle=handle)


def _failed(item: WorkItem[ToolWork], bus: Bus, *, sent: bool) -> FailTool:
    return FailTool(
        work=item.work,
        attempt=item.attempt,
        problem=DOWN,
        sent=sent,
        outcome="protocol_error" if sent else "not_sent",
        started_at=bus.clock(),
    )


# Histories


def entities() -> tuple[AnyEntity, ...]:
    """Return what lives in these histories."""
    return (EXECUTION,)


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    chance = random.Random(seed)
    events = [*_executions(chance), *troubles(chance)]
    return sorted(events, key=lambda event: (event.at, event.name))


def _executions(chance: random.Random) -> Iterator[Event]:
    for number in range(chance.randint(1, 3)):
        key, at = f"e{number}", chance.uniform(0.6, 3.0)
        values = {"key": key, "digest": "d", "timeout": chance.choice([3.0, 600.0, 600.0])}
        yield Event(at, "executes", chance.choice(USERS), {**values, "tools": True})
        if chance.random() < 0.3:
            yield Event(at + chance.uniform(0.0, 3.0), "cancels", "cyd", {"key": key})


def faults_of_tools(judge: Judge) -> Iterator[str]:
    """Yield what is wrong between what was carried out and what is told of it."""
    for shard in judge.shards.values():
        for (_, key), history in shard.histories.items():
            yield from (f"{key}: {fault}" for fault in _faults_of_calls(judge, key, history))


def _faults_of_calls(judge: Judge, key: str, history: Sequence[object]) -> Iterator[str]:
    started = [event for event in history if isinstance(event, ToolStarted)]
    once = {event.work for event in started if event.once}
    ends: Counter[str] = Counter()
    for event in history:
        if isinstance(event, ToolFinished | ToolRefused | ToolFailed):
            is_over = not isinstance(event, ToolFailed) or event.retry_at is None
            ends[event.work] += is_over
            fault = _fault(event, done=judge.carried_out[(key, event.work)], once=once)
            if fault is not None:
                yield f"{event.work} {fault}"
    for (execution, work), times in judge.carried_out.items():
        if execution == key and work in once and times > 1:
            yield f"{work} was carried out {times} times"
    yield from (f"{work} has {times} outcomes" for work, times in ends.items() if times > 1)


def _fault(
    event: ToolFinished | ToolRefused | ToolFailed, *, done: int, once: set[str]
) -> str | None:
    match event:
        case ToolFinished() if not done:
            return "has a result and was never carried out"
        case ToolRefused() if done:
            return "was refused and carried out"
        case ToolFailed(outcome="not_sent", retry_at=None) if event.work in once and done:
            return "was carried out and is told not to be"
        case _:
            return None
