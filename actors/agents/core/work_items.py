"""The work items of an execution: one for each attempt that is under way, at a step or a call."""

from collections.abc import Iterator

import msgspec

from actors.agents.core import delegation
from actors.agents.core.state import Execution
from actors.agents.core.tool_state import RoundCall, ToolRounds
from schemas.attempts import Attempt
from schemas.beginnings import BEGIN_QUEUE, BeginWork
from schemas.bills import number_of
from schemas.lifecycle import EXECUTION_ENTITY, EmbedWork, GenerateWork
from schemas.llm import EmbedRequest, GenerateRequest, ToolRequest
from schemas.streams import first_progress
from schemas.tools import TOOL_QUEUE, OfferedTool, ToolWork
from schemas.work import ReplyTo, WorkItem, item_id

QUEUE = "generate"
BATCH_QUEUE = "batch"
EMBED_QUEUE = "embed"

Asked = GenerateRequest | EmbedRequest
Work = GenerateWork | EmbedWork | ToolWork | BeginWork


def outstanding_work(state: Execution) -> tuple[WorkItem[Work], ...]:
    """Return the work item of the current attempt, or those of the calls of its answer."""
    if state.tools is not None and state.tools.calls:
        return tuple(_calls(state, state.tools))
    current = state.current
    request = state.request
    if current is None or current.phase != "running" or request is None:
        return ()
    if isinstance(request, ToolRequest):
        return ()
    return (_item(state, request, state.step, current),)


def _item(state: Execution, request: Asked, step: str, attempt: Attempt) -> WorkItem[Work]:
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


def _queue(request: Asked) -> str:
    if isinstance(request, EmbedRequest):
        return EMBED_QUEUE
    return BATCH_QUEUE if request.batch else QUEUE


def _body(state: Execution, request: Asked, step: str, attempt: Attempt) -> Work:
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
            turns=list(state.tools.turns) if state.tools else [],
            tools=state.tools is not None,
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


def _calls(state: Execution, rounds: ToolRounds) -> Iterator[WorkItem[Work]]:
    for call in rounds.calls:
        work = rounds.work(call)
        attempt = state.attempts.running(work) if call.phase == "running" else None
        if attempt is not None and call.offered is not None:
            yield _tool_item(state, rounds, call, call.offered, attempt)


def _tool_item(
    state: Execution, rounds: ToolRounds, call: RoundCall, offered: OfferedTool, attempt: Attempt
) -> WorkItem[Work]:
    work, reply_to = rounds.work(call), _reply_to(state)
    body = _begin_body(state, rounds, call, offered)
    return WorkItem(
        id=item_id(reply_to, work, attempt.attempt),
        work=work,
        attempt=attempt.attempt,
        queue=TOOL_QUEUE if body is None else BEGIN_QUEUE,
        tenant=state.origin.tenant,
        reply_to=reply_to,
        since=attempt.at,
        body=body or _tool_body(state, rounds, call, offered, attempt),
        once=attempt.once,
        trace=state.origin.trace,
        avoid=list(attempt.avoid),
        lane=offered.server if body is None else "",
    )


def _begin_body(
    state: Execution, rounds: ToolRounds, call: RoundCall, offered: OfferedTool
) -> BeginWork | None:
    """Return what begins the execution that a call runs; None where it calls a server."""
    origin, answer, by = state.origin, state.answer, rounds.plan.by
    if call.child is None or answer is None or by is None:
        return None
    wanted = delegation.arguments_of(answer.tool_calls[call.place - 1].arguments, offered)
    if isinstance(wanted, str):
        return None
    request = delegation.request_of(wanted, origin)
    return BeginWork(
        name=request.SUBJECT,
        id=call.child,
        request=msgspec.Raw(msgspec.json.encode(request)),
        by=by.principal,
        depth=origin.depth,
        scope=origin.scope,
    )


def _tool_body(
    state: Execution, rounds: ToolRounds, call: RoundCall, offered: OfferedTool, attempt: Attempt
) -> ToolWork:
    origin, answer = state.origin, state.answer
    return ToolWork(
        execution_id=origin.execution_id,
        tenant=origin.tenant,
        call_id=call.id,
        server=offered.server,
        tool=offered.tool,
        name=call.name,
        arguments=answer.tool_calls[call.place - 1].arguments if answer is not None else "",
        attempt=attempt.attempt,
        deadline=rounds.until(call, state.deadline),
        once=attempt.once,
        agent_id=origin.agent_id,
        segment=state.segment,
        sequence=first_progress(call.place, attempt.attempt),
        most_bytes=rounds.plan.limits.result_bytes,
    )


def open_items(state: Execution) -> tuple[str, ...]:
    """Name the work items that are open."""
    if state.tools is not None and state.tools.calls:
        return tuple(item.id for item in _calls(state, state.tools))
    current = state.current
    if current is None or current.phase != "running":
        return ()
    return (item_id(_reply_to(state), state.step, current.attempt),)


def call_item(state: Execution, work: str, attempt: int) -> str:
    """Name the work item of an attempt at a call."""
    return item_id(_reply_to(state), work, attempt)


def _reply_to(state: Execution) -> ReplyTo:
    origin = state.origin
    return ReplyTo(entity=EXECUTION_ENTITY, tenant=origin.tenant, key=origin.execution_id)
