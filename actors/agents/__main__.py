"""An agents process: it answers requests about agents and executions, and owns executions.

`python -m actors.agents` starts one more; all that run share the work.
"""

from collections.abc import Callable
from functools import partial

from actors.agents.actor import Agents, Stores, execution_entity
from actors.agents.adapters.admission import Admission
from actors.agents.adapters.conversations import Conversations, Readers
from actors.agents.adapters.definitions import opened as opened_definitions
from actors.agents.adapters.purse import Purse
from actors.agents.adapters.records import RecordFollower
from actors.agents.adapters.streams import Streams
from actors.agents.config import AgentsConfig
from actors.agents.core.index import ExecutionIndex
from actors.agents.core.spending import Manner
from bus.codec import decode
from bus.config import Config
from bus.inboxes.rules import rules as inbox_rules
from bus.jetstream.reading import StreamReader
from bus.kv import NatsBucket, followed, newest_of_each
from bus.prices import PricesInForce
from bus.prices import bucket_spec as books_spec
from bus.prices import open_bucket as open_books
from bus.process import Process, main, opened
from bus.rpc import Owners
from bus.runtime import Part
from bus.secrets import usual_hosts
from bus.service import Service
from bus.shard import ShardHost
from bus.streams.spec import key_value_spec
from bus.submissions import Submissions
from bus.terms import EVERY_TENANT, WHAT, KnownTerms, TermsHearer
from bus.terms import bucket_spec as terms_spec
from bus.terms import open_bucket as open_terms
from schemas.agents import AgentDefinition
from schemas.executions import RECORD_SUBJECT, ExecutionRecord
from schemas.ledger import ACCOUNT_ENTITY
from schemas.terms import Restriction

BUCKET = "agents"
BUCKET_BYTES = 256 * 1024 * 1024


def settings(config: Config) -> AgentsConfig:
    """Return this actor's part of the settings."""
    return AgentsConfig(
        shards=config.shards,
        execution_timeout=config.execution_timeout,
        max_attempts=config.max_attempts,
        manner=Manner(
            strict=config.budget_bound == "strict",
            factor=config.budget_estimate_factor,
            answer_tokens=config.budget_answer_tokens,
            slice_tokens=config.budget_slice_tokens,
            waits=config.budget_when_refused == "wait",
            unpriced=config.budget_unpriced,
            usual_hosts=usual_hosts(),
        ),
    )


async def run() -> None:
    """Run the process until it is told to stop."""
    buckets = [key_value_spec(BUCKET, max_bytes=BUCKET_BYTES), books_spec(), terms_spec()]
    async with opened("agents", entities=["execution"], more_streams=buckets) as process:
        bus, in_force = process.bus, PricesInForce()
        terms = KnownTerms(process.name, usual_restrictions(process.config))
        bucket = NatsBucket(bus.nats, bus.jetstream, BUCKET, AgentDefinition)
        async with (
            opened_definitions(bucket, bus.clock, process.quotas) as definitions,
            in_force.following(open_books(bus.nats, bus.jetstream)),
            followed(open_terms(bus.nats, bus.jetstream), EVERY_TENANT, terms, WHAT) as accounts,
        ):
            config, index = settings(process.config), ExecutionIndex()
            reader, host = StreamReader(bus.nats), hosting(process, config)
            streams = Streams(reader.read_batch)
            bus.nats.on_reconnect(streams.forget)
            admission = Admission(index, process.quotas, bus.clock)
            process.usage.add(definitions.uses)
            process.usage.add(admission.uses)
            agents = Agents(
                config,
                bus,
                Owners(
                    bus.transport,
                    "execution",
                    config.shards,
                    process.timing,
                    nearby=host.offer,
                    clock=bus.clock,
                ),
                Stores(
                    definitions=definitions,
                    conversations=Conversations(
                        Readers(
                            reader.read_subject, partial(newest_of_each, bus.nats), reader.last_of
                        )
                    ),
                    streams=streams,
                    executions=index,
                ),
                Purse(terms, in_force, accounts.known, bus.clock, config.manner),
                admission,
            )
            follower = RecordFollower(
                RECORD_SUBJECT, observing(index), bus.transport, reader.read_subject
            )
            hearer = TermsHearer(terms, accounts, bus.transport)
            await process.run(
                [
                    Part(name="terms", run=hearer.run, missing=hearer.missing),
                    *parts(process, host, agents, follower),
                ]
            )


def usual_restrictions(config: Config) -> tuple[Restriction, ...]:
    """Return whom every tenant has to ask because of the operator's limits."""
    limits = (config.rate_limit_per_minute, config.usage_limit_requests_per_hour)
    return (Restriction(),) if any(limit is not None for limit in limits) else ()


def observing(index: ExecutionIndex) -> Callable[[bytes], None]:
    """Return what takes the stored records of executions into an index."""

    def observe(data: bytes) -> None:
        record = decode(ExecutionRecord, data)
        _, tenant, _ = record.stream.split(".", 2)
        index.observe(tenant, record, len(data))

    return observe


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
    process: Process, host: ShardHost, agents: Agents, follower: RecordFollower
) -> list[Part]:
    """Return what runs in an agents process, in the order of starting."""
    bus, timing = process.bus, process.timing
    service = Service("agents", agents.endpoints(), bus, process.quotas)
    process.usage.add(service.load.uses)
    submissions = Submissions(
        "agents", agents.endpoints(), bus, timing, inbox_rules(process.config)
    )

    async def serve() -> None:
        await service.run(bus.public.client)

    return [
        Part(name="records", run=follower.run, missing=follower.missing),
        Part(name="shards", run=host.run, drain=host.drain, missing=host.missing),
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
