"""Requests over a channel: numbers, deadlines, answers, and what is asked in between."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio
import msgspec

from actors.mcp_pool.adapters.channel import Channel
from actors.mcp_pool.core import wire_faults, wire_questions
from actors.mcp_pool.core.upstream import UpstreamError
from actors.mcp_pool.core.wire import MalformedFrameError, RpcFrame, RpcRequest
from actors.mcp_pool.core.wire_hearing import Heard, asking
from actors.mcp_pool.core.wire_questions import Interim, Person
from actors.mcp_pool.core.wire_revisions import HANDSHAKE, Revision
from bus.tasks import loop_time

T = TypeVar("T")

_PASSED = "The deadline had passed before the request was sent."
_UNANSWERED = "The deadline has passed without an answer."


class Requests:
    """Makes the requests of one connection, in the dialect that is agreed on."""

    def __init__(self, channel: Channel, person: Person) -> None:
        self.channel = channel
        self.dialect = Revision(HANDSHAKE[0])
        self.in_session = False
        self._person = person
        self._last = 0

    async def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        deadline: float | None,
        *,
        headers: Mapping[str, str] = {},
        heard: Heard | None = None,
        repeats: bool = False,
    ) -> msgspec.Raw:
        """Return the result of a request, after the rounds in which the server asks for input.

        Raises:
            UpstreamError: there is none.
        """
        rounds = 0
        while True:
            raw = await self._once(method, params, deadline, headers, heard, repeats)
            asked = self.read(lambda raw=raw: wire_questions.interim(raw))
            if asked is None:
                return raw
            rounds += 1
            params = {**params, **await self._input(asked, rounds, deadline)}

    async def _input(self, asked: Interim, rounds: int, deadline: float | None) -> dict[str, Any]:
        """Return what the request is sent again with."""
        if rounds > wire_questions.MAX_ROUNDS:
            raise UpstreamError("protocol_error", "The server asks for input on and on.", sent=True)
        seconds = wire_questions.pause(asked, rounds)
        await self.within(deadline, lambda: anyio.sleep(seconds))
        return self.read(lambda: wire_questions.answered(asked, self._person))

    def read(self, reading: Callable[[], T]) -> T:
        """Return what the server's result says.

        Raises:
            UpstreamError: ``protocol_error``: it says nothing that the protocol knows.
        """
        try:
            return reading()
        except (MalformedFrameError, wire_questions.UnansweredError) as error:
            raise UpstreamError("protocol_error", str(error), sent=True) from None

    async def within(self, deadline: float | None, body: Callable[[], Awaitable[T]]) -> T:
        """Do something before the deadline.

        Raises:
            UpstreamError: ``deadline``.
        """
        with anyio.CancelScope(deadline=math.inf if deadline is None else deadline):
            return await body()
        raise UpstreamError("deadline", _UNANSWERED, sent=True)

    async def _once(
        self,
        method: str,
        params: Mapping[str, Any],
        deadline: float | None,
        headers: Mapping[str, str],
        heard: Heard | None,
        repeats: bool,  # noqa: FBT001  an inner call
    ) -> msgspec.Raw:
        self._last = number = self._last + 1
        if heard is not None:
            params = asking(params, number, params.get("_meta", {}))
        outgoing = self.dialect.request(number, method, params, headers)
        if repeats:
            outgoing = outgoing._replace(may_repeat=True)
        hearing = self.channel.hearing
        hearing.under_way[number] = heard or Heard()
        try:
            frame = await self._answered(outgoing, deadline)
        finally:
            del hearing.under_way[number]
        if frame.error is not None:
            raise wire_faults.of_error(frame.error, in_session=self.in_session)
        return frame.result

    async def _answered(self, outgoing: RpcRequest, deadline: float | None) -> RpcFrame:
        if deadline is not None and deadline <= loop_time():
            raise UpstreamError("deadline", _PASSED)
        with anyio.CancelScope(deadline=math.inf if deadline is None else deadline):
            try:
                return await self.channel.ask(outgoing)
            except asyncio.CancelledError:
                self.channel.give_up(outgoing)
                raise
        raise UpstreamError("deadline", _UNANSWERED, sent=True)
