"""Submitted commands: durable, answered by nobody, handled once or laid aside with the reason."""

from collections.abc import Sequence

import structlog
from nats.aio.msg import Msg

from bus.codec import accept, encode
from bus.config import Timing
from bus.durable import DurableReader
from bus.errors import ProblemError
from bus.jetstream import NatsBus
from bus.service import Caller, Endpoint, by_submit_filter
from bus.streams.spec import INBOX
from bus.subjects import fill, matches, parse
from bus.telemetry import metrics
from schemas.base import Value
from schemas.events import CommandRejectedEvent
from schemas.fleet import DeadLetter
from schemas.ids import Token
from schemas.problems import Problem

log = structlog.get_logger()

MAX_DELIVERIES = 10


class _Named(Value):
    """The only field of a command that matters before it is decoded."""

    id: Token | None = None


class Submissions:
    """Takes the submitted commands of one service and hands each to its endpoint."""

    def __init__(
        self, service: str, endpoints: Sequence[Endpoint], bus: NatsBus, timing: Timing
    ) -> None:
        self._endpoints = by_submit_filter(endpoints)
        self._bus = bus
        self._timing = timing
        reader = DurableReader(
            INBOX, f"submit-{service}", list(self._endpoints), self._handle, bus, timing
        )
        self.run, self.drain = reader.run, reader.drain

    async def _handle(self, message: Msg) -> None:
        endpoint = next(
            known for pattern, known in self._endpoints.items() if matches(pattern, message.subject)
        )
        delivery = message.metadata
        tenant = (parse("cb.{tenant}.submit.{actor}.{verb}", message.subject) or {})["tenant"]
        given = _id_of(message.data)
        submission = f"{INBOX}-{delivery.sequence.stream}"
        caller = Caller(tenant=tenant, submission=submission)
        answer = await endpoint.answer(caller, message.data)
        if not isinstance(answer, Problem):
            await message.ack()
        elif answer.retryable and delivery.num_delivered < MAX_DELIVERIES:
            await message.nak(delay=answer.retry_after or self._timing.request_try_seconds)
        else:
            await self._reject(message, tenant, given or submission, answer)

    async def _reject(self, message: Msg, tenant: str, name: str, problem: Problem) -> None:
        """Publish the refusal, lay the command aside, and only then let go of it."""
        now = self._bus.clock()
        event = CommandRejectedEvent(id=name, command=message.subject, error=problem, at=now)
        letter = DeadLetter(
            id=name,
            subject=message.subject,
            reason=f"{problem.code}: {problem.message}",
            at=now,
            deliveries=message.metadata.num_delivered,
            body=message.data.decode(errors="replace"),
        )
        try:
            subject = fill(CommandRejectedEvent.SUBJECT or "", tenant=tenant, id=name)
            await self._bus.outbox.post(subject, encode(event))
        except ProblemError:
            log.warning("submissions.hostile_tenant")
        await self._bus.outbox.post("_cb.dead.submit", encode(letter))
        await self._bus.outbox.flush(timeout=self._timing.answer_seconds)
        await message.ack()
        metrics.DEAD_LETTERS.at("submit").inc()


def _id_of(data: bytes) -> str | None:
    try:
        return accept(_Named, data).id
    except ProblemError:
        return None
