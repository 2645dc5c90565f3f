"""One history: a seed is played from beginning to end, and judged."""

import gc
import random
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import anyio
import structlog

from actors.agents.core.entity import EXECUTION
from actors.workflow.core.messages import INSTANCE_ENTITY
from bus.errors import CallboardError, FencedError
from bus.ids import new_id
from bus.ports import Bus, Resting
from bus.shard.recovery import Recovered, take_over
from schemas.triggers import TRIGGER_ENTITY
from tests.simulation import delegation, ledger, lending, spending, tools, waiting, workflows
from tests.simulation.account import ENTITY, account_entity
from tests.simulation.chance import Chance
from tests.simulation.endings import (
    faults_of_account,
    faults_of_book,
    faults_of_execution,
    faults_of_money,
    faults_of_streams,
    faults_of_terms,
)
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.loop import StuckError, VirtualLoop
from tests.simulation.network import process_bus
from tests.simulation.plan import BUSY_SECONDS, Event, bounded, plan_of, timing_of
from tests.simulation.trace import Trace
from tests.simulation.world import World

CHECKS: dict[str, Callable[[list[Any]], Iterator[str]]] = {
    "execution": faults_of_execution,
    ENTITY: faults_of_account,
    ledger.ENTITY: ledger.faults_of_ledger,
    waiting.ENTITY: waiting.faults_of_parent,
    INSTANCE_ENTITY: workflows.faults_of_instance,
    TRIGGER_ENTITY: workflows.faults_of_crons,
}

LONGEST_SECONDS = 120.0
"""By then everything must have come to its end; the longest timeout of an execution is 600 s."""

LONGEST_SPAN = timedelta(seconds=6)
"""So soon money of the platform is paid from a new span, for histories are short."""

GRACE = timedelta(seconds=1)
"""What is not told so soon after the end of an execution's time is told late."""

SETTLING_SECONDS = 4.0
"""Enough for records to be written and for marks of what is safe to move on."""


class History(NamedTuple):
    """How a seed went: which promises were broken, what was drawn, and all that happened."""

    seed: int
    broken: list[str]
    drawn: list[str]
    trace: Trace
    seconds: float
    story: "Story"


class Story(NamedTuple):
    """What a history is about: what its seed has in store, and the entities it happens to.

    One that is ``bounded`` has small journals in some of its histories. In one that ``begins``
    workers begin executions for others.
    """

    plan_of: Callable[[int], list[Event]]
    entities: Callable[[], Sequence[AnyEntity]]
    faults: Callable[[Judge], Iterator[str]] = lambda _: iter(())
    bounded: bool = False
    begins: bool = False


FLEET = Story(plan_of, lambda: (EXECUTION, account_entity()), bounded=True)
LEDGER = Story(ledger.plan_of, ledger.entities)
SPENDING = Story(spending.plan_of, spending.entities, spending.faults_of_spending)
PLATFORM = Story(lending.plan_of, lending.entities, lending.faults_of_lending)
WAITING = Story(waiting.plan_of, waiting.entities, waiting.faults_of_waiting)
WORKFLOWS = Story(workflows.plan_of, workflows.entities, workflows.faults_of_workflows)
TOOLS = Story(tools.plan_of, tools.entities, tools.faults_of_tools)
DELEGATION = Story(delegation.plan_of, tools.entities, delegation.faults_of_delegation, begins=True)
STORIES = {
    "fleet": FLEET,
    "ledger": LEDGER,
    "spending": SPENDING,
    "platform": PLATFORM,
    "waiting": WAITING,
    "tools": TOOLS,
    "delegation": DELEGATION,
    "workflows": WORKFLOWS,
}


def play(seed: int, only: frozenset[str] | None = None, story: Story = FLEET) -> History:
    """Play a seed. With ``only``, of its events and faults no others than these happen."""
    loop = VirtualLoop(seed)
    trace = Trace(loop.time)
    chance = Chance(seed, only)
    timing = bounded(timing_of(seed), seed) if story.bounded else timing_of(seed)
    world = World(timing, chance, trace, story.entities(), begins=story.begins)
    plan = story.plan_of(seed)
    random.seed(seed)
    broken = world.judge.broken
    with _quiet(trace, seed):
        try:
            anyio.run(_play, world, plan, story, backend_options={"loop_factory": lambda: loop})
        except StuckError as stuck:
            broken.append(str(stuck))
    return History(seed, broken, chance.drawn, trace, loop.time(), story)


def failures(seeds: Iterable[int], story: Story = FLEET) -> Iterator[History]:
    """Play seeds, and yield those histories in which a promise is broken."""
    return (history for seed in seeds if (history := play(seed, story=story)).broken)


async def _play(world: World, plan: list[Event], story: Story) -> None:
    async with world.running():
        for event in plan:
            await _until(event.at)
            if world.chance.happens(event.name):
                world.befall(event)
        await _until(BUSY_SECONDS)
        world.calm()
        await _until_over(world)
        world.judge.broken.extend(_live_faults(world))
        world.judge.broken.extend(story.faults(world.judge))
        world.judge.broken.extend(await _recovery_faults(world))


async def _until(moment: float) -> None:
    await anyio.sleep(max(0.0, moment - anyio.current_time()))


async def _until_over(world: World) -> None:
    with anyio.move_on_after(LONGEST_SECONDS):
        # What was asked last has yet to be heard.
        await anyio.sleep(0.5)
        while not world.is_over():
            await anyio.sleep(0.5)
    await anyio.sleep(SETTLING_SECONDS)


def _live_faults(world: World) -> Iterator[str]:
    """Compare what the living processes have in memory with the journal."""
    judge = world.judge
    for subject, shard in judge.shards.items():
        owner = world.owner_of(subject)
        if owner is None:
            yield f"nobody owns {subject}"
            continue
        for fault in faults_of_book(judge, shard, owner.book, _rested(world, subject)):
            yield f"memory of {subject}: {fault}"
        check = CHECKS[shard.entity.name]
        for (_, key), history in shard.histories.items():
            yield from (f"history of {key}: {fault}" for fault in check(history))
    yield from faults_of_money(judge)
    yield from ledger.faults_of_balances(judge)
    yield from faults_of_streams(judge, world.bus.store)
    yield from faults_of_terms(judge, world.stored_terms())


async def _recovery_faults(world: World) -> list[str]:
    """Take every shard over once more, from snapshot and tail, and compare with the journal."""
    site = world.sites["users"]
    bus = process_bus(site, world.bus, world.timing)
    faults: list[str] = []
    for subject, shard in world.judge.shards.items():
        try:
            recovered = await _taken_over(shard.entity, subject, bus)
        except CallboardError as error:
            faults.append(f"{subject} cannot be recovered: {error}")
            continue
        found = faults_of_book(world.judge, shard, recovered.book, _rested(world, subject))
        faults.extend(f"recovery of {subject}: {fault}" for fault in found)
    return faults


def _rested(world: World, subject: str) -> list[Resting]:
    _, _, entity, shard = subject.split(".")
    return world.bus.states.read_all((entity, int(shard)))


async def _taken_over(entity: AnyEntity, subject: str, bus: Bus) -> Recovered:
    """Take a shard over, though its owner may append in the same moment."""
    while True:
        with suppress(FencedError):
            return await take_over(
                entity,
                subject,
                "checker",
                journal=bus.journal(entity.name),
                blobs=bus.blobs,
                states=bus.states(entity.name),
            )


@contextmanager
def _quiet(trace: Trace, seed: int) -> Generator[None]:
    """Let nothing in from outside: no chance but the seed's, no clock, no logs but the trace."""
    numbers = iter(range(seed * 1_000_000, (seed + 1) * 1_000_000))
    before = structlog.get_config()
    structlog.configure(processors=[trace.log], cache_logger_on_first_use=False)
    gc.disable()
    try:
        with (
            _ids(numbers),
            patch("os.urandom", _no_chance),
            patch("schemas.bills.GRACE", GRACE),
            patch("actors.pricing.core.blocks.LONGEST_SPAN", LONGEST_SPAN),
            patch("actors.workflow.core.cron_trigger.next_time", workflows.next_second),
        ):
            yield
    finally:
        gc.enable()
        structlog.configure(**before)


@contextmanager
def _ids(numbers: Iterator[int]) -> Generator[None]:
    """Number the ids that all modules take: one in a subject decides what befalls its message."""
    with ExitStack() as patches:
        for module in [each for each in sys.modules.values() if _takes_ids(each)]:
            patches.enter_context(patch.object(module, "new_id", lambda: f"id-{next(numbers)}"))
        yield


def _takes_ids(module: ModuleType) -> bool:
    # Not by getattr, which makes a module that is read late be read now.
    return vars(module).get("new_id") is new_id


def _no_chance(_: int) -> bytes:
    """Fail what a seed would not repeat."""
    raise AssertionError("a history draws from this machine's chance, not from its seed's")
