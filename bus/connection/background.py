"""Loops that run beside a body."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def background(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[TaskGroup]:
    """Run loops while the context is open, and end it when one of them fails.

    More can be started in the group that is yielded.

    An error, of the body or of a loop, comes out as it was raised, not in a group: there is one.
    """
    try:
        async with anyio.create_task_group() as tasks:
            for loop in loops:
                tasks.start_soon(loop)
            yield tasks
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = group.exceptions[0]
        raise error from error.__cause__
