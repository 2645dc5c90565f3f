"""Requests for embeddings, done by the process that was asked: no entity owns them.

What was used is told before the asker gets the answer. Where the process dies with a request its
asker hears nothing, and what was used is not told.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from bus.codec import encode
from bus.crew import Crew
from bus.errors import DeadlineError, ProblemError
from bus.fairness import Turns, reserved_of
from bus.ports import Bus
from bus.service import reply
from bus.subjects import fill
from schemas.embeddings import EmbedWork, EncodedEmbeddings, EndEmbedding
from schemas.events import EmbeddedEvent
from schemas.problems import Problem

FLUSH_SECONDS = 2.0
"""How long an answer waits until its usage is stored; the outbox goes on trying behind it."""

Embed = Callable[[EmbedWork, str | None], Awaitable[EndEmbedding]]


def event_id(work: EmbedWork) -> str:
    """Name what is told of an attempt, so that it counts once however often it is told."""
    return f"{work.id}-{work.attempt}"


class Askers:
    """Takes requests, fairly over the tenants, and answers who waits for them."""

    def __init__(self, bus: Bus, embed: Embed, *, capacity: int) -> None:
        self._bus = bus
        self._embed = embed
        self._turns = Turns[tuple[EmbedWork, str | None]](capacity, reserved=reserved_of(capacity))
        self._most = capacity + reserved_of(capacity)
        self._ended = anyio.Event()
        self._crew: Crew[tuple[EmbedWork, str | None]] | None = None

    async def run(self) -> None:
        """Carry out what is taken, until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._crew = Crew(tasks, self._carry_out, most=self._most)
            self._start_what_fits()
            await anyio.sleep_forever()

    def missing(self) -> str | None:
        """Say what is lacking until requests are carried out."""
        return None if self._crew else "requests for embeddings are not carried out"

    async def drain(self) -> None:
        """Let all that was taken end."""
        while len(self._turns):
            self._ended = anyio.Event()
            await self._ended.wait()

    def take(self, work: EmbedWork, trace: str | None) -> None:
        """Take a request; its asker is answered later."""
        self._turns.waiting.add(work.tenant, (work, trace))
        self._start_what_fits()

    async def ended(
        self,
        work: EmbedWork,
        answer: EncodedEmbeddings | Problem,
        event: EmbeddedEvent | None = None,
    ) -> None:
        """Tell what a request has used, and then the asker what became of it."""
        await self._tell(work, event)
        await reply(self._bus.transport, work.reply, answer)

    def _start_what_fits(self) -> None:
        while self._crew is not None and (following := self._turns.start()) is not None:
            self._crew.give(following[1])

    async def _carry_out(self, taken: tuple[EmbedWork, str | None]) -> None:
        work, trace = taken
        try:
            ended = await self._embed(work, trace)
            await self.ended(work, ended.answer, ended.event)
        except ProblemError as failed:
            await reply(self._bus.transport, work.reply, failed.problem)
        finally:
            self._turns.end(work.tenant)
            self._ended.set()
            self._start_what_fits()

    async def _tell(self, work: EmbedWork, event: EmbeddedEvent | None) -> None:
        if event is None:
            return
        subject = fill(EmbeddedEvent.SUBJECT or "", tenant=work.tenant, id=event.id)
        await self._bus.outbox.post(subject, encode(event), message_id=event.id)
        with suppress(DeadlineError):
            await self._bus.outbox.flush(timeout=FLUSH_SECONDS)
