"""Asking the owner of an entity, as often as it takes: the command's id makes repeats harmless."""

import random
from collections.abc import Callable

import anyio
import msgspec

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import DeadlineError, ProblemError, UnavailableError
from bus.ports import Transport
from bus.subjects import mailbox_subject, shard_of
from schemas.journal import Mail
from schemas.problems import Problem

Nearby = Callable[[int, Mail, Callable[[bytes], None]], bool]
"""Hands a command to the owner of a shard if that is in this process, and says whether it is."""


class _Waiting:
    """An answer that is on its way within this process."""

    def __init__(self) -> None:
        self._arrived = anyio.Event()
        self._answer: bytes | None = None

    def take(self, answer: bytes) -> None:
        """Note the answer."""
        self._answer = answer
        self._arrived.set()

    async def answer(self, seconds: float) -> bytes | None:
        """Return the answer; None if it does not come within ``seconds``."""
        with anyio.move_on_after(seconds):
            await self._arrived.wait()
        return self._answer


class Owners:
    """The way to the owners of one entity's shards."""

    def __init__(
        self,
        transport: Transport,
        entity: str,
        shards: int,
        timing: Timing,
        *,
        nearby: Nearby = lambda _shard, _mail, _answer: False,
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._shards = shards
        self._timing = timing
        self._nearby = nearby

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        """Return the owner's encoded answer.

        While a shard changes hands nobody listens, or an owner dies before it answers: the same
        mail is then sent again.

        Raises:
            ProblemError: the owner refuses, or ``unavailable`` after ``timeout`` seconds.
        """
        shard = shard_of(mail.tenant, mail.key, self._shards)
        with anyio.move_on_after(timeout):
            while True:
                answer = await self._try(shard, mail)
                if answer is not None:
                    return _accepted(answer)
                # An unanswered try may have been committed, so the key is no longer a new one.
                mail = msgspec.structs.replace(mail, fresh=False)
        raise ProblemError(_unavailable(self._entity))

    async def _try(self, shard: int, mail: Mail) -> bytes | None:
        waiting = _Waiting()
        if self._nearby(shard, mail, waiting.take):
            return await waiting.answer(self._timing.request_try_seconds)
        return await self._try_over_the_bus(mailbox_subject(self._entity, shard), mail)

    async def _try_over_the_bus(self, subject: str, mail: Mail) -> bytes | None:
        timing = self._timing
        try:
            delivery = await self._transport.request(
                subject, encode(mail), timeout=timing.request_try_seconds
            )
        except UnavailableError:
            pause = random.uniform(timing.retry_least_seconds, timing.retry_most_seconds)  # noqa: S311  spreads retries, guards nothing
            await anyio.sleep(pause)
            return None
        except DeadlineError:
            return None
        return delivery.data


def command(
    id: str,  # noqa: A002  it is one
    tenant: str,
    key: str,
    body: msgspec.Struct,
    *,
    digest: str = "",
    fresh: bool = False,
) -> Mail:
    """Build the mail that carries a command."""
    raw = msgspec.Raw(encode(body))
    return Mail(id=id, tenant=tenant, key=key, body=raw, digest=digest, fresh=fresh)


_PROBLEM_MARK = b'{"type":"problem"'


def _accepted(answer: bytes) -> bytes:
    if answer.startswith(_PROBLEM_MARK):
        raise ProblemError(decode(Problem, answer))
    return answer


def _unavailable(entity: str) -> Problem:
    return Problem(
        code="unavailable",
        message=f"no owner of this {entity} answered in time; ask again with the same id",
        retryable=True,
        retry_after=1.0,
    )
