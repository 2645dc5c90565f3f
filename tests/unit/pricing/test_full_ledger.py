"""A ledger whose journal is many times too small for its life goes on, and loses no entry."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import reduce

import anyio
import msgspec

from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.core.decisions import LedgerRules
from actors.pricing.core.ledger import Ledger, evolve
from bus.archive import Archiver
from bus.codec import decode
from bus.config import Timing
from bus.membership import Membership
from bus.memory import MemoryBus, memory_bus
from bus.requests.rpc import command
from bus.shard import ShardHost
from bus.streams.capacity import is_full
from schemas.fleet import Alive
from schemas.ledger import ACCOUNT_ENTITY, ACCOUNT_KEY, Charged
from schemas.problems import Problem
from tests.unit.pricing.owner import settle
from tests.unit.pricing.test_archived_ledger import events

SECONDS = 20.0
BOUND = 200_000
BILLS, AT_ONCE = 800, 8
QUICK = msgspec.structs.replace(
    Timing(),
    heartbeat_seconds=0.02,
    join_seconds=0.06,
    reconcile_seconds=0.03,
    housekeeping_seconds=0.02,
    room_look_seconds=0.02,
    room_tight_seconds=0.01,
    resend_window_seconds=0.1,
    archive_look_seconds=0.05,
    journal_max_bytes=BOUND,
    snapshot_commits=20,
)


@asynccontextmanager
async def hosting(world: MemoryBus, name: str) -> AsyncGenerator[ShardHost]:
    """Let a pricing process own the only shard, and archive it."""
    alive = Alive(process=name, actor="pricing", entities=[ACCOUNT_ENTITY])
    entity = account_entity(LedgerRules(zones=zone))
    async with world.process(name) as bus, anyio.create_task_group() as tasks:
        membership = Membership(bus.transport, lambda: alive, QUICK)
        host = ShardHost(entity, 1, name, membership, bus, QUICK)
        archiver = Archiver(ACCOUNT_ENTITY, bus, QUICK, owned=lambda: host.assigned)
        for run in (membership.run, host.run, archiver.run):
            tasks.start_soon(run)
        with anyio.fail_after(SECONDS):
            while host.owned != [0]:
                await anyio.sleep(0.01)
        yield host
        tasks.cancel_scope.cancel()


async def booked(host: ShardHost, number: int) -> None:
    """Settle an attempt; where there is no room, again until there is."""
    envelope = command(f"m{number}", "acme", ACCOUNT_KEY, settle(f"e{number}", 7))
    while True:
        answers: list[bytes] = []
        heard = anyio.Event()

        def hear(answer: bytes, answers: list[bytes] = answers, heard: anyio.Event = heard) -> None:
            answers.append(answer)
            heard.set()

        if host.offer(0, envelope, hear):
            with anyio.move_on_after(1.0):
                await heard.wait()
        if answers and b'"type":"booked"' in answers[0]:
            return
        assert not answers or is_full(decode(Problem, answers[0]))
        await anyio.sleep(0.02)


async def test_bills_of_many_times_the_journals_size_are_booked_and_all_are_found():
    state: Ledger | None = None
    async with memory_bus(QUICK) as world:
        with anyio.fail_after(SECONDS):
            for life, start in enumerate(range(0, BILLS, BILLS // 2)):
                async with hosting(world, f"pricing-{life}") as host:
                    for number in range(start, start + BILLS // 2, AT_ONCE):
                        async with anyio.create_task_group() as tasks:
                            for each in range(number, number + AT_ONCE):
                                tasks.start_soon(booked, host, each)
                    state = host._running[0].book.slots["acme", ACCOUNT_KEY].state
        async with world.process() as bus:
            history = (await events(bus))["acme"]
            fill = await bus.journal(ACCOUNT_ENTITY).fill()

    charged = [event for event in history if isinstance(event, Charged)]
    assert fill.used <= BOUND
    assert len(charged) == BILLS
    assert sum(event.cost_pico for event in charged) == 7 * BILLS
    assert reduce(evolve, history, Ledger(tenant="acme")) == state
