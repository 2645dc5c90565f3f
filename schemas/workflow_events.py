"""Facts about workflows and their instances, for everyone."""

from datetime import datetime
from typing import ClassVar

from schemas.base import Message
from schemas.problems import Problem


class WorkflowFact(Message, omit_defaults=True):
    """What facts of an instance have in common."""

    instance_id: str
    workflow_id: str
    version: int
    at: datetime
    traceparent: str | None = None


class WorkflowStartedEvent(WorkflowFact, tag="workflow.started"):
    """An instance has started."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.started.{instance_id}"


class WorkflowEndedEvent(WorkflowFact):
    """What the ends of an instance have in common. ``cost`` is in pico-dollars."""

    duration_ms: int
    turns: int
    cost: int | None = None
    error: Problem | None = None


class WorkflowCompletedEvent(WorkflowEndedEvent, tag="workflow.completed"):
    """All tokens have come to their end."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.completed.{instance_id}"


class WorkflowFailedEvent(WorkflowEndedEvent, tag="workflow.failed"):
    """An instance has failed."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.failed.{instance_id}"


class WorkflowCancelledEvent(WorkflowEndedEvent, tag="workflow.cancelled"):
    """An instance was cancelled."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.cancelled.{instance_id}"


class WorkflowTimedOutEvent(WorkflowEndedEvent, tag="workflow.timed_out"):
    """An instance has run out of time."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.timed_out.{instance_id}"


class WorkflowPausedEvent(WorkflowFact, tag="workflow.paused"):
    """An action waits for a person: to answer it, or to retry or skip it after its failure."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.paused.{instance_id}"

    firing: str
    transition: str | None = None
    title: str = ""
    assignee: str | None = None
    error: Problem | None = None


class WorkflowDefinedEvent(Message, tag="workflow.defined"):
    """A definition was stored or deleted."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.defined.{workflow_id}"

    workflow_id: str
    version: int
    deleted: bool
    at: datetime
