"""The work items of an execution: one for each attempt that is under way."""

from actors.agents.core.execution import Execution
from schemas.attempts import Attempt
from schemas.bills import number_of
from schemas.lifecycle import EXECUTION_ENTITY, EmbedWork, GenerateWork
from schemas.llm import EmbedRequest, GenerateRequest, ModelRequest
from schemas.work import ReplyTo, WorkItem, item_id

QUEUE = "generate"
BATCH_QUEUE = "batch"
EMBED_QUEUE = "embed"

Work = GenerateWork | EmbedWork


def outstanding_work(state: Execution) -> tuple[WorkItem[Work], ...]:
    """Return the work item of the current attempt; those at earlier steps have ended."""
    current = state.current
    if current is None or current.phase != "running" or state.request is None:
        return ()
    return (_item(state, state.request, state.step, current),)


def _item(state: Execution, request: ModelRequest, step: str, attempt: Attempt) -> WorkItem[Work]:
    origin, reply_to = state.origin, _reply_to(state)
    return WorkItem(
        id=item_id(reply_to, step, attempt.attempt),
        work=step,
        attempt=attempt.attempt,
        queue=_queue(request),
        tenant=origin.tenant,
        reply_to=reply_to,
        since=attempt.at,
        body=_body(state, request, step, attempt),
        trace=origin.trace,
        avoid=list(attempt.avoid),
    )


def _queue(request: ModelRequest) -> str:
    if isinstance(request, EmbedRequest):
        return EMBED_QUEUE
    return BATCH_QUEUE if request.batch else QUEUE


def _body(state: Execution, request: ModelRequest, step: str, attempt: Attempt) -> Work:
    origin, spending = state.origin, state.spend.spending
    bill = state.spend.of(step, attempt.attempt)
    decided_at = attempt.at if bill is None else bill.decided_at
    if isinstance(request, GenerateRequest):
        return GenerateWork(
            execution_id=origin.execution_id,
            tenant=origin.tenant,
            step=number_of(step),
            attempt=attempt.attempt,
            segment=state.segment,
            deadline=state.deadline,
            request=request,
            policy=state.policy,
            place=state.place,
            decided_at=decided_at,
            slices=spending.slices if spending else None,
            prompt=state.prompt,
        )
    return EmbedWork(
        execution_id=origin.execution_id,
        tenant=origin.tenant,
        step=number_of(step),
        attempt=attempt.attempt,
        deadline=state.deadline,
        request=request,
        policy=state.policy,
        held=spending is not None,
        decided_at=decided_at,
        prompt=state.prompt,
    )


def open_item(state: Execution) -> str | None:
    """Name the work item of the current attempt; None where none is open."""
    current = state.current
    if current is None or current.phase != "running":
        return None
    return item_id(_reply_to(state), state.step, current.attempt)


def _reply_to(state: Execution) -> ReplyTo:
    origin = state.origin
    return ReplyTo(entity=EXECUTION_ENTITY, tenant=origin.tenant, key=origin.execution_id)
