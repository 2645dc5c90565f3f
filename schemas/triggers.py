"""Triggers of workflows: the crons that are armed for a definition, and what becomes of them.

The entity ``trigger`` has the id of a workflow as its key. Its commands are idempotent: the version
of the definition that arms it orders them.
"""

from datetime import datetime
from typing import ClassVar

from schemas.base import Internal, Message
from schemas.identity import KeptPrincipal
from schemas.nets import CronTrigger
from schemas.problems import Problem

TRIGGER_ENTITY = "trigger"

MOST_CHAIN = 8
"""So often an event may start what causes the next event; then it is a loop."""


class ArmCrons(Internal, tag="arm_crons"):
    """These are the crons of the newest version, perhaps none: what was armed before is not."""

    version: int
    crons: list[CronTrigger]
    by: KeptPrincipal


class CronsAre(Internal, tag="crons_are"):
    """The answer: the version of which the crons are armed now."""

    version: int


class CronTick(Internal, tag="cron_tick"):
    """A time has come."""


class WorkflowTriggerFailedEvent(Message, tag="workflow.trigger_failed"):
    """A trigger had its event or its time, and has come to nothing. It triggers nothing itself."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.workflow.trigger_failed.{workflow_id}"

    workflow_id: str
    trigger: str
    cause: str
    """The id of the event, or the time of the cron."""
    problem: Problem
    at: datetime
