"""What the streaming actor works off: jobs, from a work item to the command that reports it."""

from contextlib import AsyncExitStack
from dataclasses import replace

import anyio

from actors.streaming.adapters.meter import CircuitMeter, Meter
from actors.streaming.adapters.prompts import Prompts
from actors.streaming.flow.embedding import Embedder
from actors.streaming.flow.generation import Generator
from actors.streaming.flow.vectors import VectorStore
from bus.codec import encode
from bus.errors import ProblemError
from bus.ports import Bus, Delivery
from bus.slices import Slices
from bus.subjects import fill
from bus.telemetry.traces import handling
from bus.worker import Job
from schemas.fleet import PROVIDERS_SUBJECT, ProviderStates
from schemas.lifecycle import (
    EmbedWork,
    FailGeneration,
    FinishGeneration,
    GenerateWork,
)
from schemas.problems import Problem
from schemas.streams import STREAM_SUBJECT, StreamEvent
from schemas.work import Stopped, WorkItem

QUEUE = "generate"
BATCH_QUEUE = "batch"
EMBED_QUEUE = "embed"
SHOWN_SECONDS = 1.0
"""How old the gauges of circuits may be."""


class Streaming:
    """Generates answers and publishes them as they arrive; embeds texts.

    ``shards`` is the number of those of executions, to which the vectors belong.
    """

    def __init__(
        self,
        generator: Generator,
        embedder: Embedder,
        bus: Bus,
        process: str = "streaming",
        *,
        shards: int = 1,
    ) -> None:
        self._generator = generator
        self._embedder = embedder
        self._bus = bus
        self._process = process
        self._vectors = VectorStore(bus.blobs, shards)
        slices, queues = Slices(), (QUEUE, BATCH_QUEUE, EMBED_QUEUE)
        self._prompts = {queue: Prompts(bus, slices) for queue in queues}
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

    def embed_job(self) -> Job[EmbedWork]:
        """Return the job of embedding texts."""
        return Job(
            queue=EMBED_QUEUE,
            body_type=EmbedWork,
            handle=self.do_embed,
            stopped=self._stopped,
        )

    async def do_embed(self, item: WorkItem[EmbedWork]) -> FinishGeneration | FailGeneration:
        """Turn texts into vectors, store these, and say what that has used."""
        async with AsyncExitStack() as stack:
            try:
                prompts = self._prompts[item.queue]
                work = await stack.enter_async_context(prompts.whole(item.body))
            except ProblemError as unread:
                return self._embedder.embedding(item.body).failed(unread.problem, final=False)
            return await self._embedded(item, work)

    async def _embedded(
        self, item: WorkItem[EmbedWork], work: EmbedWork
    ) -> FinishGeneration | FailGeneration:
        embedding = self._embedder.embedding(work)
        with handling("embed", "_cb.work.embed.{tenant}", parent=item.trace):
            try:
                return await embedding.run(lambda found: self._vectors.put(work, found))
            except anyio.get_cancelled_exc_class():
                self._cut[item.id] = embedding.failed(_STOPPED)
                raise

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
        async with AsyncExitStack() as stack:
            try:
                prompts = self._prompts[item.queue]
                work = await stack.enter_async_context(prompts.whole(item.body))
            except ProblemError as unread:
                return self._generator.attempt(item.body, _nobody).failed(unread.problem)
            return await self._generated(item, work)

    async def _generated(
        self, item: WorkItem[GenerateWork], work: GenerateWork
    ) -> FinishGeneration | FailGeneration:
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

    def _stopped(
        self, item: WorkItem[GenerateWork] | WorkItem[EmbedWork]
    ) -> FailGeneration | Stopped:
        """Report work that was called off: what it has used until then was spent."""
        cut = self._cut.pop(item.id, None)
        return cut or Stopped(work=item.work, attempt=item.attempt, sent=False)


async def _nobody(events: list[StreamEvent]) -> None:
    """Stand for who publishes what an attempt says that never begins."""


_STOPPED = Problem(code="cancelled", message="the execution no longer needs this answer")
