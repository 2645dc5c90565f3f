"""A fleet of owners and workers on a bus in memory or on NATS, whose processes a test can kill."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus

from actors.agents.core.entity import EXECUTION
from bus.codec import decode
from bus.config import Timing
from bus.membership import Membership
from bus.ports import Bus
from bus.requests.rpc import Owners, command
from bus.shard import ShardHost
from bus.shard.fetching import fetched
from bus.subjects import journal_subject
from bus.testing import World
from bus.work.registry import WorkerRegistry
from bus.work.worker import Job, Worker, owners_of
from schemas.executions import ENDED, ExecutionHandle, ExecutionRecord
from schemas.fleet import Alive
from schemas.journal import Commit, SnapshotRef
from schemas.lifecycle import (
    Accept,
    AttemptStarted,
    Deltas,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    FinishGeneration,
    GenerateWork,
    Look,
    Looked,
    Origin,
    UsageSettled,
)
from schemas.llm import Answer, GenerateRequest
from schemas.providers import Scripted
from schemas.usage import Usage
from schemas.work import WorkAnswer, WorkItem

QUICK = Timing(
    heartbeat_seconds=0.02,
    member_gone_seconds=0.15,
    join_seconds=0.06,
    reconcile_seconds=0.03,
    housekeeping_seconds=0.05,
    record_delay_seconds=0.01,
    rest_seconds=0.05,
    request_try_seconds=0.2,
    retry_least_seconds=0.005,
    retry_most_seconds=0.02,
    ack_wait_seconds=0.4,
    offer_seconds=0.2,
    taken_seconds=0.005,
    inventory_seconds=0.05,
    work_resend_seconds=0.02,
    resend_window_seconds=0.1,
)
SHARDS = 4
SECONDS = 60.0
TENANT = "acme"
TERMINALS = (ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)
NO_DELTAS = Deltas(count=0, sha256="")

Handle = Callable[[GenerateWork], Awaitable[None]]


async def at_once(work: GenerateWork) -> None:
    """Work that takes no time."""
    del work


@dataclass
class Handled:
    """What the workers of a test have begun: one execution and attempt each."""

    begun: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def attempts(self, execution: str) -> list[int]:
        return [attempt for name, attempt in self.begun if name == execution]


@dataclass
class Owning:
    """An owner process that runs."""

    host: ShardHost
    scope: anyio.CancelScope


class Fleet:
    """Processes of one test."""

    def __init__(self, world: World, bus: Bus, tasks: TaskGroup, timing: Timing) -> None:
        self.bus = bus
        self.timing = timing
        self.handled = Handled()
        self.hosts: dict[str, Owning] = {}
        self.workers: dict[str, Worker[GenerateWork]] = {}
        self.owners = Owners(bus.transport, "execution", SHARDS, timing)
        self._world = world
        self._tasks = tasks

    # Processes

    async def start_owner(self, name: str) -> Owning:
        """Start a process that owns shards; ``kill`` its scope to let it die."""
        return await self._tasks.start(self._own, name)

    async def start_worker(
        self, name: str, handle: Handle = at_once, *, capacity: int = 4, per_tenant: int = 4
    ) -> anyio.CancelScope:
        """Start a worker; cancel what is returned to let it die."""
        return await self._tasks.start(self._work, name, handle, capacity, per_tenant)

    def kill(self, name: str) -> None:
        self.hosts.pop(name).scope.cancel()

    async def _own(self, name: str, *, task_status: TaskStatus[Owning]) -> None:
        alive = Alive(process=name, actor="agents", entities=["execution"])
        with anyio.CancelScope() as scope:
            async with self._world.process(name) as bus, anyio.create_task_group() as tasks:
                membership = Membership(bus.transport, lambda: alive, self.timing)
                entity = EXECUTION
                host = ShardHost(entity, SHARDS, name, membership, bus, self.timing)
                self.hosts[name] = Owning(host, scope)
                tasks.start_soon(membership.run)
                tasks.start_soon(host.run)
                task_status.started(self.hosts[name])

    async def _work(
        self,
        name: str,
        handle: Handle,
        capacity: int,
        per_tenant: int,
        *,
        task_status: TaskStatus[anyio.CancelScope],
    ) -> None:
        with anyio.CancelScope() as scope:
            async with self._world.process(name) as bus:
                owners = Owners(bus.transport, "execution", SHARDS, self.timing)
                worker = Worker(
                    self._job(bus, handle),
                    owners_of({"execution": owners}),
                    name,
                    bus,
                    self.timing,
                    capacity=capacity,
                    per_tenant=per_tenant,
                )
                self.workers[name] = worker
                task_status.started(scope)
                await worker.run()

    def _job(self, bus: Bus, handle: Handle) -> Job[GenerateWork]:
        async def do(item: WorkItem[GenerateWork]) -> FinishGeneration:
            self.handled.begun.append((item.body.execution_id, item.attempt))
            await handle(item.body)
            return finish(item.attempt, bus)

        return Job(queue="generate", body_type=GenerateWork, handle=do)

    # What a user does

    async def execute(
        self, execution: str, *, tenant: str = TENANT, task: str = "Say hello.", digest: str = "d"
    ) -> ExecutionHandle:
        body = accept(execution, tenant, task, digest)
        envelope = command("accept", tenant, execution, body, digest=digest)
        return decode(ExecutionHandle, await self.owners.ask(envelope, timeout=SECONDS))

    async def execute_all(self, count: int) -> list[str]:
        """Have so many executions accepted, one after another; return their names."""
        names = [f"e{number}" for number in range(count)]
        for name in names:
            await self.execute(name)
        return names

    async def look(self, execution: str, tenant: str = TENANT) -> ExecutionRecord:
        envelope = command("", tenant, execution, Look())
        return decode(Looked, await self.owners.ask(envelope, timeout=SECONDS)).record

    async def ended(self, *executions: str, tenant: str = TENANT) -> list[ExecutionRecord]:
        """Return the records once all have ended."""
        records: list[ExecutionRecord] = []
        with anyio.fail_after(SECONDS):
            for execution in executions:
                while (record := await self.look(execution, tenant)).status not in ENDED:
                    await anyio.sleep(0.01)
                records.append(record)
        return records

    # What the journal holds

    async def commits(self, shard: int) -> list[Commit]:
        journal = self.bus.journal("execution")
        subject = journal_subject("execution", shard)
        return [decode(Commit, stored.data) async for stored in journal.read(subject, start=1)]

    async def snapshot(self, shard: int) -> SnapshotRef:
        """Return the snapshot that the newest commit names, once one does."""
        with anyio.fail_after(SECONDS):
            while (named := (await self.commits(shard))[-1].snapshot) is None:
                await anyio.sleep(0.01)
        return named

    async def histories(self) -> dict[str, list[ExecutionEvent]]:
        """Return the journalled events of each execution, in order."""
        found: dict[str, list[ExecutionEvent]] = defaultdict(list)
        for shard in range(SHARDS):
            for commit in await self.commits(shard):
                for entry in commit.entries:
                    whole = await fetched(entry, self.bus.blobs)
                    kind = EXECUTION.event_type
                    found[entry.key].extend(decode(kind, raw) for raw in whole.events)
        return dict(found)

    async def settled_hosts(self) -> None:
        """Return once every living owner serves what it should, and all shards are served."""
        with anyio.fail_after(SECONDS):
            while not self._all_served():
                await anyio.sleep(0.005)

    def _all_served(self) -> bool:
        owned = [shard for owning in self.hosts.values() for shard in owning.host.owned]
        settled = all(owning.host.settled for owning in self.hosts.values())
        return settled and sorted(owned) == list(range(SHARDS))


def accept(
    execution: str, tenant: str = TENANT, task: str = "Say hello.", digest: str = "d"
) -> Accept:
    origin = Origin(
        tenant=tenant,
        execution_id=execution,
        agent_id="greeter",
        agent_version=1,
        task=task,
        digest=digest,
        max_attempts=3,
    )
    request = GenerateRequest(provider=Scripted(responses=["Hello."]), messages=[])
    return Accept(origin=origin, request=request, timeout_seconds=60.0)


def finish(attempt: int, bus: Bus) -> FinishGeneration:
    return FinishGeneration(
        work="1",
        attempt=attempt,
        answer=Answer(
            text=f"hello from attempt {attempt}", finish_reason="stop", usage=Usage(output=1)
        ),
        deltas=NO_DELTAS,
        started_at=bus.clock(),
    )


def is_legal(history: list[ExecutionEvent]) -> bool:
    """Say whether an execution ended exactly once, with nothing after it but late usage."""
    ends = [place for place, event in enumerate(history) if isinstance(event, TERMINALS)]
    rest = history[ends[0] + 1 :] if ends else []
    segments = [event.segment for event in history if isinstance(event, AttemptStarted)]
    return (
        len(ends) == 1
        and all(isinstance(event, UsageSettled) for event in rest)
        and segments == sorted(set(segments))
    )


def nobody(process: str, bus: Bus) -> WorkerRegistry:
    """Return a worker registry that hears of no worker, so that all work waits."""
    alive = Alive(process=process, actor="agents")
    return WorkerRegistry(process, Membership(bus.transport, lambda: alive, QUICK), bus, QUICK)


@asynccontextmanager
async def fleet(world: World, timing: Timing = QUICK) -> AsyncGenerator[Fleet]:
    """Open a fleet without processes; all that are started die with it."""
    async with world.process("user") as bus, anyio.create_task_group() as tasks:
        yield Fleet(world, bus, tasks, timing)
        tasks.cancel_scope.cancel()


class Gate:
    """Work that does not end until it is opened."""

    def __init__(self) -> None:
        self.began = anyio.Event()
        self._open = anyio.Event()

    async def handle(self, work: GenerateWork) -> None:
        del work
        self.began.set()
        await self._open.wait()

    async def has_begun(self) -> None:
        with anyio.fail_after(SECONDS):
            await self.began.wait()

    def open(self) -> None:
        self._open.set()


async def answer(running: Fleet, name: str, execution: str, body: msgspec.Struct) -> WorkAnswer:
    """Ask the owner of an execution something."""
    envelope = command(name, TENANT, execution, body)
    reply = await running.owners.ask(envelope, timeout=SECONDS)
    return msgspec.json.decode(reply, type=WorkAnswer)
