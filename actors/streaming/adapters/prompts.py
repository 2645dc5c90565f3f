"""Prompts that were stored apart, read before an attempt begins, within a bound for all of them."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import msgspec

from actors.streaming.core.writing.turns import answering, with_sound_ids
from bus.bodies import Bodies
from bus.codec import decode
from bus.errors import ProblemError, TransientError, problem
from bus.fairness.slices import Slices
from bus.ports import Bus
from schemas import tool_turns
from schemas.bodies import BodyReference
from schemas.lifecycle import EmbedWork, GenerateWork, Prompt
from schemas.tools import ToolResult, Turn

W = TypeVar("W", GenerateWork, EmbedWork)

MOST_BYTES = 128 * 1024**2
"""What the prompts of one queue's attempts may have together; one is always read."""


def is_whole(work: GenerateWork) -> bool:
    """Say whether a request is sent as it came: nothing of it lies apart, and no tool is called."""
    called = any(message.tool_calls for message in work.request.messages)
    return work.prompt is None and not work.tools and not work.turns and not called


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
        """Hold work with its request and policy in place, wherever these and its turns lie.

        Raises:
            ProblemError: ``corrupt`` where the prompt is gone or damaged, so that no attempt can
                succeed; ``unavailable`` (retryable) where it cannot be read at present.
        """
        size = sum(reference.bytes for reference in _apart(work))
        if not size:
            yield _grown(work, [])
            return
        await self._expect_room(work, size)
        self._held += size
        try:
            yield await self._read(work)
        finally:
            self._held -= size
            freed, self._freed = self._freed, anyio.Event()
            freed.set()

    async def _expect_room(self, work: GenerateWork | EmbedWork, size: int) -> None:
        seconds = (work.deadline - self._clock()).total_seconds()
        with anyio.move_on_after(max(seconds, 0)):
            while self._held and self._held + size > self._most:
                await self._freed.wait()
            return
        raise _unread("there was no room for the prompt")

    async def _read(self, work: W) -> W:
        bodies = [await self._get(reference) for reference in _apart(work)]
        if work.prompt is not None:
            data = bodies.pop(0)
            read = await self._slices.whole(lambda: decode(Prompt, data), work.tenant)
            work = msgspec.structs.replace(
                work, request=read.request, policy=read.policy, prompt=None
            )
        return await self._slices.whole(lambda: _grown(work, bodies), work.tenant)

    async def _get(self, reference: BodyReference) -> bytes:
        try:
            return await self._bodies.get(reference)
        except TransientError:
            raise _unread("the prompt is stored apart and cannot be read at present") from None


def _apart(work: GenerateWork | EmbedWork) -> list[BodyReference]:
    """Return what lies apart of a work's request: its prompt, then large results of tools."""
    turns = work.turns if isinstance(work, GenerateWork) else []
    results = [turn.result.reference for turn in turns if turn.result is not None]
    return [each for each in (work.prompt, *results) if each is not None]


def _grown(work: W, bodies: list[bytes]) -> W:
    """Put the turns of the execution behind its messages; ``bodies`` are those of large results."""
    if not isinstance(work, GenerateWork):
        return work
    request, left = work.request, iter(bodies)
    if work.turns:
        turns = [_whole(turn, left) for turn in work.turns]
        request = answering(request, [*request.messages, *tool_turns.messages_of(turns)])
    messages = with_sound_ids(request.messages)
    if messages is work.request.messages:
        return work
    request = msgspec.structs.replace(request, messages=messages)
    return msgspec.structs.replace(work, turns=[], request=request)


def _whole(turn: Turn, bodies: Iterator[bytes]) -> Turn:
    if turn.result is None or turn.result.reference is None:
        return turn
    return msgspec.structs.replace(turn, result=decode(ToolResult, next(bodies)))


def _unread(message: str) -> ProblemError:
    return problem("unavailable", message, retryable=True)
