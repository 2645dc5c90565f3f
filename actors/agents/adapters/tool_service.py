"""What people and programs ask about tools: to call one, to approve of a call or reject it."""

from collections.abc import Awaitable, Callable

from actors.agents.adapters.admission import Admission
from actors.agents.adapters.tools import RememberedTools
from actors.agents.core.requests import digest_of
from bus.codec import decode, encode
from bus.errors import problem
from bus.ids import new_id
from bus.requests.caller import Caller
from bus.requests.rpc import Owners
from bus.requests.service import answers
from schemas.executions import ApproveCall, CallTool, ExecutionHandle, RejectCall
from schemas.lifecycle import Accept, Decide, Origin
from schemas.llm import ToolRequest
from schemas.tools import OfferedTool, ServerTool, ToolPlan

MOST_ARGUMENTS = 128 * 1024
"""Bytes of the arguments of a call, which are journalled with it."""

QUEUEING_SECONDS = 30.0
"""So much longer than the call itself its execution may take."""

ALONE = "tool"
"""The name of the one tool of an execution that is one call."""

Begin = Callable[[Caller, Accept, bool], Awaitable[ExecutionHandle]]
"""Begins an execution, which is fresh where its id was made up."""


class ToolCommands:
    """Calls of tools, and who decides on them."""

    def __init__(
        self,
        owners: Owners,
        tools: RememberedTools,
        admission: Admission,
        begin: Begin,
        timeout: float,
    ) -> None:
        self._owners = owners
        self._tools = tools
        self._admission = admission
        self._begin = begin
        self._timeout = timeout

    @answers(CallTool)
    async def do_call_tool(self, caller: Caller, wanted: CallTool) -> ExecutionHandle:
        """Begin an execution that is one call of a tool, or attach to the one of the same id."""
        arguments = encode(wanted.arguments)
        if len(arguments) > MOST_ARGUMENTS:
            message = f"are {len(arguments):,} bytes, {MOST_ARGUMENTS:,} are allowed"
            raise problem("validation", message, field="arguments")
        tool = await self._tools.tool(caller, wanted.server, wanted.tool)
        given = wanted.id or caller.submission
        origin = Origin(
            kind="tool",
            tenant=caller.tenant,
            execution_id=given or new_id(),
            task=f"{wanted.server}/{wanted.tool}",
            digest=digest_of(wanted),
            max_attempts=1,
            user=wanted.user,
            project=wanted.project,
            labels=wanted.labels,
            kept=self._admission.kept(caller.tenant),
            trace=caller.trace,
        )
        accept = Accept(
            origin=origin,
            request=ToolRequest(name=ALONE, arguments=arguments.decode()),
            timeout_seconds=wanted.seconds + QUEUEING_SECONDS,
            tools=ToolPlan(offered=[_offered(tool, wanted.seconds)]),
        )
        return await self._begin(caller, accept, given is None)

    @answers(ApproveCall)
    async def do_approve(self, caller: Caller, wanted: ApproveCall) -> ExecutionHandle:
        """Let a call be made that waits for it."""
        return await self._decide(caller, wanted, approved=True)

    @answers(RejectCall)
    async def do_reject(self, caller: Caller, wanted: RejectCall) -> ExecutionHandle:
        """Refuse a call that waits for approval."""
        return await self._decide(caller, wanted, approved=False)

    async def _decide(
        self, caller: Caller, wanted: ApproveCall | RejectCall, *, approved: bool
    ) -> ExecutionHandle:
        body = Decide(
            call_id=wanted.call_id, approved=approved, by=caller.name, reason=wanted.reason
        )
        envelope = caller.command("", wanted.execution_id, body)
        answer = await caller.ask(self._owners, envelope, timeout=self._timeout)
        return decode(ExecutionHandle, answer)


def _offered(tool: ServerTool, seconds: float) -> OfferedTool:
    return OfferedTool(
        name=ALONE,
        server=tool.server,
        tool=tool.tool,
        once=not tool.hints.may_repeat,
        seconds=seconds,
    )
