"""What triggers do: requests like any user's, in the name of the tenant's admin, once each."""

from typing import Any, NamedTuple

import structlog

from actors.workflow.core.cron_trigger import chained
from actors.workflow.core.event_triggers import OutsideEvent, TriggerAct
from bus.client import Client
from bus.codec import encode
from bus.errors import ProblemError
from bus.ports import Clock, Outbox, Transport
from bus.subjects import fill
from schemas.base import Request
from schemas.identity import admin
from schemas.ids import whole
from schemas.problems import Problem
from schemas.triggers import MOST_CHAIN, WorkflowTriggerFailedEvent
from schemas.workflow_runs import (
    FireTransition,
    GetWorkflowRun,
    ListWorkflowRuns,
    PutToken,
    SignalWorkflow,
    StartWorkflow,
    WorkflowRun,
    WorkflowRunList,
)

log = structlog.get_logger()

PATIENCE_SECONDS = 5.0
MOST_SIGNALLED = 1000
"""Instances of one workflow that hear of one event; an event for more is for a trigger."""

DEPTH_LABEL, TRIGGER_LABEL = "trigger_depth", "trigger"
_LIVE = ("RUNNING", "WAITING")
_LOOP = Problem(
    code="conflict",
    message="This trigger is a loop: what it has led to is what it fires at.",
)


class TriggerFailure(NamedTuple):
    """A trigger that has come to nothing, and why."""

    workflow_id: str
    trigger: str
    problem: Problem


class TriggerActs:
    """Carries out what triggers do. Methods raise ``TransientError`` where nobody is there."""

    def __init__(self, transport: Transport, outbox: Outbox, clock: Clock) -> None:
        self._transport = transport
        self._outbox = outbox
        self._clock = clock

    async def do(self, event: OutsideEvent, act: TriggerAct) -> None:
        """Do what a trigger says; what is refused is told."""
        problem = await self._done(event, act)
        if problem is not None:
            await self.tell(event, TriggerFailure(act.workflow_id, act.trigger.id, problem))

    async def _done(self, event: OutsideEvent, act: TriggerAct) -> Problem | None:
        depth = await self._depth(event, act)
        if depth >= MOST_CHAIN or _is_own(event, act):
            return _LOOP
        try:
            await self._asked(event.tenant, _request(act, depth), _id(event, act))
        except ProblemError as refused:
            _demand_answer(refused)
            return None if _is_known(act, refused.problem) else refused.problem
        return None

    async def signal(self, event: OutsideEvent, workflow_id: str) -> None:
        """Tell all instances of a workflow that may wait for it of an event."""
        for instance_id in await self._live(event.tenant, workflow_id):
            signal = SignalWorkflow(
                instance_id=instance_id, subject=event.subject, data=event.data, id=event.id
            )
            try:
                await self._asked(event.tenant, signal, chained(0, event.id, instance_id))
            except ProblemError as refused:
                _demand_answer(refused)
                # It has ended meanwhile, or has no use for this event.
                log.debug("triggers.signal_refused", code=refused.problem.code)

    async def tell(self, event: OutsideEvent, failure: TriggerFailure) -> None:
        """Tell that a trigger has come to nothing."""
        log.warning(
            "triggers.failed",
            workflow=failure.workflow_id,
            trigger=failure.trigger,
            code=failure.problem.code,
        )
        told = WorkflowTriggerFailedEvent(
            workflow_id=failure.workflow_id,
            trigger=failure.trigger,
            cause=event.id,
            problem=failure.problem,
            at=self._clock(),
        )
        template = WorkflowTriggerFailedEvent.SUBJECT or ""
        subject = fill(template, tenant=event.tenant, workflow_id=failure.workflow_id)
        name = chained(0, failure.workflow_id, failure.trigger, event.id)
        await self._outbox.post(subject, encode(told), message_id=f"{event.tenant}.{name}")

    async def _live(self, tenant: str, workflow_id: str) -> list[str]:
        found: list[str] = []
        for status in _LIVE:
            wanted = ListWorkflowRuns(workflow_id=workflow_id, status=status, limit=MOST_SIGNALLED)
            page: WorkflowRunList = await self._asked(tenant, wanted)
            found += [run.instance_id for run in page.runs]
            if page.next is not None:
                log.warning("triggers.too_many_instances", workflow=workflow_id)
        return found[:MOST_SIGNALLED]

    async def _depth(self, event: OutsideEvent, act: TriggerAct) -> int:
        """Return how long the chain is; where instances have names of their own they know it."""
        if event.depth or act.trigger.does != "start" or act.trigger.key is None:
            return event.depth
        for cause in _instances(event):
            try:
                run: WorkflowRun = await self._asked(
                    event.tenant, GetWorkflowRun(instance_id=cause)
                )
            except ProblemError as refused:
                _demand_answer(refused)
                continue
            return (whole(run.labels.get(DEPTH_LABEL, "")) or 0) + 1
        return 0

    async def _asked(self, tenant: str, wanted: Request, submission: str | None = None) -> Any:
        client = Client(self._transport, admin(tenant), submission)
        return await client.insist(tenant, wanted, patience=PATIENCE_SECONDS)


def _id(event: OutsideEvent, act: TriggerAct) -> str:
    return chained(event.depth, act.workflow_id, act.trigger.id, event.id)


def _request(act: TriggerAct, depth: int) -> Request:
    trigger, token = act.trigger, act.token
    if trigger.does == "start":
        return StartWorkflow(
            workflow_id=act.workflow_id,
            id=act.instance_id,
            labels={TRIGGER_LABEL: trigger.id, DEPTH_LABEL: str(depth)},
            **token,
        )
    if trigger.does == "put_token":
        return PutToken(instance_id=act.instance_id, place=trigger.place or "", **token)
    return FireTransition(instance_id=act.instance_id, transition=trigger.transition or "")


def _is_own(event: OutsideEvent, act: TriggerAct) -> bool:
    """Say whether an instance would act on itself: for that a net has arcs."""
    return act.trigger.does != "start" and act.instance_id in _instances(event)


def _is_known(act: TriggerAct, refused: Problem) -> bool:
    """Say whether a key names an instance that another event has started."""
    trigger = act.trigger
    return trigger.does == "start" and trigger.key is not None and refused.code == "conflict"


def _demand_answer(refused: ProblemError) -> None:
    """Let only what is decided count as an answer."""
    if refused.problem.code == "unavailable":
        raise refused


def _instances(event: OutsideEvent) -> list[str]:
    """Return which instances an event may come from, by the entity that its id names.

    What an instance has begun is named after it, the firing and the attempt.
    """
    found: list[str] = []
    for cause in event.causes:
        entity, *rest = cause.split(".")
        if len(rest) > 1 and entity in ("workflow", "execution"):
            key = rest[1]
            found += [key] if entity == "workflow" else [key.rsplit("-", 2)[0]]
    return found
