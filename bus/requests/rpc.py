"""Asking the owner of an entity, as often as it takes: the command's id makes repeats harmless."""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Self

import anyio
import msgspec

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import DeadlineError, ProblemError, UnavailableError
from bus.ports import Clock, Transport
from bus.subjects import mailbox_subject, shard_of
from bus.tasks import within
from schemas.journal import CommandEnvelope
from schemas.problems import Problem

MOST_TOGETHER_BYTES = 512 * 1024
"""Commands in one message: a nats-server takes 1 MiB unless it is told otherwise."""

Nearby = Callable[[int, CommandEnvelope, Callable[[bytes], None]], bool]
"""Hands a command to the owner of a shard if that is in this process, and says whether it is."""


POSITION = "Callboard-Position"
"""The header of an answer that says which commit it follows from: ``<entity>.<shard>.<n>``.

Who then reads a list can wait until that holds this commit. A public answer may name several.
"""


class PositionedAnswer(bytes):
    """An encoded answer that knows its position; empty where that is not told."""

    position: str

    def __new__(cls, data: bytes, position: str = "") -> Self:
        """Make one."""
        made = super().__new__(cls, data)
        made.position = position
        return made


class Owners:
    """The way to the owners of one entity's shards.

    With a ``clock`` a command has a deadline, after which no owner decides it: that of who asks.

    An owner in this process is called directly (``nearby``), which saves an encoding, a decoding
    and two hops. An observer of ``_cb.cmd.>`` therefore does not see every command.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        shards: int,
        timing: Timing,
        *,
        nearby: Nearby = lambda _shard, _envelope, _answer: False,
        clock: Clock | None = None,
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._shards = shards
        self._timing = timing
        self._nearby = nearby
        self._clock = clock

    async def ask(self, envelope: CommandEnvelope, *, timeout: float) -> PositionedAnswer:
        """Return the owner's encoded answer, with its position.

        While a shard changes hands nobody listens, or an owner dies before it answers: the same
        envelope is then sent again.

        Raises:
            ProblemError: the owner refuses, or ``unavailable`` after ``timeout`` seconds.
        """
        shard = shard_of(envelope.tenant, envelope.key, self._shards)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        if self._clock is not None:
            until = self._clock() + timedelta(seconds=timeout)
            envelope = msgspec.structs.replace(envelope, deadline=until)
        while (left := deadline - loop.time()) > 0:
            answer = await self._try(shard, envelope, min(left, self._timing.request_try_seconds))
            if answer is not None:
                return _accepted(answer)
            # An unanswered try may have been committed, so the key is no longer a new one.
            envelope = msgspec.structs.replace(envelope, fresh=False)
        raise ProblemError(_unavailable(self._entity))

    async def ask_once(self, envelopes: Sequence[CommandEnvelope]) -> Sequence[bytes] | None:
        """Return the owner's encoded answers or refusals, None if there were none this time.

        All envelopes are to the same entity, and more than one travel as one message.
        """
        first, *others = envelopes
        if others and sum(len(each.body) for each in envelopes) > MOST_TOGETHER_BYTES:
            return await self._one_by_one(envelopes)
        shard = shard_of(first.tenant, first.key, self._shards)
        seconds = self._timing.request_try_seconds
        if not others:
            answer = await self._try(shard, first, seconds)
            return None if answer is None else [answer]
        subject = mailbox_subject(self._entity, shard)
        together = await self._try_over_the_bus(subject, envelopes, seconds)
        # A single object says that they could not be read.
        if together is None or not together.startswith(b"["):
            return None
        return [bytes(answer) for answer in decode(list[msgspec.Raw], together)]

    async def _one_by_one(self, envelopes: Sequence[CommandEnvelope]) -> Sequence[bytes] | None:
        """Ask what is too much for one message: who has answered knows a repeat by its id."""
        answers: list[bytes] = []
        for envelope in envelopes:
            answer = await self.ask_once([envelope])
            if answer is None:
                return None
            answers += answer
        return answers

    async def _try(
        self, shard: int, envelope: CommandEnvelope, seconds: float
    ) -> PositionedAnswer | None:
        answer: asyncio.Future[PositionedAnswer | None] = asyncio.get_running_loop().create_future()

        def take(data: bytes) -> None:
            if not answer.done():
                answer.set_result(
                    data if isinstance(data, PositionedAnswer) else PositionedAnswer(data)
                )

        if self._nearby(shard, envelope, take):
            return await within(answer, seconds)
        return await self._try_over_the_bus(mailbox_subject(self._entity, shard), envelope, seconds)

    async def _try_over_the_bus(
        self, subject: str, envelope: CommandEnvelope | Sequence[CommandEnvelope], seconds: float
    ) -> PositionedAnswer | None:
        timing = self._timing
        try:
            delivery = await self._transport.request(subject, encode(envelope), timeout=seconds)
        except UnavailableError:
            pause = random.uniform(timing.retry_least_seconds, timing.retry_most_seconds)  # noqa: S311  spreads retries, guards nothing
            await anyio.sleep(pause)
            return None
        except DeadlineError:
            return None
        return PositionedAnswer(delivery.data, (delivery.headers or {}).get(POSITION, ""))


def command(
    id: str,  # noqa: A002  it is one
    tenant: str,
    key: str,
    body: msgspec.Struct,
    *,
    digest: str = "",
    fresh: bool = False,
    cause: str = "",
) -> CommandEnvelope:
    """Build the envelope that carries a command."""
    raw = msgspec.Raw(encode(body))
    return CommandEnvelope(
        id=id, tenant=tenant, key=key, body=raw, digest=digest, fresh=fresh, cause=cause
    )


PROBLEM_MARK = b'{"type":"problem"'
"""How an encoded refusal begins."""


def _accepted(answer: PositionedAnswer) -> PositionedAnswer:
    if answer.startswith(PROBLEM_MARK):
        raise ProblemError(decode(Problem, answer))
    return answer


def _unavailable(entity: str) -> Problem:
    return Problem(
        code="unavailable",
        message=f"no owner of this {entity} answered in time; ask again with the same id",
        retryable=True,
        retry_after=1.0,
    )
