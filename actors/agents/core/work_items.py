"""The work items of an execution: one for each attempt that is under way."""

from actors.agents.core.execution import Execution
from schemas.attempts import Attempt
from schemas.bills import number_of
from schemas.lifecycle import EXECUTION_ENTITY, GenerateWork
from schemas.llm import GenerateRequest
from schemas.work import ReplyTo, WorkItem, item_id

QUEUE = "generate"
BATCH_QUEUE = "batch"


def outstanding_work(state: Execution) -> tuple[WorkItem[GenerateWork], ...]:
    """Return the work item of each attempt that is under way."""
    request = state.request
    if request is None:
        return ()
    return tuple([_item(state, request, *entry) for entry in state.attempts.open()])


def _item(
    state: Execution, request: GenerateRequest, step: str, attempt: Attempt
) -> WorkItem[GenerateWork]:
    origin, reply_to = state.origin, _reply_to(state)
    bill, spending = state.spend.of(step, attempt.attempt), state.spend.spending
    body = GenerateWork(
        execution_id=origin.execution_id,
        tenant=origin.tenant,
        step=number_of(step),
        attempt=attempt.attempt,
        segment=state.segment,
        deadline=state.deadline,
        request=request,
        policy=state.policy,
        place=state.place,
        decided_at=attempt.at if bill is None else bill.decided_at,
        slices=spending.slices if spending else None,
        prompt=state.prompt,
    )
    return WorkItem(
        id=item_id(reply_to, step, attempt.attempt),
        work=step,
        attempt=attempt.attempt,
        queue=BATCH_QUEUE if request.batch else QUEUE,
        tenant=origin.tenant,
        reply_to=reply_to,
        since=attempt.at,
        body=body,
        trace=origin.trace,
    )


def open_items(state: Execution) -> list[str]:
    """Name the work items that are open."""
    works = state.attempts.open()
    if not works:
        return []
    reply_to = _reply_to(state)
    return [item_id(reply_to, step, each.attempt) for step, each in works]


def _reply_to(state: Execution) -> ReplyTo:
    origin = state.origin
    return ReplyTo(entity=EXECUTION_ENTITY, tenant=origin.tenant, key=origin.execution_id)
