"""Starts one streaming process."""

import os
from pathlib import Path

from actors.streaming.actor import Streaming
from actors.streaming.adapters import safety_file
from actors.streaming.adapters.answers import BUCKET, Answers, KeptAnswer, bucket_spec
from actors.streaming.adapters.askers import Askers
from actors.streaming.adapters.embedding import Embedder
from actors.streaming.adapters.generation import Generator
from actors.streaming.adapters.granting import granting
from actors.streaming.adapters.leave import Leave
from actors.streaming.adapters.providers import open_providers
from actors.streaming.adapters.switchboard import Switchboard
from actors.streaming.config import StreamingConfig
from bus.config import Config
from bus.egress import Egress
from bus.kv import NatsBucket
from bus.prices import PricesInForce
from bus.prices import bucket_spec as books_spec
from bus.prices import open_bucket as open_books
from bus.process import Process, main, opened
from bus.rpc import Owners
from bus.runtime import Part
from bus.secrets import Secrets
from bus.service import Service
from bus.worker import Worker
from schemas.embeddings import EmbedWork
from schemas.ledger import ACCOUNT_ENTITY
from schemas.lifecycle import GenerateWork


def settings(config: Config) -> StreamingConfig:
    """Return this actor's part of the settings."""
    defaults = StreamingConfig()
    return StreamingConfig(
        max_concurrent=config.max_concurrent_executions,
        connect_timeout=config.connect_timeout,
        openai_base_url=config.openai_base_url or defaults.openai_base_url,
        anthropic_base_url=config.anthropic_base_url or defaults.anthropic_base_url,
        groq_base_url=config.groq_base_url or defaults.groq_base_url,
        azure_base_url=config.azure_base_url,
        aws_region=config.aws_region,
        ollama_base_url=config.ollama_base_url or defaults.ollama_base_url,
    )


async def run() -> None:
    """Run the process until it is told to stop."""
    async with opened("streaming", more_streams=[bucket_spec(), books_spec()]) as process:
        config, bus, timing = process.config, process.bus, process.timing
        rules = safety_file.load(Path(config.safety_file)) if config.safety_file else None
        egress = Egress(allow_loopback=config.allow_loopback, allowed=config.allowed_hosts)
        in_force = PricesInForce()
        async with (
            open_providers(settings(config), egress, Secrets.load(os.environ)) as providers,
            in_force.following(open_books(bus.nats, bus.jetstream)),
        ):
            bucket = NatsBucket(bus.nats, bus.jetstream, BUCKET, KeptAnswer)
            accounts = Owners(bus.transport, ACCOUNT_ENTITY, config.shards, timing)
            switchboard = Switchboard(StreamingConfig().limit_patience)
            generator = Generator(
                providers,
                bus.clock,
                answers=Answers(bucket, bus.clock),
                switchboard=switchboard,
                safety=rules,
                prices=lambda: in_force.prices,
                grant=granting(accounts),
            )
            leave = Leave(
                bus,
                accounts,
                lambda: in_force.prices,
                allows_unpriced=config.budget_unpriced == "allow",
            )
            embeds = Embedder(providers, switchboard, prices=lambda: in_force.prices)
            streaming = Streaming(generator, embeds, bus, process.name, leave)
            owners = Owners(bus.transport, "execution", config.shards, timing)
            capacity = config.max_concurrent_executions
            worker = Worker(streaming.job(), owners, process.name, bus, timing, capacity=capacity)
            embedder = Worker(
                streaming.embed_job(),
                Askers(bus, lambda: in_force.prices),
                process.name,
                bus,
                timing,
                capacity=capacity,
            )
            process.load.running, process.load.capacity = lambda: worker.running, capacity
            await process.run(parts(process, worker, embedder, streaming))


def parts(
    process: Process,
    worker: Worker[GenerateWork],
    embedder: Worker[EmbedWork],
    streaming: Streaming,
) -> list[Part]:
    """Return what runs in a streaming process, in the order of starting."""
    service = Service("llm", streaming.endpoints(), process.bus, process.quotas)
    process.usage.add(service.load.uses)

    async def serve() -> None:
        await service.run(process.bus.public.client)

    return [
        Part(name="worker", run=worker.run, drain=worker.drain, missing=worker.missing),
        Part(name="embedder", run=embedder.run, drain=embedder.drain, missing=embedder.missing),
        Part(name="providers", run=streaming.tell_providers),
        Part(name="service", run=serve, drain=service.drain, missing=service.missing),
    ]


if __name__ == "__main__":
    main(run)
