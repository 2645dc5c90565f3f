"""Deleting executions and conversations: first their owners forget, then what is published goes."""

from collections.abc import Sequence
from functools import partial

import anyio
import structlog

from actors.agents.adapters.conversations import Conversations
from actors.agents.adapters.lists import Lists
from actors.agents.core.outward import traces
from bus.codec import decode
from bus.errors import ProblemError, TransientError, problem
from bus.ids import new_id
from bus.ports import Erase
from bus.requests.caller import Caller
from bus.requests.rpc import Owners
from bus.tasks import loop_time
from schemas.conversations import DeleteConversation, DeletedConversation
from schemas.decision import Left
from schemas.executions import ENDED, DeletedExecution, ExecutionSummary, ListExecutions
from schemas.lifecycle import Delete, Forgotten

log = structlog.get_logger()

AT_ONCE = 32
"""Executions of a conversation that are deleted at a time."""


class Deletions:
    """Deletes for one caller at a time, within ``timeout`` seconds.

    What is published is removed here before the caller is answered; the owner does the same again
    when nothing of it can be sent anew, and so does the next owner if this process dies meanwhile.
    """

    def __init__(
        self,
        owners: Owners,
        lists: Lists,
        conversations: Conversations,
        erase: Erase,
        timeout: float,
    ) -> None:
        self._owners = owners
        self._lists = lists
        self._conversations = conversations
        self._erase = erase
        self._timeout = timeout

    async def execution(self, caller: Caller, execution_id: str) -> DeletedExecution:
        """Delete an execution.

        Raises:
            ProblemError: ``not_found``; ``conflict``: it has not ended.
        """
        envelope = caller.command(f"delete-{caller.submission or new_id()}", execution_id, Delete())
        answer = await caller.ask(self._owners, envelope, timeout=self._timeout)
        whose = decode(Forgotten, answer)
        await self._remove(traces(caller.tenant, execution_id, whose.agent_id, whose.session))
        return DeletedExecution(execution_id=execution_id)

    async def conversation(self, caller: Caller, wanted: DeleteConversation) -> DeletedConversation:
        """Delete all executions of a session, and its turns.

        Raises:
            ProblemError: ``not_found``; ``conflict``: an execution has not ended; ``unavailable``:
                there are more than can be deleted in time. What is deleted stays so.
        """
        until, count = loop_time() + self._timeout, 0
        while rows := await self._rows(caller, wanted):
            if loop_time() > until:
                raise problem("unavailable", f"{count} are deleted; ask again", retryable=True)
            async with anyio.create_task_group() as tasks:
                for row in rows:
                    tasks.start_soon(self.execution, caller, row.execution_id)
            count += len(rows)
        agent_id, session = wanted.agent_id, wanted.session
        if not count and not await self._conversations.turns(caller.tenant, agent_id, session):
            raise no_session(agent_id, session)
        await self._remove([Left(self._conversations.subject(caller.tenant, agent_id, session))])
        return DeletedConversation(agent_id=agent_id, session=session, executions=count)

    async def _rows(self, caller: Caller, wanted: DeleteConversation) -> list[ExecutionSummary]:
        """Return some executions of a session, those that have not ended first."""
        query = partial(
            ListExecutions, agent_id=wanted.agent_id, session=wanted.session, limit=AT_ONCE
        )
        rows = (await self._lists.executions(caller, query())).executions
        for status in ("PENDING", "RUNNING", "WAITING"):
            for row in (await self._lists.executions(caller, query(status=status))).executions:
                message = f"execution {row.execution_id} has not ended: cancel it, or wait for it"
                raise problem("conflict", message, field="session")
        return [row for row in rows if row.status in ENDED]

    async def _remove(self, traces: Sequence[Left]) -> None:
        try:
            for left in traces:
                await self._erase(left)
        except TransientError as error:
            log.warning("deletion.put_off", error=str(error))


def no_session(agent_id: str, session: str) -> ProblemError:
    """Return the refusal of what is asked of a session without a turn."""
    message = f"agent {agent_id} has no session {session} with a turn in it"
    return problem("not_found", message, field="session")
