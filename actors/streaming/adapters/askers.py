"""To whom a worker reports embeddings: no entity owns them, only their asker waits for them.

What was used is told before the asker gets the answer. A worker that dies with a request takes its
counts with it, so all the request could have used is told, as an estimate, and another attempt is
made; only one, because a request may be what kills its workers.
"""

from collections.abc import Callable
from contextlib import suppress

import msgspec

from actors.streaming.core.charging import Key, embedded
from bus.codec import encode
from bus.errors import DeadlineError, ProblemError, UnavailableError
from bus.ports import Bus
from bus.service import reply
from bus.subjects import fill
from schemas.embeddings import BeginEmbedding, Embed, EmbedWork, EndEmbedding
from schemas.events import EmbeddedEvent
from schemas.journal import Mail
from schemas.lifecycle import Granted, Settled, Superseded, WorkAnswer
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.providers import may_take_secret

QUEUE = "embed"
ATTEMPTS = 2

FLUSH_SECONDS = 2.0
"""How long an answer waits until its usage is stored; the outbox goes on trying behind it."""

_LOST = Problem(code="unavailable", message="The process that embedded has died.", retryable=True)

_BODY = BeginEmbedding | EndEmbedding


def item_name(work: EmbedWork) -> str:
    """Name one attempt."""
    return f"{work.id}.{work.attempt}"


def event_id(work: EmbedWork) -> str:
    """Name what is told of an attempt, so that it counts once however often it is told."""
    return f"{work.id}-{work.attempt}"


async def enqueue(bus: Bus, work: EmbedWork) -> None:
    """Put an attempt into the queue; the same one only once.

    Raises:
        UnavailableError: it is not known to be there.
    """
    await bus.queue.send(QUEUE, work.tenant, encode(work), item=item_name(work))


class Askers:
    """A ``Principal``: stands in for all who wait for embeddings.

    ``prices`` returns those in force; without it nothing is priced. ``usual_hosts`` are those to
    which a request takes a secret that it does not name.
    """

    def __init__(
        self,
        bus: Bus,
        prices: Callable[[], Prices] | None = None,
        usual_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._bus = bus
        self._prices = prices
        self._usual_hosts = usual_hosts

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        """See ``Principal.ask``."""
        del timeout
        return encode(await self._answer(msgspec.json.decode(mail.body, type=_BODY)))

    async def _answer(self, asked: BeginEmbedding | EndEmbedding) -> WorkAnswer:
        match asked:
            case BeginEmbedding(lost=False):
                return Granted()
            case BeginEmbedding(work=work):
                return await self._begin_anew(work)
            case EndEmbedding(work=work, answer=answer, event=event):
                await self._tell(work, event)
                await reply(self._bus.transport, work.reply, answer)
                return Settled(accepted=True)

    async def _begin_anew(self, work: EmbedWork) -> Superseded:
        """Make another attempt of a request whose worker has died, if there may be one."""
        await self._tell(work, self._lost(work))
        if work.attempt < ATTEMPTS and self._bus.clock() < work.deadline:
            again = msgspec.structs.replace(work, attempt=work.attempt + 1)
            try:
                await enqueue(self._bus, again)
            except UnavailableError as error:
                problem = Problem(code="unavailable", message=str(error), retryable=True)
                raise ProblemError(problem) from None
        else:
            await reply(self._bus.transport, work.reply, _LOST)
        return Superseded(reason="its worker has died")

    def _lost(self, work: EmbedWork) -> EmbeddedEvent:
        """Say what a lost attempt has used at most."""
        wanted, now = work.wanted, self._bus.clock()
        prices, used = self._prices, {Key(None, self._is_foreign(wanted)): work.most}
        return EmbeddedEvent(
            id=event_id(work),
            provider=str(wanted.provider.__struct_config__.tag),
            model=wanted.provider.model,
            texts=len(wanted.texts),
            usage=work.most,
            user=wanted.user,
            project=wanted.project,
            at=now,
            duration_ms=0,
            error=_LOST,
            charges=embedded(prices(), wanted.provider, used, work.at) if prices else [],
        )

    def _is_foreign(self, wanted: Embed) -> bool:
        return not may_take_secret(wanted.provider, wanted.keys, self._usual_hosts)

    async def _tell(self, work: EmbedWork, event: EmbeddedEvent | None) -> None:
        if event is None:
            return
        subject = fill(EmbeddedEvent.SUBJECT or "", tenant=work.tenant, id=event.id)
        await self._bus.outbox.post(subject, encode(event), message_id=event.id)
        with suppress(DeadlineError):
            await self._bus.outbox.flush(timeout=FLUSH_SECONDS)
