"""A session whose frames all come in one stream, which one task owns.

Callers wait on futures of their own and never inside the owner, so that one who is cancelled harms
nobody, and the end of the stream reaches each of them as an outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from actors.mcp_pool.core import wire
from actors.mcp_pool.core.upstream import LeakCounters, UpstreamError
from actors.mcp_pool.core.wire import MalformedFrameError, Oversize, RpcFrame, RpcRequest
from actors.mcp_pool.core.wire_hearing import Hearing
from bus.fairness.slices import Slices

MAX_UNASKED = 20_000
"""Messages that are no answers, between two answers."""

ALIVE_SECONDS = 2.0
"""How long a server may take to answer a ping, after it was silent to a deadline."""

CLOSE_SECONDS = 9.0

MAX_NOTICES = 64
"""Notices of given-up requests under way; above it none is sent."""

Taken = Callable[[bytes | str | Oversize], Awaitable[None]]


class PipeError(Exception):
    """The stream cannot be opened, or has ended, for the reason given."""


class Pipe(Protocol):
    """The two directions of a stream."""

    async def run(self, ready: Callable[[], None], taken: Taken) -> None:
        """Connect, call ``ready``, and hand over what comes; gives all back however it ends.

        Raises:
            PipeError: the server cannot be reached, or has gone.
        """
        ...

    async def send(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            PipeError: the server cannot be reached.
        """
        ...

    def kill(self) -> None:
        """Give the server no time to end by itself when the stream is closed."""
        ...


class PipeChannel:
    """See ``Channel``."""

    def __init__(
        self,
        pipe: Pipe,
        tasks: TaskGroup,
        counters: LeakCounters,
        hearing: Hearing,
        slices: Slices,
    ) -> None:
        self.hearing = hearing
        self._pipe = pipe
        self._tasks = tasks
        self._counters = counters
        self._slices = slices
        self._scope = anyio.CancelScope()
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self._begun = False
        self._reason = "The server is not connected."
        self._pending: dict[wire.RequestId, asyncio.Future[RpcFrame | UpstreamError]] = {}
        self._answers = 0
        self._unasked = 0
        self._doubted = 0

    async def start(self) -> None:
        """See ``Channel.start``."""
        self._begun = True
        self._counters.opened["tasks"] += 1
        self._tasks.start_soon(self._own)
        await self._ready.wait()
        if self._ended.is_set():
            raise UpstreamError("not_sent", self._reason, session_lost=True)

    def settle(self, headers: Mapping[str, str], *, stateless: bool) -> None:
        """See ``Channel.settle``: a pipe has no headers."""

    async def ask(self, outgoing: RpcRequest) -> RpcFrame:
        """See ``Channel.ask``."""
        return await self._asked(outgoing.id, outgoing.frame)

    async def tell(self, frame: bytes) -> None:
        """See ``Channel.tell``."""
        if self._ended.is_set():
            raise UpstreamError("not_sent", self._reason, session_lost=True)
        try:
            await self._pipe.send(frame)
        except PipeError as error:
            raise _lost(str(error)) from None

    def give_up(self, outgoing: RpcRequest) -> None:
        """See ``Channel.give_up``; a server that is silent meanwhile is asked whether it lives."""
        if self._ended.is_set() or outgoing.method == "initialize":
            return
        if self._counters.open().get("tasks", 0) <= 1 + MAX_NOTICES:
            self._counters.opened["tasks"] += 1
            self._tasks.start_soon(self._notice, outgoing.id, self._answers)

    async def hear(self) -> None:
        """See ``Channel.hear``: everything comes in the one stream."""
        await self._ended.wait()

    async def close(self) -> None:
        """See ``Channel.close``."""
        if not self._begun:
            return
        self._scope.cancel()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._ended.wait()

    # The owner

    async def _own(self) -> None:
        try:
            with self._scope:
                await self._pipe.run(self._ready.set, self._taken)
                self._reason = "The server has ended the stream."
        except PipeError as error:
            self._reason = str(error)
        finally:
            self._ended.set()
            self._ready.set()
            self._counters.closed["tasks"] += 1
            for future in self._pending.values():
                if not future.done():
                    future.set_result(_lost(self._reason))

    async def _taken(self, text: bytes | str | Oversize) -> None:
        """Take what the server has sent.

        Raises:
            PipeError: it says too much that nobody has asked for.
        """
        self._unasked += 1
        if self._unasked > MAX_UNASKED:
            raise PipeError(f"The server says over {MAX_UNASKED} things between two answers.")
        if isinstance(text, Oversize):
            self._refuse(text)
            return
        try:
            found = (
                wire.frames(text)
                if len(text) <= wire.SHORT
                else await self._slices.run(wire.reading(text))
            )
        except MalformedFrameError:
            # Servers print greetings and warnings where only frames should be.
            return
        for frame in found:
            if frame.is_answer:
                self._settle(frame.id, frame)
            elif (reply := self.hearing.take(frame)) is not None:
                await self._pipe.send(reply)

    def _settle(self, number: wire.RequestId | None, found: RpcFrame | UpstreamError) -> None:
        future = self._pending.get(number) if number is not None else None
        if future is not None and not future.done():
            self._answers += 1
            self._unasked = 0
            future.set_result(found)

    def _refuse(self, line: Oversize) -> None:
        number = line.number
        if number is None and len(self._pending) == 1:
            (number,) = (each for each in self._pending if isinstance(each, int))
        message = f"The answer has more than {wire.MAX_FRAME_BYTES} bytes."
        self._settle(number, UpstreamError("protocol_error", message, sent=True))

    # Requests

    async def _asked(self, number: wire.RequestId, frame: bytes) -> RpcFrame:
        if self._ended.is_set():
            raise UpstreamError("not_sent", self._reason, session_lost=True)
        future: asyncio.Future[RpcFrame | UpstreamError] = (
            asyncio.get_running_loop().create_future()
        )
        self._pending[number] = future
        try:
            await self.tell(frame)
            found = await future
        finally:
            del self._pending[number]
        if isinstance(found, UpstreamError):
            raise found
        return found

    async def _notice(self, number: int, answers: int) -> None:
        """Tell the server of a request that nobody waits for, and end a session that is dead."""
        frame = wire.notification("notifications/cancelled", {"requestId": number})
        try:
            with anyio.move_on_after(ALIVE_SECONDS) as scope:
                await self.tell(frame)
                if answers == self._answers:
                    await self._alive()
            if scope.cancelled_caught and answers == self._answers:
                self._reason = "The server was silent and did not answer a ping."
                self._pipe.kill()
                self._scope.cancel()
        except UpstreamError:
            # It has ended meanwhile, and everybody knows.
            return
        finally:
            self._counters.closed["tasks"] += 1

    async def _alive(self) -> None:
        self._doubted += 1
        name = f"alive-{self._doubted}"
        await self._asked(name, wire.ping(name))


def _lost(reason: str) -> UpstreamError:
    return UpstreamError("outcome_unknown", reason, sent=True, session_lost=True)
