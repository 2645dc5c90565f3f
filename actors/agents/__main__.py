"""An agents process: it answers requests about agents and executions, and owns executions.

`python -m actors.agents` starts one more; all that run share the work.
"""

import os
import sqlite3
from datetime import timedelta

from actors.agents.actor import Agents, Stores, execution_entity
from actors.agents.adapters.admission import Admission
from actors.agents.adapters.conversations import Conversations
from actors.agents.adapters.definitions import opened as opened_definitions
from actors.agents.adapters.embeddings import EmbeddingAnswers
from actors.agents.adapters.embeddings import Look as LookUp
from actors.agents.adapters.listed import LISTED
from actors.agents.adapters.lists import Counted, Lists, counted
from actors.agents.adapters.purse import Purse
from actors.agents.adapters.streams import Streams
from actors.agents.config import AgentsConfig
from bus.caller import Caller
from bus.codec import decode
from bus.config import load
from bus.inboxes.rules import rules as inbox_rules
from bus.jetstream.reading import StreamReader
from bus.kv import NatsBucket, followed
from bus.prices import PricesInForce
from bus.prices import bucket_spec as books_spec
from bus.prices import open_bucket as open_books
from bus.process import Process, main, opened
from bus.projection import Projector, Watch
from bus.projection.file import microseconds
from bus.rpc import Owners
from bus.runtime import Part
from bus.service import Service
from bus.shard import ShardHost
from bus.streams.spec import key_value_spec
from bus.submissions import Submissions
from bus.terms import EVERY_TENANT, WHAT, KnownTerms, TermsHearer
from bus.terms import bucket_spec as terms_spec
from bus.terms import open_bucket as open_terms
from schemas.agents import AgentDefinition
from schemas.executions import ExecutionRecord
from schemas.ledger import ACCOUNT_ENTITY
from schemas.lifecycle import Look, Looked
from schemas.terms import Restriction

BUCKET = "agents"
BUCKET_BYTES = 256 * 1024 * 1024

LATELY = timedelta(hours=1)
COUNT_SECONDS = 30.0
"""What has ended within an hour becomes less also where nothing happens."""


async def run() -> None:
    """Run the process until it is told to stop."""
    config = load(AgentsConfig, os.environ)
    buckets = [key_value_spec(BUCKET, max_bytes=BUCKET_BYTES), books_spec(), terms_spec()]
    async with opened("agents", config, entities=["execution"], more_streams=buckets) as process:
        bus, in_force = process.bus, PricesInForce()
        terms = KnownTerms(process.name, usual_restrictions(config))
        bucket = NatsBucket(bus.nats, bus.jetstream, BUCKET, AgentDefinition)
        async with (
            opened_definitions(bucket, bus.clock, process.quotas) as definitions,
            in_force.following(open_books(bus.nats, bus.jetstream)),
            followed(open_terms(bus.nats, bus.jetstream), EVERY_TENANT, terms, WHAT) as accounts,
        ):
            kept = process.timing.record_retention_days
            executions = process.following(LISTED, retention=timedelta(days=kept))
            lists = Lists(executions)
            reader, host = StreamReader(bus.nats), hosting(process, config)
            streams = Streams(reader.read_batch)
            bus.nats.on_reconnect(streams.forget)
            admission = Admission(process.quotas, lists.knows)
            executions.watch(watching(process, admission))
            process.usage.add(definitions.uses)
            process.usage.add(admission.uses)
            owners = Owners(
                bus.transport,
                "execution",
                config.shards,
                process.timing,
                nearby=host.offer,
                clock=bus.clock,
            )
            embeddings = EmbeddingAnswers(
                bus, looking(owners, config.request_timeout), process.quotas, admission
            )
            agents = Agents(
                config,
                bus,
                owners,
                Stores(
                    definitions=definitions,
                    conversations=Conversations(reader.read_subject),
                    streams=streams,
                    lists=lists,
                ),
                Purse(terms, in_force, accounts.known, bus.clock, config.manner),
                admission,
                embeddings,
            )
            hearer = TermsHearer(terms, accounts, bus.transport)
            await process.run(
                [
                    Part(name="terms", run=hearer.run, missing=hearer.missing),
                    *parts(process, host, agents, executions, embeddings),
                ]
            )


def usual_restrictions(config: AgentsConfig) -> tuple[Restriction, ...]:
    """Return whom every tenant has to ask because of the operator's limits."""
    return (Restriction(),) if config.limits.hold() else ()


def watching(process: Process, admission: Admission) -> Watch[Counted]:
    """Return what counts for the quotas of tenants, of all executions of the fleet."""

    def count(rows: sqlite3.Connection) -> Counted:
        return counted(rows, since=microseconds(process.bus.clock() - LATELY))

    return Watch(count, admission.take, seconds=COUNT_SECONDS)


def looking(owners: Owners, timeout: float) -> LookUp:
    """Return what reads an execution as its owner knows it."""

    async def look(caller: Caller, execution_id: str) -> ExecutionRecord:
        mail = caller.command("", execution_id, Look())
        answer = await caller.ask(owners, mail, timeout=timeout)
        return decode(Looked, answer).record

    return look


def hosting(process: Process, config: AgentsConfig) -> ShardHost:
    """Return what owns this process's share of the executions."""
    return ShardHost(
        execution_entity(),
        config.shards,
        process.name,
        process.membership,
        process.bus,
        process.timing,
        ways={
            ACCOUNT_ENTITY: Owners(
                process.bus.transport, ACCOUNT_ENTITY, config.shards, process.timing
            )
        },
    )


def parts(
    process: Process,
    host: ShardHost,
    agents: Agents,
    executions: Projector,
    embeddings: EmbeddingAnswers,
) -> list[Part]:
    """Return what runs in an agents process, in the order of starting."""
    bus, timing = process.bus, process.timing
    service = Service("agents", agents.endpoints(), bus, process.quotas)
    process.usage.add(service.load.uses)
    rules, shards = inbox_rules(process.config), process.config.shards
    submissions = Submissions("agents", agents.endpoints(), bus, timing, rules, shards=shards)

    async def serve() -> None:
        await service.run(bus.public.client)

    return [
        Part(name="executions", run=executions.run, missing=executions.missing),
        Part(
            name="endings",
            run=agents.endings.run,
            drain=agents.endings.drain,
            missing=agents.endings.missing,
        ),
        Part(name="shards", run=host.run, drain=host.drain, missing=host.missing),
        Part(
            name="embeddings",
            run=embeddings.run,
            drain=embeddings.drain,
            missing=embeddings.missing,
        ),
        Part(
            name="submissions",
            run=submissions.run,
            drain=submissions.drain,
            missing=submissions.missing,
        ),
        Part(name="service", run=serve, drain=service.drain, missing=service.missing),
    ]


if __name__ == "__main__":
    main(run, __doc__)
