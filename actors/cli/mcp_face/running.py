"""Executions as calls: begun, told of while they run, and ended when nobody waits any longer."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio

from actors.cli.mcp_face.progress import Notice, Progress
from bus.client import Client, follow
from bus.errors import ProblemError, TransientError, UnavailableError
from schemas.base import Request
from schemas.executions import CallTool, CancelExecution, ExecuteAgent
from schemas.streams import Terminal

Tell = Callable[[Notice], Awaitable[None]]

PATIENCE_SECONDS = 5.0
CANCEL_SECONDS = 5.0
"""So long a call that is given up waits for the end of its execution to be journalled."""


class Executions:
    """Asks for a tenant, and runs what it asks for."""

    def __init__(self, client: Client, tenant: str) -> None:
        self._client = client
        self._tenant = tenant

    async def ask(self, wanted: Request) -> Any:
        """Return the answer to a request.

        Raises:
            ProblemError: it is refused.
            TransientError: the bus or who answers was away for too long.
        """
        return await self._client.insist(self._tenant, wanted, patience=PATIENCE_SECONDS)

    async def run(self, wanted: ExecuteAgent | CallTool, execution_id: str, tell: Tell) -> Terminal:
        """Begin an execution, tell its progress, and return its end.

        Whoever stops waiting ends the execution too. Raises as ``ask``.
        """
        try:
            await self.ask(wanted)
            return await self._end(execution_id, tell)
        except anyio.get_cancelled_exc_class():
            await self._cancel(execution_id)
            raise

    async def _end(self, execution_id: str, tell: Tell) -> Terminal:
        progress = Progress()
        async with aclosing(follow(self._client, self._tenant, execution_id)) as events:
            async for event in events:
                for notice in progress.take(event, anyio.current_time()):
                    await tell(notice)
                if isinstance(event, Terminal):
                    return event
        raise UnavailableError(execution_id, "its stream has ended without a last event")

    async def _cancel(self, execution_id: str) -> None:
        wanted = CancelExecution(execution_id=execution_id, reason="the MCP client has gone")
        with (
            anyio.move_on_after(CANCEL_SECONDS, shield=True),
            suppress(ProblemError, TransientError),
        ):
            await self.ask(wanted)
