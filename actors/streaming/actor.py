"""The streaming actor: its jobs, from a work item to the command that reports it, as declared."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from actors.streaming.adapters import safety_file
from actors.streaming.adapters.answers import ANSWERS, KeptAnswers
from actors.streaming.adapters.batch_store import BATCHES, Tickets
from actors.streaming.adapters.conversation import ConversationStore
from actors.streaming.adapters.meter import CallMeter, CircuitMeter
from actors.streaming.adapters.operator_secrets import operator_secrets
from actors.streaming.adapters.prompts import PromptReader, is_whole
from actors.streaming.adapters.providers import open_providers
from actors.streaming.adapters.script_turns import SCRIPTS
from actors.streaming.config import StreamingConfig
from actors.streaming.flow.batches import opened as opened_batches
from actors.streaming.flow.embedding import Embedder
from actors.streaming.flow.generation import Generator, Means
from actors.streaming.flow.spending_guard import spending_guard
from actors.streaming.flow.switchboard import Switchboard
from actors.streaming.flow.vectors import VectorStore
from bus.actor import Actor, Here, Own
from bus.codec import encode
from bus.errors import ProblemError
from bus.fairness.slices import Slices
from bus.kv.prices import PRICES
from bus.ports import Bus, Delivery
from bus.runtime.supervision import Part, PartKind
from bus.security.egress import Egress
from bus.subjects import fill
from bus.telemetry.traces import Span, handling
from bus.work.worker import Job
from schemas.fleet import PROVIDERS_SUBJECT, ProviderStates
from schemas.ledger import ACCOUNT_ENTITY
from schemas.lifecycle import (
    EXECUTION_ENTITY,
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

BATCH_PLACES = 2000
"""Requests in batches that one process waits for, a tenant alone for half as many; each is a task
that sleeps."""

SHOWN_SECONDS = 1.0
"""How old the gauges of circuits may be."""


class Streaming:
    """Generates answers and publishes them as they arrive; embeds texts.

    ``shards`` is the number of those of executions, to which the vectors belong. ``secrets`` are
    the names of those that this process has.
    """

    def __init__(
        self,
        generator: Generator,
        embedder: Embedder,
        bus: Bus,
        process: str = "streaming",
        *,
        shards: int = 1,
        secrets: Sequence[str] = (),
    ) -> None:
        self._secrets = list(secrets)
        self._generator = generator
        self._embedder = embedder
        self._bus = bus
        self._process = process
        self._vectors = VectorStore(bus.blobs, shards)
        slices, queues = Slices(), (QUEUE, BATCH_QUEUE, EMBED_QUEUE)
        self._prompts = {queue: PromptReader(bus, slices) for queue in queues}
        self._conversations = ConversationStore(bus, shards, slices)
        self._cut: dict[str, FailGeneration] = {}

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
        with _handling("embed", item, work):
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
        answer = ProviderStates(process=self._process, endpoints=states, secrets=self._secrets)
        await self._bus.transport.publish(delivery.reply, encode(answer))

    async def do_generate(self, item: WorkItem[GenerateWork]) -> FinishGeneration | FailGeneration:
        """Generate one answer, streaming it under the work's segment."""
        if is_whole(item.body):
            return await self._generated(item, item.body)
        async with AsyncExitStack() as stack:
            try:
                prompts = self._prompts[item.queue]
                work = await stack.enter_async_context(prompts.whole(item.body))
            except ProblemError as unread:
                return self._generator.attempt(item.body, _nobody).failed(unread.problem)
            result = await self._generated(item, work)
            if isinstance(result, FailGeneration):
                return result
            return await self._conversations.kept(item.body, work, result)

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

        span = _handling("generate", item, work)
        attempt = self._generator.attempt(work, emit, offer)
        with CallMeter(work) as meter, span:
            try:
                result = await attempt.run()
            except anyio.get_cancelled_exc_class():
                self._cut[item.id] = attempt.failed(_STOPPED)
                raise
            meter.ended(result)
        return result

    def stopped(
        self, item: WorkItem[GenerateWork] | WorkItem[EmbedWork]
    ) -> FailGeneration | Stopped:
        """Report work that was called off: what it has used until then was spent."""
        cut = self._cut.pop(item.id, None)
        return cut or Stopped(work=item.work, attempt=item.attempt, sent=False)


def _handling(
    kind: str, item: WorkItem[GenerateWork] | WorkItem[EmbedWork], work: GenerateWork | EmbedWork
) -> Span:
    """Return the span of an attempt; log lines written inside say of which one."""
    return handling(
        kind,
        f"_cb.work.{kind}.{{tenant}}",
        parent=item.trace,
        tenant=work.tenant,
        execution=work.execution_id,
        attempt=f"{work.step}.{work.attempt}",
    )


async def _nobody(events: list[StreamEvent]) -> None:
    """Stand for who publishes what an attempt says that never begins."""


_STOPPED = Problem(code="cancelled", message="the execution no longer needs this answer")


# The actor

GENERATE = Job(
    queue=QUEUE,
    body_type=GenerateWork,
    handle=Streaming.do_generate,
    stopped=Streaming.stopped,
    places=lambda config: config.max_concurrent,
)
BATCH = Job(
    queue=BATCH_QUEUE,
    body_type=GenerateWork,
    handle=Streaming.do_generate,
    stopped=Streaming.stopped,
    places=lambda _: BATCH_PLACES,
    is_long=True,
)
"""The same job for requests in batches: they wait for a day, and cost no stream."""

EMBED = Job(
    queue=EMBED_QUEUE,
    body_type=EmbedWork,
    handle=Streaming.do_embed,
    stopped=Streaming.stopped,
    places=lambda config: config.max_concurrent,
)


@asynccontextmanager
async def opened(here: Here) -> AsyncGenerator[Own]:
    """Open the ways to providers, and make what does the jobs."""
    config, bus = here.config, here.bus
    rules = safety_file.load(Path(config.safety_file)) if config.safety_file else None
    egress = Egress(allow_loopback=config.allow_loopback, allowed=config.allowed_hosts)
    switchboard, in_force = Switchboard(config.limit_patience), here.known(PRICES)
    secrets = operator_secrets(config)
    async with (
        open_providers(config, egress, secrets, scripts=here.bucket(SCRIPTS)) as providers,
        opened_batches(Tickets(here.bucket(BATCHES))) as batches,
    ):
        means = Means(
            providers=providers,
            clock=bus.clock,
            answers=KeptAnswers(here.bucket(ANSWERS), bus.clock),
            switchboard=switchboard,
            safety=rules,
            prices=lambda: in_force.prices,
            grant=spending_guard(here.way(ACCOUNT_ENTITY)),
            batches=batches,
        )
        embedder = Embedder(providers, bus.clock, switchboard, prices=lambda: in_force.prices)
        streaming = Streaming(
            Generator(means),
            embedder,
            bus,
            here.process.name,
            shards=config.shards,
            secrets=secrets.names(),
        )
        # When this process leaves, another waits on for its batches.
        leaving = Part(
            name="batches", kind=PartKind.SERVICE, run=anyio.sleep_forever, drain=batches.leave
        )
        shown = Part(name="providers", run=streaming.tell_providers)
        yield Own(doer=streaming, parts=[leaving, shown])


ACTOR = Actor(
    name="streaming",
    settings=StreamingConfig,
    stores=[ANSWERS, BATCHES, SCRIPTS],
    follows=[PRICES],
    jobs=[GENERATE, EMBED, BATCH],
    asks=[EXECUTION_ENTITY, ACCOUNT_ENTITY],
    opened=opened,
)
