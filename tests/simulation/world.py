"""The world of one history: the bus, the processes on it, and what befalls them."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actors.workflow.core.messages import INSTANCE_ENTITY
from bus.codec import decode
from bus.config import Timing
from bus.errors import CallboardError
from bus.kv import MemoryBucket
from bus.memory import MemoryBus
from bus.shard.book import ShardBook
from bus.shard.owner import ShardOwner
from bus.streams.spec import stream_specs
from bus.subjects import journal_subject
from schemas.fleet import HEARTBEAT_SUBJECT, WORKER_SUBJECT
from schemas.terms import Terms
from schemas.triggers import TRIGGER_ENTITY
from tests.simulation import ledger, waiting, workflows
from tests.simulation.account import ENTITY
from tests.simulation.chance import Chance
from tests.simulation.endings import is_over
from tests.simulation.faults import rates_of
from tests.simulation.judge import AnyEntity, Judge, JudgedStates, JudgedStore
from tests.simulation.lending import Borrower
from tests.simulation.loop import PROCESS, Process
from tests.simulation.network import SiteBucket, process_bus
from tests.simulation.plan import OWNERS, WORKERS, Event
from tests.simulation.prompts import Prompts
from tests.simulation.roles import (
    SHARDS,
    SiteRuntime,
    WatchedOwners,
    WatchedTerms,
    begin_parts,
    owner_parts,
    worker_parts,
    workflow_parts,
)
from tests.simulation.site import Site
from tests.simulation.trace import Trace
from tests.simulation.users import User

BEATS = (HEARTBEAT_SUBJECT, WORKER_SUBJECT)
"""Signs of life come or do not come, and nothing else befalls them."""


class World:
    """Three owners, two workers, a place from which users ask, and all their trouble."""

    def __init__(
        self,
        timing: Timing,
        chance: Chance,
        trace: Trace,
        entities: Sequence[AnyEntity],
        *,
        begins: bool = False,
    ) -> None:
        self.timing = timing
        self.chance = chance
        self.trace = trace
        self.rates = rates_of(chance)
        store = JudgedStore(stream_specs((), timing))
        states = JudgedStates()
        self.bus = MemoryBus(timing, fate=self._fate, store=store, states=states)
        self.terms = MemoryBucket(Terms)
        self.judge = Judge(entities, self.bus.blobs.kept)
        self.entities = self.judge.entities
        names = {entity.name for entity in entities}
        self._begins = begins
        self._has_workflows = INSTANCE_ENTITY in names
        self._pays = {"execution", ledger.ENTITY} <= names
        store.judge = states.judge = self.judge
        self.judge.books = self._books
        self.sites: dict[str, Site] = {}
        self._dead: list[Site] = []
        self._lives = 0
        self._deaf: dict[tuple[str, str], float] = {}
        self._user: User
        self._tasks: TaskGroup

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Let all processes live while the context is open."""
        async with self.bus.exchange.opened(), anyio.create_task_group() as self._tasks:
            self._open_users()
            for slot in OWNERS + WORKERS:
                self._start(slot)
            yield
            self._end()

    def befall(self, event: Event) -> None:
        """Let an event of the plan happen."""
        self.trace.note(event.who, f"{event.what} {event.values}")
        values = event.values
        match event.what:
            case "is killed":
                self._after_steps(event, lambda site: site.kill())
            case "is killed at work":
                self.sites[event.who].dies_at_work = values["in steps"]
            case "stands still":
                self._after_steps(event, lambda site: site.pause(values["for"]))
            case "loses the bus":
                self.sites[event.who].cut(values["for"])
            case "is deaf":
                self._deaf[values["to"], event.who] = anyio.current_time() + values["for"]
            case "resets its clock":
                self.sites[event.who].skew = values["by"]
            case "leaves":
                self.sites[event.who].leave()
            case "is killed and comes back":
                self._restart_bus(values["losing"], values["away"])
            case _:
                self._tasks.start_soon(self._user.act, event.who, event.what, values)

    def calm(self) -> None:
        """End all trouble: who is paused goes on, who is cut off comes back, clocks are right."""
        self.trace.note("world", "is quiet from now on")
        self.chance.is_quiet = True
        self.judge.quiet_since = anyio.current_time()
        self._deaf.clear()
        for site in self.sites.values():
            site.skew = 0.0
            site.process.at_step.clear()
            site.dies_at_work = None
            site.find()
            site.resume()

    def owner_of(self, subject: str) -> ShardOwner | None:
        """Return the owner that serves the shard of a journal subject; None unless there is one."""
        _, _, entity, shard = subject.split(".")
        serving = [
            host._running[int(shard)]
            for site in self.sites.values()
            for host in site.hosts
            if host._entity.name == entity and int(shard) in host.owned
        ]
        return serving[0] if len(serving) == 1 else None

    def _books(self, subject: str) -> Iterator[ShardBook]:
        _, _, entity, shard = subject.split(".")
        for site in self.sites.values():
            for host in site.hosts:
                owner = host._running.get(int(shard))
                if host._entity.name == entity and owner is not None and owner.serving:
                    yield owner.book

    def is_over(self) -> bool:
        """Say whether nobody waits, every shard is served and all that was accepted has ended."""
        names = [(one.name, shard) for one in self.entities for shard in range(SHARDS[one.name])]
        is_served = all(self.owner_of(journal_subject(*name)) is not None for name in names)
        return is_served and not self._user.waiting and is_over(self.judge)

    def stored_terms(self) -> dict[str, Terms]:
        """Return what the bucket of terms holds, by tenant."""
        cells = self.terms._cells.values()
        found = [decode(Terms, cell.data) for cell in cells if cell.data is not None]
        return {each.tenant: each for each in found}

    # Processes

    def _open_users(self) -> None:
        site = self._site("users")
        site.is_mortal = False
        bus = process_bus(site, self.bus, self.timing)
        executions, accounts, money, parents, instances, crons = (
            WatchedOwners(bus, name, self.timing, self.judge, site)
            for name in (
                *("execution", ENTITY, ledger.ENTITY, waiting.ENTITY),
                *(INSTANCE_ENTITY, TRIGGER_ENTITY),
            )
        )
        borrower = Borrower(site, money, self.judge)
        prompts = Prompts(bus, self.judge, SHARDS["execution"])
        self._user = User(site, executions, accounts, money, parents, borrower, prompts)
        self._user.actions |= workflows.acts(instances, crons)

    def _site(self, slot: str) -> Site:
        self._lives += 1
        process = Process(f"{slot}-{self._lives}")
        connection = self.bus.connect(slot)
        site = Site(slot, process, connection, self.chance, self.rates, self.trace)
        self.sites[slot] = site
        site.bus_life = lambda: str(self.bus.lives)
        site.died = self._died
        return site

    def _start(self, slot: str) -> None:
        site = self._site(slot)
        self.trace.note(site.name, "starts")
        context = copy_context()
        context.run(PROCESS.set, site.process)
        context.run(self._tasks.start_soon, self._live, site)

    async def _live(self, site: Site) -> None:
        bus = process_bus(site, self.bus, self.timing)
        if site.slot in OWNERS:
            terms = WatchedTerms(SiteBucket(site, self.terms, self.judge), self.judge)
            site.hosts, parts = owner_parts(site, bus, self.entities, self.timing, terms)
        elif self._has_workflows:
            parts = workflow_parts(site, bus, self.timing, self.judge)
        else:
            parts = worker_parts(site, bus, self.timing, self.judge, pays=self._pays)
            parts += begin_parts(site, bus, self.timing, self.judge) if self._begins else []
        runtime = SiteRuntime(parts, self.timing)
        site.leave = runtime.stop
        try:
            await runtime.run()
            site.has_left = runtime.is_drained
        except* CallboardError as group:
            self.trace.note(site.name, f"gives up: {group.exceptions[0]}")
        site.kill()

    def _died(self, site: Site) -> None:
        self.bus.disconnect(site.transport)
        seconds = self.chance.between(f"{site.name} comes back", 0.0, 2.0)
        self._dead.append(site)
        site.later(seconds, self._start, site.slot)

    def _end(self) -> None:
        """Let nothing of this world outlive it: who stands still must go on to be ended."""
        self._tasks.cancel_scope.cancel()
        for site in [*self._dead, *self.sites.values()]:
            site.died = lambda _: None
            site.process.at_step.clear()
            site.thaw()

    def _after_steps(self, event: Event, do: Any) -> None:
        site = self.sites[event.who]
        site.process.at_step[site.process.steps + event.values["in steps"]] = lambda: do(site)

    def _restart_bus(self, losing: float, away: float) -> None:
        self.bus.lose(losing)
        for site in self.sites.values():
            name = f"{site.name} finds the bus"
            site.cut(away + self.chance.between(name, 0.0, 0.5))

    # Messages

    def _fate(self, subject: str, sender: str, receiver: str) -> Sequence[float]:
        if self.chance.is_quiet:
            return (0.0,)
        if subject in BEATS:
            until = self._deaf.get((sender, receiver), 0.0)
            return (0.0,) if until < asyncio.get_running_loop().time() else ()
        kind = f"{sender} to {receiver} on {'an inbox' if 'INBOX' in subject else subject}"
        if self.chance.befalls(f"{kind}: lost", self.rates.message_lost):
            return ()
        if self.chance.befalls(f"{kind}: doubled", self.rates.message_doubled):
            return (0.0, self.chance.between(f"{kind}: doubled", 0.0, 2.0))
        if self.chance.befalls(f"{kind}: late", self.rates.message_late):
            # An offer may come when what it is about is long over.
            longest = 1.5 if subject.startswith("_cb.sys.offer.") else 0.5
            return (self.chance.between(f"{kind}: late", 0.0, longest),)
        return (0.0,)
