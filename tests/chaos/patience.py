"""Asking again while the bus is away for a moment, as every reader of it must."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from bus.errors import TransientError

T = TypeVar("T")

PATIENCE_SECONDS, PAUSE_SECONDS = 60.0, 0.2


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer.

    Raises:
        TransientError: there was none for too long.
    """
    end = anyio.current_time() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except TransientError:
            if anyio.current_time() > end:
                raise
        await anyio.sleep(PAUSE_SECONDS)
