"""What the streaming actor works off: one job, from a work item to the command that reports it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import anyio

from actors.streaming.adapters import askers
from actors.streaming.adapters.embedding import Embedder
from actors.streaming.adapters.generation import Generator
from actors.streaming.adapters.leave import Leave
from actors.streaming.adapters.meter import CircuitMeter, Meter
from actors.streaming.adapters.prompts import Prompts
from bus.caller import Caller
from bus.codec import encode
from bus.errors import ProblemError
from bus.ids import new_id
from bus.ports import Bus, Delivery
from bus.service import Endpoint
from bus.slices import Slices
from bus.subjects import fill
from bus.telemetry.traces import handling
from bus.worker import Job
from schemas.embeddings import Embed, EmbedWork, EncodedEmbeddings, EndEmbedding
from schemas.fleet import PROVIDERS_SUBJECT, ProviderStates
from schemas.lifecycle import (
    FailGeneration,
    FinishGeneration,
    GenerateWork,
)
from schemas.problems import Problem
from schemas.streams import STREAM_SUBJECT, StreamEvent
from schemas.work import Stopped, WorkItem

QUEUE = "generate"
BATCH_QUEUE = "batch"
SHOWN_SECONDS = 1.0
"""How old the gauges of circuits may be."""


class Streaming:
    """Generates answers and publishes them as they arrive."""

    def __init__(
        self,
        generator: Generator,
        embedder: Embedder,
        bus: Bus,
        process: str = "streaming",
        leave: Leave | None = None,
    ) -> None:
        self._generator = generator
        self._embedder = embedder
        self._bus = bus
        self._process = process
        self._leave = leave
        self._prompts = Prompts(bus, Slices())
        self._cut: dict[str, FailGeneration] = {}

    def job(self) -> Job[GenerateWork]:
        """Return the job of generating an answer."""
        return Job(
            queue=QUEUE,
            body_type=GenerateWork,
            handle=self.do_generate,
            stopped=self._stopped,
        )

    def batch_job(self) -> Job[GenerateWork]:
        """Return the same job for requests in batches: they wait for a day, and cost no stream."""
        return replace(self.job(), queue=BATCH_QUEUE, is_long=True)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the requests this actor answers itself."""
        return (Endpoint(Embed, self.do_ask_for_embeddings),)

    def embed_job(self) -> Job[EmbedWork]:
        """Return the job of embedding texts."""
        return Job(
            queue=askers.QUEUE,
            body_type=EmbedWork,
            handle=self.do_embed,
        )

    async def do_ask_for_embeddings(self, caller: Caller, wanted: Embed) -> None:
        """Put a request into the queue, from which it is answered, also if this process dies."""
        now = self._bus.clock()
        work = EmbedWork(
            id=new_id(),
            tenant=caller.tenant,
            reply=caller.reply,
            wanted=wanted,
            at=now,
            deadline=now + timedelta(seconds=self._embedder.patience),
            most=self._embedder.embedding(caller.tenant, wanted).most,
        )
        await askers.enqueue(self._bus, work, caller.trace)

    async def do_embed(self, item: WorkItem[EmbedWork]) -> EndEmbedding:
        """Turn texts into vectors, and say what that has used, whatever became of it."""
        work = item.body
        try:
            is_held = self._leave is not None and await self._leave.hold(work)
        except ProblemError as refused:
            return EndEmbedding(work=item.work, attempt=item.attempt, answer=refused.problem)
        ended = await self._embedded(item, is_held=is_held)
        if ended.event is None and is_held and self._leave is not None:
            await self._leave.release(work)
        return ended

    async def _embedded(self, item: WorkItem[EmbedWork], *, is_held: bool) -> EndEmbedding:
        began, work = self._bus.clock(), item.body
        left = (work.deadline - began).total_seconds()
        embedding = self._embedder.embedding(
            work.tenant, work.wanted, patience=max(left, 0.0), is_held=is_held
        )
        answer: EncodedEmbeddings | Problem
        with handling("embed", "_cb.work.embed.{tenant}", parent=item.trace):
            try:
                answer = await embedding.embedded()
            except ProblemError as failed:
                answer = failed.problem
        event = embedding.event(askers.event_id(work), began, self._bus.clock())
        return EndEmbedding(work=item.work, attempt=item.attempt, answer=answer, event=event)

    async def tell_providers(self) -> None:
        """Show and answer how the providers fare, for as long as the process lives."""
        transport, meter = self._bus.transport, CircuitMeter()
        async with transport.subscription(PROVIDERS_SUBJECT, self._tell_providers):
            while True:
                meter.show(self._generator.states(anyio.current_time()))
                await anyio.sleep(SHOWN_SECONDS)

    async def _tell_providers(self, delivery: Delivery) -> None:
        states = self._generator.states(anyio.current_time())
        answer = ProviderStates(process=self._process, endpoints=states)
        await self._bus.transport.publish(delivery.reply, encode(answer))

    async def do_generate(self, item: WorkItem[GenerateWork]) -> FinishGeneration | FailGeneration:
        """Generate one answer, streaming it under the work's segment."""
        try:
            work = await self._prompts.whole(item.body)
        except ProblemError as unread:
            return self._generator.attempt(item.body, _nobody).failed(unread.problem)
        subject = fill(STREAM_SUBJECT, tenant=work.tenant, execution_id=work.execution_id)
        outbox = self._bus.outbox

        def offer(events: list[StreamEvent]) -> list[StreamEvent]:
            for place, event in enumerate(events):
                if not outbox.offer(subject, encode(event)):
                    meter.published(events[:place])
                    return events[place:]
            meter.published(events)
            return []

        async def emit(events: list[StreamEvent]) -> None:
            for event in events:
                await outbox.post(subject, encode(event), frequent=True)
            meter.published(events)

        span = handling("generate", "_cb.work.generate.{tenant}", parent=item.trace)
        attempt = self._generator.attempt(work, emit, offer)
        with Meter(work) as meter, span:
            try:
                result = await attempt.run()
            except anyio.get_cancelled_exc_class():
                self._cut[item.id] = attempt.failed(_STOPPED)
                raise
            meter.ended(result)
        return result

    def _stopped(self, item: WorkItem[GenerateWork]) -> FailGeneration | Stopped:
        """Report work that was called off: what it has used until then was spent."""
        cut = self._cut.pop(item.id, None)
        return cut or Stopped(work=item.work, attempt=item.attempt, sent=False)


async def _nobody(events: list[StreamEvent]) -> None:
    """Stand for who publishes what an attempt says that never begins."""


_STOPPED = Problem(code="cancelled", message="the execution no longer needs this answer")
