"""The work items of an execution: one for each attempt that is under way."""

from actors.agents.core.dues import number_of
from actors.agents.core.execution import Execution
from schemas.attempts import Attempt
from schemas.lifecycle import EXECUTION_ENTITY, GenerateWork
from schemas.llm import GenerateRequest
from schemas.work import ReplyTo, WorkItem

QUEUE = "generate"
BATCH_QUEUE = "batch"


def item_of(state: Execution, request: GenerateRequest, current: Attempt) -> WorkItem[GenerateWork]:
    """Return the work item of the current attempt, which is under way."""
    origin, step = state.origin, state.step
    reply_to = ReplyTo(entity=EXECUTION_ENTITY, tenant=origin.tenant, key=origin.execution_id)
    body = GenerateWork(
        execution_id=origin.execution_id,
        tenant=origin.tenant,
        step=number_of(step),
        attempt=current.attempt,
        segment=state.segment,
        deadline=state.deadline,
        request=request,
        policy=state.policy,
        place=state.place,
        decided_at=state.decided_at or current.at,
        slices=state.spending.slices if state.spending else None,
        prompt=state.prompt,
    )
    return WorkItem(
        id=item_name(state, current),
        work=step,
        attempt=current.attempt,
        queue=BATCH_QUEUE if request.batch else QUEUE,
        tenant=origin.tenant,
        reply_to=reply_to,
        since=current.at,
        body=body,
        trace=origin.trace,
    )


def item_name(state: Execution, current: Attempt) -> str:
    """Return the id of the work item of the current attempt."""
    tenant, key = state.origin.tenant, state.origin.execution_id
    return f"{EXECUTION_ENTITY}.{tenant}.{key}.{state.step}.{current.attempt}"
