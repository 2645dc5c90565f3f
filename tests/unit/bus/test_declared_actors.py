"""The actors of the house, made from their declarations alone, run together on a bus in memory."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from actors.fleet.declared import actors
from bus.actor import Here, Own
from bus.actor.parts import parts_of
from bus.config import Timing, load
from bus.fairness import Quotas
from bus.kv import MemoryBucket, Store
from bus.membership import Membership
from bus.memory import MemoryBus, memory_bus
from bus.requests.caller import Caller
from bus.requests.service import ServiceEndpoint, endpoints_of
from bus.runtime.process import Load
from bus.runtime.quota_report import QuotaUsage
from bus.runtime.supervision import Part, PartKind, Runtime
from schemas.agents import AgentDefinition, ApplyAgent
from schemas.base import Message, Request
from schemas.budgets import BudgetState, SetBudget
from schemas.executions import ExecuteAgent, ExecutionHandle, ExecutionRecord, GetExecution
from schemas.fleet import Alive
from schemas.providers import Scripted

QUICK = Timing(
    heartbeat_seconds=0.05,
    join_seconds=0.1,
    projection_poll_seconds=0.02,
    reconcile_seconds=0.05,
    drain_seconds=5.0,
)
BILLS = "bills"
ONLY_ON_NATS = {"service", "submissions"}


class House:
    """Actors in one process, and what they answer, without the subjects between."""

    def __init__(self) -> None:
        self.endpoints: dict[type[Request], ServiceEndpoint] = {}
        self.parts: list[Part] = []
        self.declared: dict[str, set[str]] = {}
        self.load: dict[str, Load] = {}
        self.runtime: Runtime | None = None

    async def ask(self, wanted: Request) -> Message:
        endpoint = self.endpoints[type(wanted)]
        answer = await endpoint.handler(Caller(tenant="acme"), wanted)
        assert answer is not None
        return answer


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[House]:
    buckets: dict[str, Any] = {}

    def opened(store: Store[Any], *_: Any) -> Any:
        return buckets.setdefault(store.bucket, MemoryBucket(store.kind))

    monkeypatch.setattr(Store, "open", opened)
    monkeypatch.setenv("CALLBOARD_DATA", str(tmp_path))
    monkeypatch.setenv("CALLBOARD_SHARDS", "2")
    async with AsyncExitStack() as stack:
        memory, made = await stack.enter_async_context(memory_bus(QUICK)), House()
        for actor in actors():
            here = Here(actor, await stack.enter_async_context(process(memory, actor)))
            await stack.enter_async_context(here.following())
            own: Own = await stack.enter_async_context(actor.opened(here))
            here.add_routes(dict(own.routes))
            membership, parts = here.process.membership, parts_of(here, own)
            made.declared[actor.name] = {part.name for part in parts}
            made.parts += [
                Part(name="membership", kind=PartKind.FAREWELL, run=membership.run),
                *(part for part in parts if part.name not in {*ONLY_ON_NATS, BILLS}),
            ]
            made.load[actor.name] = here.process.load
            for handler in own.handlers:
                made.endpoints |= {each.request: each for each in endpoints_of(handler)}
        made.runtime = Runtime(made.parts, QUICK)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.runtime.run)
            with anyio.fail_after(20):
                while made.runtime.not_ready_reasons():
                    await anyio.sleep(0.01)
                yield made
            made.runtime.stop()


@asynccontextmanager
async def process(memory: MemoryBus, actor: Any) -> AsyncGenerator[Any]:
    """Stand for a process: as much of it as its parts need."""
    name, config = f"{actor.name}-1", load(actor.settings, os.environ)
    alive = Alive(process=name, actor=actor.name, entities=[each.name for each in actor.entities])
    async with memory.process(name) as bus:
        fields = {field: getattr(bus, field) for field in bus.__dataclass_fields__}
        nats = SimpleNamespace(on_reconnect=bus.transport.on_reconnect)
        whole = SimpleNamespace(**fields, nats=nats, jetstream=None, public=None)
        yield SimpleNamespace(
            name=name,
            config=config,
            bus=whole,
            timing=QUICK,
            quotas=Quotas.load(config),
            load=Load(),
            membership=Membership(bus.transport, lambda: alive, QUICK),
            usage=QuotaUsage(name, bus.transport),
        )


async def ended(house: House, execution: str) -> ExecutionRecord:
    while True:
        record = cast("ExecutionRecord", await house.ask(GetExecution(execution_id=execution)))
        if record.completed_at is not None:
            return record
        await anyio.sleep(0.01)


async def test_an_agent_runs_under_a_budget_through_all_three(house: House):
    provider = Scripted(responses=["Hello."])
    assert isinstance(await house.ask(ApplyAgent(id="a", provider=provider)), AgentDefinition)
    limit = SetBudget(id="b", limit_pico=10**12, hard=True)
    assert isinstance(await house.ask(limit), BudgetState)

    begun = await house.ask(ExecuteAgent(agent_id="a", task="Greet."))
    assert isinstance(begun, ExecutionHandle)
    record = await ended(house, begun.execution_id)

    assert (record.status, record.output) == ("COMPLETED", "Hello.")


async def test_whoever_answers_requests_carries_out_submitted_ones_and_keeps_its_history(
    house: House,
):
    for actor in actors():
        parts = house.declared[actor.name]
        assert parts >= ONLY_ON_NATS if actor.requests else not parts & ONLY_ON_NATS
        assert parts >= {each.name for each in actor.projections}
        assert parts >= {f"archive of {each.name}" for each in actor.entities if each.archives}
        assert parts >= {f"{each.store.bucket} known" for each in actor.follows}


async def test_every_part_has_its_kind_and_every_place_is_counted(house: House):
    kinds = {part.name: part.kind for part in house.parts}

    assert {kinds["shards of execution"], kinds["shards of account"]} == {PartKind.HOST}
    assert {kinds[f"{queue} work"] for queue in ("generate", "embed", "batch")} == {PartKind.WORKER}
    assert all(
        part.drain is not None
        for part in house.parts
        if part.kind in (PartKind.HOST, PartKind.WORKER)
    )
    assert house.load["streaming"].capacity == 100
