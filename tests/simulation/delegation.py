"""Executions whose calls run other agents: each an execution of its own, begun by a worker.

Whoever is killed, cut off or cancelled: a call begins one execution at most, tells the model its
end, and what nobody waits for any more is asked to end.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

import anyio

from actors.agents.core.acceptance import begun_by
from bus.codec import decode
from bus.errors import ProblemError
from bus.requests.rpc import Owners, command
from bus.work.worker import Job, Report
from schemas.beginnings import BEGIN_QUEUE, Beginner, BeginWork, HasBegun
from schemas.callbacks import WaitOver
from schemas.executions import ExecuteAgent
from schemas.identity import KeptPrincipal, admin
from schemas.lifecycle import (
    Accept,
    Accepted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    Origin,
    ToolFailed,
    ToolFinished,
    ToolStarted,
)
from schemas.llm import GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Scripted
from schemas.tool_turns import text_of
from schemas.tools import OfferedTool, ToolLimits, ToolPlan
from schemas.work import WorkFailure, WorkItem
from tests.simulation.judge import Judge
from tests.simulation.plan import Event
from tests.simulation.site import Site
from tests.simulation.tools import drawn

RUNS = OfferedTool(
    name="run", server="agents", tool="agents.execute", once=False, seconds=20, agents=["helper"]
)
PLAN = ToolPlan(
    offered=[RUNS], limits=ToolLimits(rounds=2, parallel=2), by=KeptPrincipal.of(admin("acme"))
)
TASK = '{"agent_id":"helper","task":"Say hello."}'
PREFIX = "d"
"""So begin the names of executions that run others, and have users."""

PATIENCE = 3.0

_ENDS = (ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)


def asked(name: str, step: int) -> list[ToolCall]:
    """Return the calls of an answer, by chance: those that are run by others run fewer."""
    if random.random() < (0.3 if name.startswith(PREFIX) else 0.8):
        return []
    calls = range(random.randint(1, 3))
    return [ToolCall(id=f"{name}.{step}.{n}", name="run", arguments=TASK) for n in calls]


def begin_job(site: Site, owners: Owners) -> Job[BeginWork]:
    """Return the work of a process that begins executions, as their service does."""

    async def handle(item: WorkItem[BeginWork]) -> Report:
        await anyio.sleep(random.choice([0.0, 0.1, 0.5]) * random.random())
        site.trace.note(site.name, f"begins {item.body.id} for {item.id}")
        accept = begun_by(_beginner(item), _accept(item))
        if isinstance(accept, Problem):
            return _failed(item, accept, sent=False)
        envelope = command("accept", item.tenant, item.body.id, accept, digest="d")
        try:
            await owners.ask(envelope, timeout=PATIENCE)
        except ProblemError as refused:
            return _failed(item, refused.problem, sent=True)
        await anyio.sleep(random.choice([0.0, 0.1, 2.0]) * random.random())
        return HasBegun(work=item.work, attempt=item.attempt)

    return Job(queue=BEGIN_QUEUE, body_type=BeginWork, handle=handle)


def _failed(item: WorkItem[BeginWork], problem: Problem, *, sent: bool) -> WorkFailure:
    return WorkFailure(work=item.work, attempt=item.attempt, problem=problem, sent=sent)


def _beginner(item: WorkItem[BeginWork]) -> Beginner:
    return Beginner(reply_to=item.reply_to, depth=item.body.depth, scope=item.body.scope)


def _accept(item: WorkItem[BeginWork]) -> Accept:
    wanted = decode(ExecuteAgent, item.body.request)
    origin = Origin(
        tenant=item.tenant,
        execution_id=item.body.id,
        agent_id=wanted.agent_id,
        task=wanted.task,
        digest="d",
        max_attempts=3,
    )
    request = GenerateRequest(provider=Scripted(responses=["Hello."]), messages=[])
    return Accept(origin=origin, request=request, timeout_seconds=30.0, tools=PLAN)


# Histories


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    return drawn(seed, PREFIX, {"plan": PLAN}, cancelled=0.4, within=4.0)


def faults_of_delegation(judge: Judge) -> Iterator[str]:
    """Yield what is wrong between what was run and what is told of it."""
    histories: dict[str, list[object]] = {}
    for shard in judge.shards.values():
        histories |= {key: list(history) for (_, key), history in shard.histories.items()}
    named = _named(histories)
    for key, history in histories.items():
        if key not in named and not key.startswith(PREFIX):
            yield f"{key} is run and no call names it"
        yield from (f"{key}: {fault}" for fault in _faults(histories, history))


def _named(histories: dict[str, list[object]]) -> set[str]:
    events = (event for history in histories.values() for event in history)
    return {event.child for event in events if isinstance(event, ToolStarted) and event.child}


def _faults(histories: dict[str, list[object]], history: Sequence[object]) -> Iterator[str]:
    children: dict[str, str] = {}
    over: dict[str, list[object]] = defaultdict(list)
    for event in history:
        if isinstance(event, ToolStarted) and event.child:
            children[event.work] = event.child
        elif isinstance(event, ToolFinished) or (
            isinstance(event, ToolFailed) and event.retry_at is None
        ):
            over[event.work].append(event)
    stopped = {event.of.key for event in history if isinstance(event, WaitOver)}
    for work, child in children.items():
        if len(over[work]) > 1:
            yield f"{work} has {len(over[work])} outcomes"
        end = over[work][0] if over[work] else None
        if isinstance(end, ToolFinished):
            yield from _faults_of_result(work, end, histories.get(child, []))
        elif child not in stopped:
            yield f"{work} waits for {child} no more, which was not asked to end"


def _faults_of_result(work: str, end: ToolFinished, child: Sequence[object]) -> Iterator[str]:
    if not any(isinstance(event, Accepted) and event.reply_to for event in child):
        yield f"{work} tells the result of what was never run"
    if not any(isinstance(event, _ENDS) for event in child):
        yield f"{work} has ended before what it runs"
    completed = any(isinstance(event, ExecutionCompleted) for event in child)
    if completed == end.result.is_error:
        yield f"{work} tells of what has completed ({completed}) that it failed"
    answers = [event.answer.text for event in child if isinstance(event, GenerationFinished)]
    told = text_of(end.result)
    if completed and answers and told != answers[-1]:
        yield f"{work} brings {told}, answered was {answers[-1]}"
