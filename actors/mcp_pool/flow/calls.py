"""One work item: a call of a tool, from its arguments to the command that reports its outcome."""

from datetime import datetime
from typing import Any

import anyio

from actors.mcp_pool.adapters.meter import CallMark, ToolMeter
from actors.mcp_pool.adapters.results import ResultStore
from actors.mcp_pool.core.checking import arguments_fault, result_fault
from actors.mcp_pool.core.retries import CallFailure
from actors.mcp_pool.core.upstream import CallPlan, UpstreamError
from actors.mcp_pool.flow.pool import Requester
from actors.mcp_pool.flow.pools import Pools
from actors.mcp_pool.flow.progress import teller
from actors.mcp_pool.flow.replica import failure_of
from bus.codec import accepting
from bus.errors import ProblemError, TransientError
from bus.fairness.slices import Slices
from bus.ports import Bus
from bus.tasks import loop_time
from schemas.tools import FailTool, FinishTool, ToolResult, ToolWork
from schemas.work import Stopped, WorkItem


class CallError(Exception):
    """A call has brought no result, for the reason its ``failure`` gives."""

    def __init__(self, failure: CallFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ToolCaller:
    """Does the work items of the queue ``tool``."""

    def __init__(self, pools: Pools, bus: Bus, results: ResultStore) -> None:
        self._pools = pools
        self._bus = bus
        self._results = results
        self._slices = Slices()
        self._cut: dict[str, bool] = {}

    async def do_call(self, item: WorkItem[ToolWork]) -> FinishTool | FailTool:
        """Call a tool, and report what became of it."""
        mark, started_at = CallMark(), self._bus.clock()
        with ToolMeter(item.body.server, mark) as meter:
            report = await self._done(item, mark, started_at)
            meter.ended(report)
        return report

    async def _done(
        self, item: WorkItem[ToolWork], mark: CallMark, started_at: datetime
    ) -> FinishTool | FailTool:
        try:
            result = await self._result(item, mark)
        except anyio.get_cancelled_exc_class():
            self._cut[item.id] = mark.is_sent
            raise
        except CallError as error:
            failure = error.failure
        except UpstreamError as error:
            failure = failure_of(error)
        except ProblemError as error:
            failure = CallFailure("rejected", error.problem.message, sent=False)
        except TransientError as error:
            failure = CallFailure("not_sent", str(error), sent=False)
        else:
            return FinishTool(
                work=item.work, attempt=item.attempt, result=result, started_at=started_at
            )
        return FailTool(
            work=item.work,
            attempt=item.attempt,
            problem=failure.problem(),
            sent=failure.sent,
            outcome=failure.outcome,
            started_at=started_at,
        )

    def stopped(self, item: WorkItem[ToolWork]) -> Stopped:
        """Report a call that was called off: it may have been sent."""
        sent = self._cut.pop(item.id, False)
        return Stopped(work=item.work, attempt=item.attempt, sent=sent)

    async def _result(self, item: WorkItem[ToolWork], mark: CallMark) -> ToolResult:
        work = item.body
        seconds = (work.deadline - self._bus.clock()).total_seconds()
        deadline = loop_time() + seconds
        if seconds <= 0:
            raise CallError(CallFailure("deadline", "the deadline had passed before", sent=False))
        arguments = await self._arguments(work)
        pool = await self._pools.find(work.tenant, work.server)
        who = Requester(work.tenant, work.agent_id or "", work.execution_id)
        tool = await pool.tool(who, work.tool, deadline)
        if tool is None:
            message = f"the server {work.server} has no such tool"
            raise CallError(CallFailure("rejected", message, sent=False))
        await self._demand(arguments_fault(tool, arguments), work)
        mark.tool, mark.lane, mark.era = tool.tool, pool.spec.places[0].lane, pool.era
        plan = self._plan(item, arguments, deadline)
        result = await pool.call(who, plan, tool, mark, once=work.once)
        await self._demand(result_fault(tool, result), work)
        return await self._results.kept(work, result)

    async def _arguments(self, work: ToolWork) -> dict[str, Any]:
        text = work.arguments.strip() or "{}"
        try:
            accepted = accepting(dict[str, Any], text.encode())
            return await self._slices.run(accepted, work.tenant)
        except ProblemError as error:
            message = f"the arguments are no JSON object: {error.problem.message}"
            raise CallError(CallFailure("rejected", message, sent=False)) from None

    async def _demand(self, checked: Any, work: ToolWork) -> None:
        fault: CallFailure | None = await self._slices.run(checked, work.tenant)
        if fault is not None:
            raise CallError(fault)

    def _plan(
        self, item: WorkItem[ToolWork], arguments: dict[str, Any], deadline: float
    ) -> CallPlan:
        work, reply_to = item.body, item.reply_to
        told = teller(self._bus, work)
        key = f"{reply_to.entity}.{reply_to.tenant}.{reply_to.key}.{item.work}"
        return CallPlan(
            tool=work.tool,
            arguments=arguments,
            deadline=deadline,
            meta={"traceparent": item.trace} if item.trace else {},
            progress=told.progressed if told is not None else None,
            log=told.logged if told is not None else None,
            idempotency_key=key if work.once else None,
            most_bytes=work.most_bytes,
            may_repeat=not work.once,
        )
