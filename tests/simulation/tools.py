"""Executions whose answers call tools, and a server that counts what it has carried out.

Workers are killed in the middle of calls, stand still, are cut off, and tell their results late:
what may be done only once must not have been done twice, and what is told of it must be true.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import anyio

from actors.agents.core.entity import EXECUTION
from bus.ports import Bus
from bus.work.worker import Job, Report
from schemas.attempts import OutcomeLearned
from schemas.lifecycle import (
    ExecutionCompleted,
    GenerateWork,
    ToolFailed,
    ToolFinished,
    ToolRefused,
    ToolStarted,
)
from schemas.llm import ToolCall
from schemas.problems import Problem
from schemas.tool_turns import text_of
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
    Turn,
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

UNSURE = ("outcome_unknown:", "protocol_error:")
"""So the model is told of a call that may have had its effect: not to repeat it, or that it failed
after it was sent."""

End = ToolFinished | ToolRefused | ToolFailed


class Ends(NamedTuple):
    """The events of calls in one history: how often each work has ended, and how."""

    times: Counter[str]
    last: dict[str, End]


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
        await anyio.sleep(random.choice([0.0, 0.1, 2.0, 6.0]) * random.random())
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
    return drawn(seed, "e", {"tools": True}, cancelled=0.3, within=3.0)


def drawn(
    seed: int, prefix: str, asked: dict[str, Any], *, cancelled: float, within: float
) -> list[Event]:
    """Draw executions that are ``asked`` for, some cancelled ``within`` seconds, and troubles."""
    chance = random.Random(seed)
    events = [*_executions(chance, prefix, asked, cancelled, within), *troubles(chance)]
    return sorted(events, key=lambda event: (event.at, event.name))


def _executions(
    chance: random.Random, prefix: str, asked: dict[str, Any], cancelled: float, within: float
) -> Iterator[Event]:
    for number in range(chance.randint(1, 3)):
        key, at = f"{prefix}{number}", chance.uniform(0.6, 3.0)
        values = {"key": key, "digest": "d", "timeout": chance.choice([3.0, 600.0, 600.0])}
        yield Event(at, "executes", chance.choice(USERS), {**values, **asked})
        if chance.random() < cancelled:
            yield Event(at + chance.uniform(0.0, within), "cancels", "cyd", {"key": key})


def faults_of_tools(judge: Judge) -> Iterator[str]:
    """Yield what is wrong between what was carried out and what is told of it."""
    for shard in judge.shards.values():
        for (_, key), history in shard.histories.items():
            yield from (f"{key}: {fault}" for fault in _faults_of_calls(judge, key, history))


def _faults_of_calls(judge: Judge, key: str, history: Sequence[object]) -> Iterator[str]:
    started = [event for event in history if isinstance(event, ToolStarted)]
    once = {event.work for event in started if event.once}
    ends = _ends(history)
    for work, event in ends.last.items():
        fault = _fault(event, done=judge.carried_out[(key, work)], once=work in once)
        if fault is not None:
            yield f"{work} {fault}"
    for (execution, work), times in judge.carried_out.items():
        if execution == key and work in once and times > 1:
            yield f"{work} was carried out {times} times"
    yield from (f"{work} has {times} outcomes" for work, times in ends.times.items() if times > 1)
    if any(isinstance(event, ExecutionCompleted) for event in history):
        lost = {event.work for event in started} - set(ends.last)
        yield from (f"{work} has no outcome" for work in sorted(lost))
    for event in history:
        if isinstance(event, OutcomeLearned) and event.done != (
            judge.carried_out[(key, event.work)] > 0
        ):
            yield f"{event.work} is learned to be done: {event.done}"
    yield from _too_many(history)


def _ends(history: Sequence[object]) -> Ends:
    ends = Ends(Counter(), {})
    for event in history:
        if isinstance(event, ToolFinished | ToolRefused | ToolFailed) and _is_over(event):
            ends.times[event.work] += 1
            ends.last[event.work] = event
    return ends


def _is_over(event: End) -> bool:
    return not isinstance(event, ToolFailed) or event.retry_at is None


def _fault(event: End, *, done: int, once: bool) -> str | None:
    match event:
        case ToolFinished() if not done:
            return "has a result and was never carried out"
        case ToolRefused() if done:
            return "was refused and carried out"
        case ToolFailed(outcome="not_sent") if once and done:
            return "was carried out and is told not to be"
        case _:
            return None


def _too_many(history: Sequence[object]) -> Iterator[str]:
    """Yield where more calls are under way side by side than the limit allows."""
    running: set[str] = set()
    for event in history:
        if isinstance(event, ToolStarted):
            running.add(event.work)
        elif isinstance(event, ToolFinished | ToolFailed):
            running.discard(event.work)
        if len(running) > PLAN.limits.parallel:
            yield f"{sorted(running)} run side by side"


# What the next step is told


def hear(judge: Judge, work: GenerateWork) -> None:
    """Check what the model is told of the calls before: one result for each, and a true one."""
    for fault in _faults_of_turns(judge, work):
        judge.broken.append(f"step {work.step} of {work.execution_id}: {fault}")


def _faults_of_turns(judge: Judge, work: GenerateWork) -> Iterator[str]:
    answers = [turn.message for turn in work.turns if turn.message.role == "assistant"]
    called = [call.id for message in answers for call in message.tool_calls]
    results = [turn for turn in work.turns if turn.message.role == "tool"]
    told = [turn.message.tool_call_id for turn in results]
    if told != called:
        yield f"results of {told} follow calls of {called}"
    for turn in results:
        yield from _faults_of_result(judge, work.execution_id, turn)


def _faults_of_result(judge: Judge, key: str, turn: Turn) -> Iterator[str]:
    _, step, place = (turn.message.tool_call_id or "").split(".")
    call = f"{step}.{int(place) + 1}"
    done = judge.carried_out[(key, call)]
    if turn.result is not None:
        text = text_of(turn.result)
        if not (done and text.startswith(f"result of execution.acme.{key}.{call}.")):
            yield f"{call} is told to have brought: {text}"
    elif done and _once(judge, key, call) and not turn.message.text.startswith(UNSURE):
        yield f"{call} was carried out, told is: {turn.message.text}"


def _once(judge: Judge, key: str, call: str) -> bool:
    histories = (
        history
        for shard in judge.shards.values()
        for (_, name), history in shard.histories.items()
        if name == key
    )
    return any(
        isinstance(event, ToolStarted) and event.work == call and event.once
        for history in histories
        for event in history
    )
