"""Facts for everyone: public events in the past tense, kept for a week."""

from datetime import datetime
from typing import ClassVar

from schemas.agents import AgentStatus
from schemas.base import Message
from schemas.executions import ModelCost
from schemas.ids import AgentId, ExecutionId
from schemas.llm import Kind
from schemas.problems import Problem
from schemas.safety import Finding
from schemas.usage import Usage


class ExecutionAcceptedEvent(Message, tag="execution.accepted", omit_defaults=True):
    """An execution was accepted and will end exactly once."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.execution.accepted.{execution_id}"

    execution_id: ExecutionId
    agent_id: AgentId | None = None
    at: datetime
    session: str | None = None
    kind: Kind = "generate"
    traceparent: str | None = None


class ExecutionEndedEvent(Message, omit_defaults=True):
    """What the ends of an execution have in common.

    ``cost`` is in pico-dollars, None where nothing is priced; ``costs`` are those of each model.
    ``traceparent`` is that of the request (W3C Trace Context).
    """

    execution_id: ExecutionId
    agent_id: AgentId | None = None
    at: datetime
    duration_ms: int
    attempts: int
    usage: Usage | None = None
    tokens_used: int | None = None
    cost: int | None = None
    costs: list[ModelCost] = []
    error: Problem | None = None
    kind: Kind = "generate"
    traceparent: str | None = None


class ExecutionCompletedEvent(ExecutionEndedEvent, tag="execution.completed"):
    """An execution ended in success."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.execution.completed.{execution_id}"


class ExecutionFailedEvent(ExecutionEndedEvent, tag="execution.failed"):
    """An execution ended in failure."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.execution.failed.{execution_id}"


class ExecutionCancelledEvent(ExecutionEndedEvent, tag="execution.cancelled"):
    """An execution was cancelled."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.execution.cancelled.{execution_id}"


class ExecutionTimedOutEvent(ExecutionEndedEvent, tag="execution.timed_out"):
    """An execution ran out of time."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.execution.timed_out.{execution_id}"


class SafetyEvent(Message):
    """What the safety rules found in one attempt of an execution. Quotes nothing of the texts."""

    execution_id: ExecutionId
    agent_id: AgentId | None = None
    at: datetime
    attempt: int
    findings: list[Finding]


class SafetyBlockedEvent(SafetyEvent, tag="safety.blocked"):
    """A text was stopped by a safety rule."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.safety.blocked.{execution_id}"


class SafetyRedactedEvent(SafetyEvent, tag="safety.redacted"):
    """Parts of a text were replaced by a safety rule."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.safety.redacted.{execution_id}"


class SafetyFlaggedEvent(SafetyEvent, tag="safety.flagged"):
    """A text was let through that a safety rule wants to be looked at."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.safety.flagged.{execution_id}"


class BillRefusedEvent(Message, tag="ledger.bill_refused", omit_defaults=True):
    """What an attempt has cost could not be booked, however often it was tried.

    The bill is stored as a dead letter, to be handed in again. ``cost_pico`` is None where no
    call of it has a price.
    """

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.ledger.bill_refused.{execution_id}"

    execution_id: ExecutionId
    step: int
    attempt: int
    error: Problem
    at: datetime
    cost_pico: int | None = None


class BillExceededEvent(Message, tag="ledger.bill_exceeded", omit_defaults=True):
    """An attempt has cost more than was held for it; told once.

    ``over_pico`` is what secrets of the operator have bought beyond ``held_pico``: it is spent and
    booked. ``disputed_pico`` is what hosts without such a secret have told beyond what was held and
    a chunk: it is not booked.
    """

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.ledger.bill_exceeded.{execution_id}"

    execution_id: ExecutionId
    step: int
    attempt: int
    at: datetime
    held_pico: int
    cost_pico: int
    over_pico: int = 0
    disputed_pico: int = 0


class AgentChangedEvent(Message, tag="agent.changed"):
    """An agent was created, changed, toggled or deleted."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.agent.changed.{agent_id}"

    agent_id: AgentId
    version: int
    status: AgentStatus
    deleted: bool
    at: datetime


class CommandRejectedEvent(Message, tag="command.rejected"):
    """A submitted command was refused: nobody waits for a reply, so the refusal is published."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.command.rejected.{id}"

    id: str
    command: str
    error: Problem
    at: datetime
