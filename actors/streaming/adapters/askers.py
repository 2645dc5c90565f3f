"""To whom a worker reports embeddings: no entity owns them, only their asker waits for them.

What was used is told before the asker gets the answer. A worker that dies with a request takes its
counts with it, so all the request could have used is told, as an estimate, and another attempt is
made; only one, because a request may be what kills its workers.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from actors.streaming.core.charging import Key, embedded
from bus.codec import decode, encode
from bus.errors import DeadlineError, ProblemError, UnavailableError
from bus.ports import Bus
from bus.service import reply
from bus.subjects import fill
from schemas.embeddings import Embed, EmbedWork, EncodedEmbeddings, EndEmbedding
from schemas.events import EmbeddedEvent
from schemas.journal import Mail
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.providers import may_take_secret
from schemas.work import (
    Claim,
    Failed,
    Granted,
    Lost,
    ReplyTo,
    Settled,
    Stopped,
    Superseded,
    WorkAnswer,
    WorkItem,
    item_id,
)

QUEUE = "embed"
ASKER = "asker"
"""Stands for an entity: whoever waits at a request's reply subject."""

ATTEMPTS = 2

FLUSH_SECONDS = 2.0
"""How long an answer waits until its usage is stored; the outbox goes on trying behind it."""

_LOST = Problem(code="unavailable", message="The process that embedded has died.", retryable=True)

_STOPPED = Problem(code="cancelled", message="The worker was stopped.", retryable=True)

_BODY = Claim | Lost | EndEmbedding | Failed | Stopped


def event_id(work: EmbedWork) -> str:
    """Name what is told of an attempt, so that it counts once however often it is told."""
    return f"{work.id}-{work.attempt}"


async def enqueue(bus: Bus, work: EmbedWork, trace: str | None) -> None:
    """Put an attempt into the queue; the same one only once.

    Raises:
        UnavailableError: it is not known to be there.
    """
    item = enclosed(work, bus.clock(), trace)
    await bus.queue.send(QUEUE, work.tenant, encode(item), item=item.id)


def enclosed(work: EmbedWork, since: datetime, trace: str | None) -> WorkItem[EmbedWork]:
    """Put an attempt into its envelope."""
    reply_to = ReplyTo(entity=ASKER, tenant=work.tenant, key=work.id)
    return WorkItem(
        id=item_id(reply_to, "embed", work.attempt),
        work="embed",
        attempt=work.attempt,
        queue=QUEUE,
        tenant=work.tenant,
        reply_to=reply_to,
        since=since,
        body=work,
        trace=trace,
    )


class Askers:
    """Stands in for all who wait for embeddings.

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

    def __call__(self, item: WorkItem[msgspec.Raw]) -> "Asker":
        """Return who waits for an item."""
        return Asker(self, item)

    async def ended(
        self,
        work: EmbedWork,
        answer: EncodedEmbeddings | Problem,
        event: EmbeddedEvent | None = None,
    ) -> None:
        """Tell what an attempt has used, and then the asker what became of it."""
        await self._tell(work, event)
        await reply(self._bus.transport, work.reply, answer)

    async def begin_anew(self, work: EmbedWork, trace: str | None) -> Superseded:
        """Make another attempt of a request whose worker has died, if there may be one."""
        await self._tell(work, self._lost(work))
        if work.attempt < ATTEMPTS and self._bus.clock() < work.deadline:
            again = msgspec.structs.replace(work, attempt=work.attempt + 1)
            try:
                await enqueue(self._bus, again, trace)
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


class Asker:
    """A ``Principal``: who waits for one request."""

    def __init__(self, askers: Askers, item: WorkItem[msgspec.Raw]) -> None:
        self._askers = askers
        self._item = item

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        """See ``Principal.ask``."""
        del timeout
        asked: Any = msgspec.json.decode(mail.body, type=_BODY)
        return encode(await self._answer(asked))

    async def _answer(self, asked: Claim | Lost | EndEmbedding | Failed | Stopped) -> WorkAnswer:
        if isinstance(asked, Claim):
            return Granted()
        work = decode(EmbedWork, self._item.body)
        match asked:
            case Lost():
                return await self._askers.begin_anew(work, self._item.trace)
            case EndEmbedding(answer=answer, event=event):
                await self._askers.ended(work, answer, event)
            case Failed(problem=problem):
                await self._askers.ended(work, problem)
            case Stopped():
                await self._askers.ended(work, _STOPPED)
        return Settled(accepted=True)
