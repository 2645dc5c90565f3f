"""What simulated processes are made of: the real parts, put together as the actors do."""

import random
from collections.abc import Sequence

import anyio
import msgspec

from actors.workflow.core.messages import INSTANCE_ENTITY
from bus.config import Timing
from bus.errors import ProblemError
from bus.kv.terms import TermsStore
from bus.membership import Membership
from bus.ports import Bus
from bus.requests.rpc import Owners, PositionedAnswer, command
from bus.runtime.supervision import Part, PartKind, Runtime
from bus.shard import AskRoute, ShardHost
from bus.subjects import shard_of
from bus.work.worker import Job, Report, Worker, owners_of
from schemas.fleet import Alive
from schemas.journal import CommandEnvelope
from schemas.lifecycle import Deltas, FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import Answer, ToolCall
from schemas.problems import Problem
from schemas.terms import TERMS_STORE
from schemas.triggers import TRIGGER_ENTITY
from schemas.usage import Usage
from schemas.work import Done, WorkFailure, WorkItem
from tests.simulation import account, delegation, ledger, waiting, workflows
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.network import SiteBucket
from tests.simulation.paying import Writer
from tests.simulation.prompts import Prompts
from tests.simulation.site import Site
from tests.simulation.tools import asked, hear, tool_job

SHARDS = {
    "execution": 2,
    account.ENTITY: 2,
    ledger.ENTITY: 2,
    waiting.ENTITY: 2,
    INSTANCE_ENTITY: 2,
    TRIGGER_ENTITY: 2,
}
TENANT = "acme"
NO_DELTAS = Deltas(count=0, sha256="")


class SiteRuntime(Runtime):
    """A process that no signal reaches. ``is_drained`` says that it has left in good order."""

    is_drained = False

    async def _stop_on_signal(self) -> None:
        await anyio.sleep_forever()

    async def _drain(self) -> None:
        began = anyio.current_time()
        await super()._drain()
        self.is_drained = anyio.current_time() - began < self._timing.drain_seconds


class WatchedOwners(Owners):
    """Owners whose answers the judge sees."""

    def __init__(self, bus: Bus, entity: str, timing: Timing, judge: Judge, site: Site) -> None:
        super().__init__(bus.transport, entity, SHARDS[entity], timing)
        self._judge = judge
        self._site = site
        self._name = entity

    async def ask(self, envelope: CommandEnvelope, *, timeout: float) -> PositionedAnswer:
        self._judge.asked(envelope)
        reply = await super().ask(envelope, timeout=timeout)
        shard = shard_of(envelope.tenant, envelope.key, SHARDS[self._name])
        self._site.trace.note(
            self._site.name, f"hears {envelope.key} {envelope.id}: {reply.decode()}"
        )
        self._judge.answered(f"_cb.journal.{self._name}.{shard}", envelope, reply)
        return reply


class WatchedTerms(TermsStore):
    """The bucket of terms, whose answers the judge sees."""

    def __init__(self, bucket: SiteBucket, judge: Judge) -> None:
        super().__init__(bucket)
        self._judge = judge

    async def ask_once(self, envelopes: Sequence[CommandEnvelope]) -> Sequence[bytes] | None:
        answers = await super().ask_once(envelopes)
        for envelope, answer in zip(envelopes, answers or (), strict=False):
            self._judge.told[envelope.id].add(answer)
        return answers


def owner_parts(
    site: Site, bus: Bus, entities: Sequence[AnyEntity], timing: Timing, terms: WatchedTerms
) -> tuple[Sequence[ShardHost], Sequence[Part]]:
    """Return the shard hosts of a process that owns shards of all entities, and its parts."""
    alive = Alive(process=site.name, actor="agents", entities=[each.name for each in entities])
    membership = Membership(bus.transport, lambda: alive, timing)
    hosts: list[ShardHost] = []
    routes: dict[str, AskRoute] = {TERMS_STORE: terms}
    for entity in entities:
        name = entity.name
        host = ShardHost(entity, SHARDS[name], site.name, membership, bus, timing, routes=routes)
        routes[name] = Owners(bus.transport, name, SHARDS[name], timing, nearby=host.offer)
        hosts.append(host)
    parts = [
        Part(
            name="membership",
            kind=PartKind.FAREWELL,
            run=membership.run,
            drain=membership.leave,
        ),
        *(Part.of(f"host-{place}", PartKind.HOST, host) for place, host in enumerate(hosts)),
    ]
    return hosts, parts


def worker_parts(site: Site, bus: Bus, timing: Timing, judge: Judge, *, pays: bool) -> list[Part]:
    """Return the parts of a process that generates answers and delivers money."""
    executions = WatchedOwners(bus, "execution", timing, judge, site)
    money = WatchedOwners(bus, ledger.ENTITY, timing, judge, site)
    writer = Writer(bus, money) if pays else None
    accounts = WatchedOwners(bus, account.ENTITY, timing, judge, site)
    generating = Worker(
        _generation(site, judge, bus, writer),
        owners_of({"execution": executions}),
        site.name,
        bus,
        timing,
        capacity=1,
    )
    delivering = Worker(
        _delivery(site, accounts, judge),
        owners_of({account.ENTITY: accounts}),
        site.name,
        bus,
        timing,
        capacity=1,
    )
    calling = Worker(
        tool_job(site, judge, bus),
        owners_of({"execution": executions}),
        site.name,
        bus,
        timing,
        capacity=3,
    )
    return [
        Part(name="call", kind=PartKind.WORKER, run=calling.run, drain=calling.drain),
        Part(name="generate", kind=PartKind.WORKER, run=generating.run, drain=generating.drain),
        Part(name="deliver", kind=PartKind.WORKER, run=delivering.run, drain=delivering.drain),
    ]


def begin_parts(site: Site, bus: Bus, timing: Timing, judge: Judge) -> list[Part]:
    """Return the part of a process that begins executions for others."""
    owners = WatchedOwners(bus, "execution", timing, judge, site)
    beginning = Worker(
        delegation.begin_job(site, owners),
        owners_of({"execution": owners}),
        site.name,
        bus,
        timing,
        capacity=3,
    )
    return [Part(name="begin", kind=PartKind.WORKER, run=beginning.run, drain=beginning.drain)]


def workflow_parts(site: Site, bus: Bus, timing: Timing, judge: Judge) -> Sequence[Part]:
    """Return the parts of a process that makes requests and begins instances for workflows."""
    owners = {
        name: WatchedOwners(bus, name, timing, judge, site)
        for name in (INSTANCE_ENTITY, TRIGGER_ENTITY)
    }
    made = workflows.jobs(site, judge, owners[INSTANCE_ENTITY])
    workers = {
        queue: Worker(job, owners_of(owners), site.name, bus, timing, capacity=3)
        for queue, job in made.items()
    }
    return [
        Part(name=queue, kind=PartKind.WORKER, run=worker.run, drain=worker.drain)
        for queue, worker in workers.items()
    ]


def _generation(site: Site, judge: Judge, bus: Bus, writer: Writer | None) -> Job[GenerateWork]:
    prompts = Prompts(bus, judge, SHARDS["execution"])

    async def handle(item: WorkItem[GenerateWork]) -> Report:
        with judge.working(item.id, site):
            return await generate(item)

    async def generate(item: WorkItem[GenerateWork]) -> Report:
        site.trace.note(site.name, f"begins {item.id}")
        unread = await prompts.expect(item.body)
        if unread is not None:
            return _failed(item.body, bus, unread)
        if writer is not None:
            return await _written(writer, item.body)
        await anyio.sleep(random.choice([0.0, 0.1, 1.0]) * random.random())
        if _has_tools(item.body):
            hear(judge, item.body)
        lot = random.random()
        if lot < 0.1:
            no = Problem(code="provider_error", message="no", retryable=True)
            return _failed(item.body, bus, no)
        if lot < 0.15:
            raise ProblemError(Problem(code="internal", message="a crash"))
        calls = _calls(item.body) if item.body.tools else []
        return _finished(item.body, bus, calls)

    def stopped(item: WorkItem[GenerateWork]) -> FailGeneration:
        problem = Problem(code="cancelled", message="stopped")
        return writer.failed(item.body, problem) if writer else _failed(item.body, bus, problem)

    return Job(queue="generate", body_type=GenerateWork, handle=handle, stopped=stopped)


def _calls(work: GenerateWork) -> list[ToolCall]:
    asks = asked if _has_tools(work) else delegation.asked
    return asks(work.execution_id, work.step)


def _has_tools(work: GenerateWork) -> bool:
    """Say whether an execution calls tools of servers: it has another name than one that runs."""
    return work.execution_id.startswith("e")


async def _written(writer: Writer, work: GenerateWork) -> Report:
    """Have an answer written; whatever goes wrong, what was used is told."""
    try:
        return await writer.write(work)
    except Exception as error:  # noqa: BLE001  as the generator itself does
        return writer.failed(work, Problem(code="internal", message=type(error).__name__))


def _finished(work: GenerateWork, bus: Bus, calls: list[ToolCall]) -> FinishGeneration:
    answer = Answer(
        text=f"answer of attempt {work.attempt}",
        finish_reason="tool_calls" if calls else "stop",
        usage=Usage(output=1),
        tool_calls=calls,
    )
    return FinishGeneration(
        work=str(work.step),
        attempt=work.attempt,
        answer=answer,
        deltas=NO_DELTAS,
        started_at=bus.clock(),
    )


def _failed(work: GenerateWork, bus: Bus, problem: Problem) -> FailGeneration:
    return FailGeneration(
        work=str(work.step),
        attempt=work.attempt,
        problem=problem,
        deltas=NO_DELTAS,
        started_at=bus.clock(),
    )


def _delivery(site: Site, accounts: Owners, judge: Judge) -> Job[account.DeliverWork]:
    async def handle(item: WorkItem[account.DeliverWork]) -> Report:
        with judge.working(item.id, site):
            return await deliver(item)

    async def deliver(item: WorkItem[account.DeliverWork]) -> Report:
        work = item.body
        money = account.Receive(account=work.to, tenant=item.tenant, amount=work.amount)
        envelope = command(
            account.effect_id(work.account, work.transfer), item.tenant, work.to, money
        )
        try:
            await accounts.ask(envelope, timeout=5.0)
        except ProblemError as failed:
            again = msgspec.structs.replace(failed.problem, retryable=True)
            return WorkFailure(work=item.work, attempt=item.attempt, problem=again)
        return Done(work=item.work, attempt=item.attempt)

    def stopped(item: WorkItem[account.DeliverWork]) -> Report:
        problem = Problem(code="cancelled", message="stopped", retryable=True)
        return WorkFailure(work=item.work, attempt=item.attempt, problem=problem)

    return Job(queue=account.QUEUE, body_type=account.DeliverWork, handle=handle, stopped=stopped)
