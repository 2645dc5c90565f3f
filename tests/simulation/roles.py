"""What simulated processes are made of: the real parts, put together as the actors do."""

import random
from collections.abc import Sequence

import anyio

from bus.config import Timing
from bus.errors import ProblemError
from bus.ownership import Membership
from bus.ports import Bus
from bus.rpc import Owners, command
from bus.runtime import Part, Runtime
from bus.shard import ShardHost, Way
from bus.subjects import shard_of
from bus.terms import TermsStore
from bus.worker import Job, Worker
from schemas.fleet import Alive
from schemas.journal import Mail
from schemas.lifecycle import Claim, Deltas, FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import Answer
from schemas.problems import Problem
from schemas.terms import TERMS_STORE
from schemas.usage import Usage
from tests.simulation import account, ledger
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.network import SiteBucket
from tests.simulation.paying import Writer
from tests.simulation.site import Site

SHARDS = {"execution": 2, account.ENTITY: 2, ledger.ENTITY: 2}
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

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        self._judge.asked(mail)
        reply = await super().ask(mail, timeout=timeout)
        shard = shard_of(mail.tenant, mail.key, SHARDS[self._name])
        self._site.trace.note(self._site.name, f"hears {mail.key} {mail.id}: {reply.decode()}")
        self._judge.answered(f"_cb.journal.{self._name}.{shard}", mail, reply)
        return reply


class WatchedTerms(TermsStore):
    """The bucket of terms, whose answers the judge sees."""

    def __init__(self, bucket: SiteBucket, judge: Judge) -> None:
        super().__init__(bucket)
        self._judge = judge

    async def ask_once(self, mails: Sequence[Mail]) -> Sequence[bytes] | None:
        answers = await super().ask_once(mails)
        for mail, answer in zip(mails, answers or (), strict=False):
            self._judge.told[mail.id].add(answer)
        return answers


def owner_parts(
    site: Site, bus: Bus, entities: Sequence[AnyEntity], timing: Timing, terms: WatchedTerms
) -> tuple[Sequence[ShardHost], Sequence[Part]]:
    """Return the shard hosts of a process that owns shards of all entities, and its parts."""
    alive = Alive(process=site.name, actor="agents", entities=[each.name for each in entities])
    membership = Membership(bus.transport, lambda: alive, timing)
    hosts: list[ShardHost] = []
    ways: dict[str, Way] = {TERMS_STORE: terms}
    for entity in entities:
        name = entity.name
        host = ShardHost(entity, SHARDS[name], site.name, membership, bus, timing, ways=ways)
        ways[name] = Owners(bus.transport, name, SHARDS[name], timing, nearby=host.offer)
        hosts.append(host)
    parts = [
        Part(name="membership", run=membership.run, drain=membership.leave),
        *(
            Part(name=f"host-{place}", run=host.run, drain=host.drain, missing=host.missing)
            for place, host in enumerate(hosts)
        ),
    ]
    return hosts, parts


def worker_parts(
    site: Site, bus: Bus, timing: Timing, judge: Judge, *, pays: bool
) -> Sequence[Part]:
    """Return the parts of a process that generates answers and delivers money."""
    executions = WatchedOwners(bus, "execution", timing, judge, site)
    money = WatchedOwners(bus, ledger.ENTITY, timing, judge, site)
    writer = Writer(bus, money) if pays else None
    accounts = WatchedOwners(bus, account.ENTITY, timing, judge, site)
    generating = Worker(
        _generation(site, judge, bus, writer), executions, site.name, bus, timing, capacity=1
    )
    delivering = Worker(
        _delivery(site, accounts, judge), accounts, site.name, bus, timing, capacity=1
    )
    return [
        Part(name="generate", run=generating.run, drain=generating.drain),
        Part(name="deliver", run=delivering.run, drain=delivering.drain),
    ]


def _generation(site: Site, judge: Judge, bus: Bus, writer: Writer | None) -> Job[GenerateWork]:
    async def handle(work: GenerateWork) -> FinishGeneration | FailGeneration:
        judge.began(_generate_name(work), site)
        site.trace.note(site.name, f"begins {_generate_name(work)}")
        if writer is not None:
            return await writer.write(work)
        await anyio.sleep(random.choice([0.0, 0.1, 1.0]) * random.random())
        lot = random.random()
        if lot < 0.1:
            return _failed(work, bus, Problem(code="provider_error", message="no", retryable=True))
        if lot < 0.15:
            raise ProblemError(Problem(code="internal", message="a crash"))
        return _finished(work, bus)

    def failed(work: GenerateWork, problem: Problem) -> FailGeneration:
        return writer.failed(work, problem) if writer else _failed(work, bus, problem)

    return Job(
        queue="generate",
        item_type=GenerateWork,
        name=_generate_name,
        address=lambda work: (work.tenant, work.execution_id),
        claim=lambda work, lost: Claim(step=work.step, attempt=work.attempt, lost=lost),
        handle=handle,
        stopped=lambda work: failed(work, Problem(code="cancelled", message="stopped")),
        crashed=lambda work, kind: failed(work, Problem(code="internal", message=kind)),
    )


def _generate_name(work: GenerateWork) -> str:
    return f"{work.tenant}.{work.execution_id}.{work.step}.{work.attempt}"


def _finished(work: GenerateWork, bus: Bus) -> FinishGeneration:
    text = f"answer of attempt {work.attempt}"
    return FinishGeneration(
        step=work.step,
        attempt=work.attempt,
        answer=Answer(text=text, finish_reason="stop", usage=Usage(output=1)),
        deltas=NO_DELTAS,
        started_at=bus.clock(),
    )


def _failed(work: GenerateWork, bus: Bus, problem: Problem) -> FailGeneration:
    return FailGeneration(
        step=work.step,
        attempt=work.attempt,
        problem=problem,
        deltas=NO_DELTAS,
        started_at=bus.clock(),
    )


def _delivery(site: Site, accounts: Owners, judge: Judge) -> Job[account.DeliverWork]:
    async def handle(work: account.DeliverWork) -> account.Confirm:
        judge.began(account.work_id(work), site)
        money = account.Receive(account=work.to, tenant=work.tenant, amount=work.amount)
        mail = command(account.effect_id(work.account, work.transfer), work.tenant, work.to, money)
        await accounts.ask(mail, timeout=5.0)
        return account.Confirm(transfer=work.transfer, attempt=work.attempt)

    def undone(work: account.DeliverWork, reason: str = "") -> account.Confirm:
        del reason
        return account.Confirm(transfer=work.transfer, attempt=work.attempt, failed=True)

    return Job(
        queue=account.QUEUE,
        item_type=account.DeliverWork,
        name=account.work_id,
        address=lambda work: (work.tenant, work.account),
        claim=lambda work, lost: account.Claim(
            transfer=work.transfer, attempt=work.attempt, lost=lost
        ),
        handle=handle,
        stopped=undone,
        crashed=undone,
    )
