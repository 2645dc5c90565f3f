"""Submitted commands: durable, answered by nobody, handled once or laid aside with the reason."""

from collections.abc import Sequence

import anyio
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from bus.codec import decode, encode
from bus.config import Timing
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

BATCH = 64
WAIT_SECONDS = 2.0
ACK_SECONDS = 30.0
MAX_DELIVERIES = 10


class _Named(Value):
    """The only field of a command that matters before it is decoded."""

    id: Token | None = None


class Submissions:
    """Takes the submitted commands of one service and hands each to its endpoint."""

    def __init__(
        self, service: str, endpoints: Sequence[Endpoint], bus: NatsBus, timing: Timing
    ) -> None:
        self._durable = f"submit-{service}"
        self._endpoints = by_submit_filter(endpoints)
        self._bus = bus
        self._timing = timing
        self._draining = False

    async def run(self) -> None:
        """Pull and handle commands until drained. Ends with the bus; begin it anew then."""
        subscription = await self._subscribed()
        while not self._draining:
            try:
                batch = await subscription.fetch(BATCH, timeout=WAIT_SECONDS)
            except (NatsError, TimeoutError):
                await anyio.sleep(self._timing.work_resend_seconds)
                continue
            async with anyio.create_task_group() as tasks:
                for message in batch:
                    tasks.start_soon(self._handle, message)

    async def drain(self) -> None:
        """Take no more commands."""
        self._draining = True

    async def _subscribed(self) -> JetStreamContext.PullSubscription:
        """Subscribe as soon as the bus can do that: its disk may be full."""
        while True:
            try:
                return await self._subscribe()
            except (NatsError, TimeoutError) as error:
                log.warning("submissions.not_subscribed", error=str(error))
                await anyio.sleep(self._timing.request_try_seconds)

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        jetstream = self._bus.nats.client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        config = ConsumerConfig(
            durable_name=self._durable,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_SECONDS,
            filter_subjects=list(self._endpoints),
            max_ack_pending=BATCH * 16,
        )
        await jetstream.add_consumer(INBOX, config)  # pyright: ignore[reportUnknownMemberType]
        return await jetstream.pull_subscribe_bind(self._durable, stream=INBOX)

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
        return decode(_Named, data).id
    except ProblemError:
        return None
