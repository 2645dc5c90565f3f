"""Triggers: events are heard, and lead to what definitions say; crons are armed.

Facts that streams keep reach a trigger at least once, and do what they do once, because the id of
what they lead to is made from theirs. Any other subject of a tenant is heard as it passes: what is
said while nobody listens is lost.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
import structlog
from anyio.abc import TaskGroup

from actors.workflow.adapters.known_nets import DueCrons, HeardTrigger, KnownNets, Name
from actors.workflow.adapters.trigger_acts import TriggerActs, TriggerFailure
from actors.workflow.core.event_triggers import OWN_FAILURES, OutsideEvent, act_of, event_id
from actors.workflow.core.patterns import fits
from bus.actor import Here
from bus.codec import accepting
from bus.config import Timing
from bus.errors import ProblemError, TransientError
from bus.fairness.slices import Slices
from bus.jetstream import NatsBus
from bus.kv.bucket import Bucket, BucketWatch
from bus.kv.versions import EVERYTHING
from bus.ports import MESSAGE_ID, Delivery
from bus.requests.events import EventReader, StoredEvent
from bus.requests.rpc import Owners, command
from bus.runtime.supervision import Part, PartKind
from bus.streams.spec import EVENTS, RECORDS
from bus.subjects import fill
from bus.tasks import TaskPool
from schemas.identity import KeptPrincipal, admin
from schemas.problems import Problem
from schemas.triggers import TRIGGER_ENTITY, ArmCrons
from schemas.workflows import WorkflowDefinition

log = structlog.get_logger()

STREAMS = {"events": EVENTS, "record": RECORDS}
CONSUMER = "workflow-triggers"
CLOUD_EVENT_ID = "ce-id"

AGAIN_SECONDS = 1.0
"""Instances that began to wait in the moment of an event are listed by then."""

MOST_TRIES = 600
"""So often an event is tried that nobody can be told of; then it is given up."""

MOST_PATTERNS = 1000
"""What passes is subscribed to by pattern; more are not heard by one process."""

MOST_PASSING = 256
"""Events that passed and are being dealt with in one process; others wait."""

MOST_NAME = 200
"""Characters of an event's id; a longer one is none."""


@asynccontextmanager
async def opened(here: Here, bucket: Bucket[WorkflowDefinition]) -> AsyncGenerator[Part]:
    """Follow the store of definitions while the context is open, and give the part that listens."""
    nets, bus, timing = KnownNets(), here.bus, here.process.timing
    async with bucket.watch(EVERYTHING, nets) as watch:
        acts = TriggerActs(bus.transport, bus.outbox, bus.clock)
        triggers = Triggers(nets, watch, acts, here.owners(TRIGGER_ENTITY), bus, timing)
        yield Part.of("triggers", PartKind.SERVICE, triggers)


class Triggers:
    """The part of a process that listens for all tenants, together with its like."""

    def __init__(
        self,
        nets: KnownNets,
        watch: BucketWatch,
        acts: TriggerActs,
        owners: Owners,
        bus: NatsBus,
        timing: Timing,
    ) -> None:
        self._nets = nets
        self._watch = watch
        self._acts = acts
        self._owners = owners
        self._bus = bus
        self._timing = timing
        self._slices = Slices()
        self._readers: list[EventReader] = []
        self._asked = self._known = 0
        self._catching_up = anyio.Lock()

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until all definitions are known."""
        return None if self._watch.fresh else "the triggers of workflows are not known yet"

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._caught_up()
        self._readers.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._arm)
            tasks.start_soon(self._hear_passing, tasks)
            for word, stream in STREAMS.items():
                tasks.start_soon(self._follow, word, stream)

    async def drain(self) -> None:
        """Take no more stored events."""
        for reader in self._readers:
            await reader.drain()

    async def _caught_up(self) -> None:
        """Return when all definitions are known that stood before this call: asked once for many.

        Raises:
            UnavailableError: not in time.
        """
        self._asked = mine = self._asked + 1
        async with self._catching_up:
            if self._known < mine:
                upto = self._asked
                await self._watch.catch_up(timeout=self._timing.answer_seconds)
                self._known = upto

    # Crons

    async def _arm(self) -> None:
        """Have the crons of each newest version armed, and those of what is deleted disarmed."""
        while True:
            news, failed = self._nets.news, False
            for name, crons in self._nets.due_crons():
                if not await self._is_armed(name, crons):
                    self._nets.crons_again(name, crons)
                    failed = True
            with anyio.move_on_after(AGAIN_SECONDS if failed else None):
                await news.wait()

    async def _is_armed(self, name: Name, due: DueCrons) -> bool:
        tenant, workflow_id = name
        arm = ArmCrons(version=due.version, crons=due.crons, by=KeptPrincipal.of(admin(tenant)))
        envelope = command(f"arm.{due.version}", tenant, workflow_id, arm)
        try:
            await self._owners.ask(envelope, timeout=self._timing.answer_seconds)
        except ProblemError as refused:
            log.warning("triggers.not_armed", workflow=workflow_id, code=refused.problem.code)
            return refused.problem.code != "unavailable"
        return True

    # What streams keep

    async def _follow(self, word: str, stream: str) -> None:
        while (since := self._nets.stored_since(word)) is None:
            await self._nets.news.wait()
        name, subject = f"{CONSUMER}-{word}", f"cb.*.{word}.>"
        reader = EventReader(stream, name, subject, self.take, self._bus, self._timing, since)
        self._readers.append(reader)
        await reader.run()

    async def take(self, found: StoredEvent) -> float | None:
        """Deal with a stored event; return after how long it is wanted again."""
        try:
            await self._caught_up()
            event = await self._event(found.subject, found.data, found.headers, found.time)
            waited_for = event is not None and await self._happened(event)
        except (TransientError, ProblemError) as error:
            log.info("triggers.again", error=type(error).__name__)
            if found.delivered < MOST_TRIES:
                return AGAIN_SECONDS
            log.warning("triggers.given_up", subject=found.subject)
            return None
        return AGAIN_SECONDS if waited_for and found.delivered == 1 else None

    # What passes

    async def _hear_passing(self, tasks: TaskGroup) -> None:
        """Be subscribed to what definitions listen to, as it changes."""
        pool = TaskPool[Delivery](tasks, self._passed, most=MOST_PASSING)
        open_: dict[Name, anyio.CancelScope] = {}
        while True:
            news, wanted = self._nets.news, self._nets.passing()
            for gone in open_.keys() - wanted:
                open_.pop(gone).cancel()
            for new in sorted(wanted - open_.keys())[: MOST_PATTERNS - len(open_)]:
                open_[new] = anyio.CancelScope()
                tasks.start_soon(self._subscribed, new, pool, open_[new])
            if len(wanted) > len(open_):
                log.warning("triggers.too_many_patterns", left_out=len(wanted) - len(open_))
            await news.wait()

    async def _subscribed(
        self, what: Name, pool: TaskPool[Delivery], scope: anyio.CancelScope
    ) -> None:
        tenant, pattern = what

        async def heard(delivery: Delivery) -> None:
            pool.give(delivery)

        with scope:
            subject = f"{fill('cb.{tenant}', tenant=tenant)}.{pattern}"
            transport = self._bus.public
            async with transport.subscription(subject, heard, queue=CONSUMER):
                await anyio.sleep_forever()

    async def _passed(self, delivery: Delivery) -> None:
        headers = delivery.headers or {}
        try:
            event = await self._event(delivery.subject, delivery.data, headers, self._bus.clock())
            if event is not None and await self._happened(event):
                await anyio.sleep(AGAIN_SECONDS)
                await self._signal(event)
        except (TransientError, ProblemError) as error:
            log.warning("triggers.lost", error=type(error).__name__)

    # What it leads to

    async def _event(
        self, subject: str, data: bytes, headers: Mapping[str, str], time: datetime
    ) -> OutsideEvent | None:
        """Return an event; None of one that nothing listens to."""
        _, tenant, relative = subject.split(".", 2)
        name = headers.get(CLOUD_EVENT_ID) or headers.get(MESSAGE_ID) or ""
        event = OutsideEvent(
            tenant=tenant,
            subject=relative,
            id=name if 0 < len(name) <= MOST_NAME else event_id(relative, data, time),
            time=time,
            data=None,
            causes=(headers.get(MESSAGE_ID, ""),),
        )
        if fits(OWN_FAILURES, relative) or not (self._heard(event) or self._nets.waiting(event)):
            return None
        return event._replace(data=await self._read(data, tenant))

    async def _read(self, data: bytes, tenant: str) -> object:
        try:
            return await self._slices.run(accepting(object, data), tenant) if data else None
        except ProblemError:
            return data.decode(errors="replace")

    def _heard(self, event: OutsideEvent) -> list[HeardTrigger]:
        return [
            heard
            for heard in self._nets.triggers(event)
            if fits(heard.trigger.subject, event.subject)
        ]

    async def _happened(self, event: OutsideEvent) -> bool:
        """Do what an event leads to; say whether instances may wait for it."""
        for workflow_id, trigger in self._heard(event):
            act = act_of(workflow_id, trigger, event)
            if isinstance(act, Problem):
                await self._acts.tell(event, TriggerFailure(workflow_id, trigger.id, act))
            elif act is not None:
                await self._acts.do(event, act)
        return await self._signal(event)

    async def _signal(self, event: OutsideEvent) -> bool:
        waiting = self._nets.waiting(event)
        for workflow_id in waiting:
            await self._acts.signal(event, workflow_id)
        return bool(waiting)
