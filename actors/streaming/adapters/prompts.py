"""Prompts that were stored apart, read before an attempt begins, within a bound for all of them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import msgspec

from bus.bodies import Bodies
from bus.codec import decode
from bus.errors import ProblemError, TransientError, problem
from bus.fairness.slices import Slices
from bus.ports import Bus
from schemas.bodies import BodyReference
from schemas.lifecycle import EmbedWork, GenerateWork, Prompt

W = TypeVar("W", GenerateWork, EmbedWork)

MOST_BYTES = 128 * 1024**2
"""What the prompts of one queue's attempts may have together; one is always read."""


class PromptReader:
    """Reads the prompts of the attempts at work of one queue."""

    def __init__(self, bus: Bus, slices: Slices, *, most: int = MOST_BYTES) -> None:
        self._bodies = Bodies(bus.blobs)
        self._clock = bus.clock
        self._slices = slices
        self._most = most
        self._held = 0
        self._freed = anyio.Event()

    @asynccontextmanager
    async def whole(self, work: W) -> AsyncGenerator[W]:
        """Hold work with its request and policy in place, wherever these lie.

        Raises:
            ProblemError: ``corrupt`` where the prompt is gone or damaged, so that no attempt can
                succeed; ``unavailable`` (retryable) where it cannot be read at present.
        """
        if work.prompt is None:
            yield work
            return
        await self._expect_room(work, work.prompt.bytes)
        self._held += work.prompt.bytes
        try:
            yield await self._read(work, work.prompt)
        finally:
            self._held -= work.prompt.bytes
            freed, self._freed = self._freed, anyio.Event()
            freed.set()

    async def _expect_room(self, work: GenerateWork | EmbedWork, size: int) -> None:
        seconds = (work.deadline - self._clock()).total_seconds()
        with anyio.move_on_after(max(seconds, 0)):
            while self._held and self._held + size > self._most:
                await self._freed.wait()
            return
        raise _unread("there was no room for the prompt")

    async def _read(self, work: W, prompt: BodyReference) -> W:
        try:
            data = await self._bodies.get(prompt)
        except TransientError:
            raise _unread("the prompt is stored apart and cannot be read at present") from None
        read = await self._slices.whole(lambda: decode(Prompt, data), work.tenant)
        return msgspec.structs.replace(work, request=read.request, policy=read.policy, prompt=None)


def _unread(message: str) -> ProblemError:
    return problem("unavailable", message, retryable=True)
