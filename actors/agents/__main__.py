"""Starts one agents process."""

from actors.agents.actor import Agents, execution_entity
from actors.agents.adapters.conversations import Conversations
from actors.agents.adapters.definitions import opened as opened_definitions
from actors.agents.adapters.records import RecordFollower
from actors.agents.adapters.streams import Streams
from actors.agents.config import AgentsConfig
from actors.agents.core.index import ExecutionIndex
from bus.config import Config
from bus.jetstream.reading import StreamReader
from bus.kv import NatsBucket
from bus.process import Process, main, opened
from bus.rpc import Owners
from bus.runtime import Part
from bus.service import Service
from bus.shard import ShardHost
from bus.streams.spec import key_value_spec
from bus.submissions import Submissions
from schemas.agents import AgentDefinition

BUCKET = "agents"
BUCKET_BYTES = 256 * 1024 * 1024


def settings(config: Config) -> AgentsConfig:
    """Return this actor's part of the settings."""
    return AgentsConfig(
        shards=config.shards,
        execution_timeout=config.execution_timeout,
        max_attempts=config.max_attempts,
    )


async def run() -> None:
    """Run the process until it is told to stop."""
    buckets = [key_value_spec(BUCKET, max_bytes=BUCKET_BYTES)]
    async with opened("agents", entities=["execution"], more_streams=buckets) as process:
        bus = process.bus
        bucket = NatsBucket(bus.nats, bus.jetstream, BUCKET, AgentDefinition)
        async with opened_definitions(bucket, bus.clock) as definitions:
            config, index = settings(process.config), ExecutionIndex()
            reader, host = StreamReader(bus.nats), hosting(process, config)
            agents = Agents(
                config,
                bus,
                Owners(
                    bus.transport, "execution", config.shards, process.timing, nearby=host.offer
                ),
                definitions=definitions,
                conversations=Conversations(reader.read_subject, reader.last_of_each),
                streams=Streams(reader.read_subject),
                index=index,
            )
            follower = RecordFollower(index, bus.transport, reader.read_subject)
            await process.run(parts(process, host, agents, follower))


def hosting(process: Process, config: AgentsConfig) -> ShardHost:
    """Return what owns this process's share of the executions."""
    return ShardHost(
        execution_entity(),
        config.shards,
        process.name,
        process.membership,
        process.bus,
        process.timing,
    )


def parts(
    process: Process, host: ShardHost, agents: Agents, follower: RecordFollower
) -> list[Part]:
    """Return what runs in an agents process, in the order of starting."""
    bus, timing = process.bus, process.timing
    service = Service("agents", agents.endpoints(), bus)
    submissions = Submissions("agents", agents.endpoints(), bus, timing)

    async def serve() -> None:
        await service.run(bus.nats.client)

    return [
        Part(name="records", run=follower.run, missing=follower.missing),
        Part(name="shards", run=host.run, drain=host.drain, missing=host.missing),
        Part(name="submissions", run=submissions.run, drain=submissions.drain),
        Part(name="service", run=serve, drain=service.drain, missing=service.missing),
    ]


if __name__ == "__main__":
    main(run)
