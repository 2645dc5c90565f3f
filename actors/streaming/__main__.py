"""A streaming process: it calls the providers of models, and streams what they answer.

`python -m actors.streaming` starts one more; all that run share the work.
"""

import os
from pathlib import Path

from actors.streaming.actor import Streaming
from actors.streaming.adapters import batch_store, safety_file
from actors.streaming.adapters.answers import BUCKET, Answers, KeptAnswer, bucket_spec
from actors.streaming.adapters.batch_store import Ticket, Tickets
from actors.streaming.adapters.operator_secrets import operator_secrets
from actors.streaming.adapters.providers import open_providers
from actors.streaming.config import StreamingConfig
from actors.streaming.flow.batches import Batches
from actors.streaming.flow.batches import opened as opened_batches
from actors.streaming.flow.embedding import Embedder
from actors.streaming.flow.generation import Generator, Means
from actors.streaming.flow.granting import granting
from actors.streaming.flow.switchboard import Switchboard
from bus.config import Timing, load
from bus.egress import Egress
from bus.kv import NatsBucket
from bus.ports import Bus
from bus.prices import PricesInForce
from bus.prices import bucket_spec as books_spec
from bus.prices import open_bucket as open_books
from bus.process import main, opened
from bus.rpc import Owners
from bus.runtime import Part
from bus.worker import Principals, Worker, owners_of
from schemas.ledger import ACCOUNT_ENTITY
from schemas.lifecycle import EXECUTION_ENTITY, EmbedWork, GenerateWork

BATCH_CAPACITY = 2000
"""Requests in batches that one process waits for, a tenant alone for half as many; each is a task
that sleeps."""


async def run() -> None:
    """Run the process until it is told to stop."""
    config = load(StreamingConfig, os.environ)
    streams = [bucket_spec(), batch_store.bucket_spec(), books_spec()]
    async with opened("streaming", config, more_streams=streams) as process:
        bus, timing = process.bus, process.timing
        rules = safety_file.load(Path(config.safety_file)) if config.safety_file else None
        egress = Egress(allow_loopback=config.allow_loopback, allowed=config.allowed_hosts)
        in_force = PricesInForce()
        tickets = NatsBucket(bus.nats, bus.jetstream, batch_store.BUCKET, Ticket)
        async with (
            open_providers(config, egress, operator_secrets(config)) as providers,
            in_force.following(open_books(bus.nats, bus.jetstream)),
            opened_batches(Tickets(tickets)) as batches,
        ):
            bucket = NatsBucket(bus.nats, bus.jetstream, BUCKET, KeptAnswer)
            accounts = Owners(bus.transport, ACCOUNT_ENTITY, config.shards, timing)
            switchboard = Switchboard(config.limit_patience)
            means = Means(
                providers=providers,
                clock=bus.clock,
                answers=Answers(bucket, bus.clock),
                switchboard=switchboard,
                safety=rules,
                prices=lambda: in_force.prices,
                grant=granting(accounts),
                batches=batches,
            )
            embeds = Embedder(providers, bus.clock, switchboard, prices=lambda: in_force.prices)
            streaming = Streaming(Generator(means), embeds, bus, process.name, shards=config.shards)
            owners = reported_to(bus, config.shards, timing)
            capacity = config.max_concurrent
            worker = Worker(streaming.job(), owners, process.name, bus, timing, capacity=capacity)
            embedder = Worker(
                streaming.embed_job(), owners, process.name, bus, timing, capacity=capacity
            )
            batcher = Worker(
                streaming.batch_job(), owners, process.name, bus, timing, capacity=BATCH_CAPACITY
            )
            process.load.running, process.load.capacity = lambda: worker.running, capacity
            await process.run([*parts(worker, embedder, streaming), batching(batcher, batches)])


def reported_to(bus: Bus, shards: int, timing: Timing) -> Principals:
    """Return who waits for generated answers: the owners of executions."""
    return owners_of({EXECUTION_ENTITY: Owners(bus.transport, EXECUTION_ENTITY, shards, timing)})


def batching(batcher: Worker[GenerateWork], batches: Batches) -> Part:
    """Return what works off requests for batches; when it leaves, another process waits on."""

    async def drain() -> None:
        await batches.leave()
        await batcher.drain()

    return Part(name="batches", run=batcher.run, drain=drain, missing=batcher.missing)


def parts(
    worker: Worker[GenerateWork], embedder: Worker[EmbedWork], streaming: Streaming
) -> list[Part]:
    """Return what runs in a streaming process, in the order of starting."""
    return [
        Part(name="worker", run=worker.run, drain=worker.drain, missing=worker.missing),
        Part(name="embedder", run=embedder.run, drain=embedder.drain, missing=embedder.missing),
        Part(name="providers", run=streaming.tell_providers),
    ]


if __name__ == "__main__":
    main(run, __doc__)
