"""The state of one execution: where it stands, and how it has ended. Pure.

The phases and what leads from one to the next::

    accepted ──▶ reserving ──held──▶ generating ──answer──▶ ended (completed)
                  ▲      │            ▲      │
                  │      │ refused,   │      │ attempt failed, another is left
                  │      ▼ may wait   │      ▼
                 backing_off ────────attempt started
    any phase ──▶ ended (failed | cancelled | timed out)

An answer that calls tools leads to ``calling``, and from there to the next step, which begins like
the first: see ``core.tool_state``. Without budgets and limits nothing is reserved. What every
attempt has cost is told the account when it has ended, which the execution does not wait for.
"""

from datetime import datetime
from typing import Literal

import msgspec

from actors.agents.core.outcomes import outcome_of
from actors.agents.core.tool_state import ToolRounds
from schemas.attempts import Attempt, Attempts
from schemas.base import Internal
from schemas.bodies import BodyReference
from schemas.callbacks import Ended, EndOutcome, Waits
from schemas.executions import RECORD_SUBJECT, ExecutionStatus, LogEntry
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    NO_POLICY,
    Origin,
)
from schemas.llm import Answer, ModelRequest
from schemas.policy import Detour, Policy
from schemas.problems import Problem
from schemas.safety import Finding
from schemas.spend import (
    Spend,
)
from schemas.usage import Usage
from schemas.work import ReplyTo

Phase = Literal["accepted", "reserving", "generating", "calling", "backing_off", "ended"]

FIRST_STEP = "1"
NOTHING_SPENT = Spend()
NO_WAITS = Waits()


class Asked(Internal):
    """The type of provider and the model that the answer came from."""

    provider: str
    model: str


class Execution(Internal):
    """One accepted execution. ``revision`` counts its events; ``segment`` is the current attempt's.

    ``step`` names the present step, of whose attempts ``attempts`` knows. ``place`` is the
    alternative that the current attempt begins with, or that has answered. ``why`` says why an
    attempt is made that waits for its hold. ``spend`` has the bills of all attempts. A large
    request is in ``prompt``, and with it a long task, also after the end. ``end`` is what
    ``reply_to`` is told, until it has answered. ``waits`` are for executions that calls have begun.
    Of one that is deleted there is a tombstone, at ``deleted_at``: who has asked, when, and what is
    paid for it.
    """

    origin: Origin
    accepted_at: datetime
    deadline: datetime
    step: str
    status: ExecutionStatus = "PENDING"
    revision: int = 0
    request: ModelRequest | None = None
    policy: Policy = NO_POLICY
    place: int = 0
    attempts: Attempts = Attempts()
    segment: int = 0
    next_segment: int = 1
    started_at: datetime | None = None
    ended_at: datetime | None = None
    answer: Answer | None = None
    usage: Usage | None = None
    usage_at_end: Usage | None = None
    problem: Problem | None = None
    reason: str | None = None
    logs: tuple[LogEntry, ...] = ()
    asked: Asked | None = None
    detours: tuple[Detour, ...] = ()
    findings: tuple[Finding, ...] = ()
    spend: Spend = NOTHING_SPENT
    why: str | None = None
    cost_at_end: int | None = None
    reply_to: ReplyTo | None = None
    end: Ended | None = None
    prompt: BodyReference | None = None
    deleted_at: datetime | None = None
    tools: ToolRounds | None = None
    waits: Waits = NO_WAITS

    @property
    def current(self) -> Attempt | None:
        """The newest attempt of the present step; None before the first."""
        return self.attempts.of(self.step)

    @property
    def phase(self) -> Phase:
        """Where the execution stands."""
        if self.ended_at is not None:
            return "ended"
        current = self.current
        if current is None:
            return "accepted"
        if current.phase == "running":
            return "generating"
        if current.phase == "ended":
            return "calling"
        is_asking = current.phase == "planned" and current.retry_at is None
        return "reserving" if is_asking else "backing_off"


def with_callback(state: Execution) -> Execution:
    """Return an ended execution with the end that it tells who waits for it, if anybody does."""
    return state if state.reply_to is None else msgspec.structs.replace(state, end=end_of(state))


def end_of(state: Execution) -> Ended:
    """Return the end of an execution that has ended, as who waits for it is told."""
    origin = state.origin
    return Ended(
        of=ReplyTo(entity=EXECUTION_ENTITY, tenant=origin.tenant, key=origin.execution_id),
        status=state.status,
        at=state.ended_at or state.accepted_at,
        record=RECORD_SUBJECT.format(tenant=origin.tenant, execution_id=origin.execution_id),
        usage=state.usage,
        cost=state.spend.cost,
        problem=error_of(state),
        outcome=_outcome(state),
    )


def _outcome(state: Execution) -> EndOutcome | None:
    if state.status != "COMPLETED":
        return None
    model = state.asked.model if state.asked is not None else ""
    return outcome_of(state.answer, state.tools.result if state.tools else None, model)


def error_of(state: Execution) -> Problem | None:
    """Return why an ended execution brought no answer; None if it did."""
    if state.status == "CANCELLED":
        return Problem(code="cancelled", message=state.reason or "cancelled")
    return state.problem
