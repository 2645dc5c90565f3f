"""An execution as its stored record tells it, where nothing better is left. Pure."""

from actors.agents.core.state import FIRST_STEP, Asked, Execution
from actors.agents.core.tool_state import ToolRounds
from schemas.attempts import Attempt, Attempts
from schemas.executions import ENDED, ExecutionRecord
from schemas.lifecycle import (
    Origin,
)
from schemas.llm import Answer
from schemas.spend import Spend
from schemas.tools import ToolPlan


def restore(tenant: str, stored: ExecutionRecord) -> Execution | None:
    """Return the state of an ended execution from its record; None if it is of a live one."""
    return recorded(tenant, stored) if stored.status in ENDED else None


def recorded(tenant: str, stored: ExecutionRecord) -> Execution:
    """Return the state that a record tells, as that of an ended execution: for want of a better."""
    answer = _restored_answer(stored)
    cancelled = stored.status == "CANCELLED" and stored.error is not None
    return Execution(
        origin=Origin(
            kind=stored.kind,
            tenant=tenant,
            execution_id=stored.execution_id,
            agent_id=stored.agent_id,
            agent_version=stored.agent_version,
            task=stored.task,
            digest=stored.digest,
            max_attempts=stored.max_attempts,
            user=stored.user,
            project=stored.project,
            session=stored.session,
            choices=stored.choices,
            labels=stored.labels,
            kept=_restored_life(stored),
        ),
        accepted_at=stored.created_at,
        deadline=stored.deadline,
        step=FIRST_STEP,
        status=stored.status,
        revision=stored.revision,
        attempts=_restored_attempts(stored),
        segment=stored.segment,
        next_segment=stored.segment + 1,
        started_at=stored.started_at,
        ended_at=stored.completed_at,
        answer=answer,
        usage=stored.usage,
        usage_at_end=stored.usage_at_end,
        spend=Spend(cost=stored.cost, costs=tuple(stored.costs)),
        cost_at_end=stored.cost_at_end,
        problem=stored.error,
        reason=stored.error.message if cancelled and stored.error else None,
        logs=tuple(stored.logs),
        asked=_restored_asked(stored),
        detours=tuple(stored.detours),
        findings=tuple(stored.findings),
        tools=_restored_tools(stored),
    )


def _restored_life(stored: ExecutionRecord) -> int | None:
    if stored.expires_at is None or stored.completed_at is None:
        return None
    return round((stored.expires_at - stored.completed_at).total_seconds())


def _restored_attempts(stored: ExecutionRecord) -> Attempts:
    if not stored.attempts:
        return Attempts()
    settled = tuple(each.attempt for each in stored.settled)
    ended = Attempt(attempt=stored.attempts, at=stored.created_at, phase="ended", settled=settled)
    return Attempts(works=({FIRST_STEP: ended},))


def _restored_tools(stored: ExecutionRecord) -> ToolRounds | None:
    if not stored.tools:
        return None
    made, plan = tuple(stored.tools), ToolPlan(offered=[])
    return ToolRounds(plan=plan, made=made, result=stored.result)


def _restored_asked(stored: ExecutionRecord) -> Asked | None:
    if stored.provider is None or stored.model is None:
        return None
    return Asked(provider=stored.provider, model=stored.model)


def _restored_answer(stored: ExecutionRecord) -> Answer | None:
    if (stored.output is None and stored.vectors is None) or stored.usage is None:
        return None
    return Answer(
        text=stored.output or "",
        reasoning=stored.reasoning or "",
        tool_calls=stored.tool_calls,
        finish_reason=stored.finish_reason or "other",
        usage=stored.usage,
        model_served=stored.model_served,
        cached=stored.cached,
        warnings=stored.warnings,
        vectors=stored.vectors,
    )
