"""Submitting commands: a fleet of one process, its inboxes, what is rejected."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError
from bus.jetstream import NatsBus
from bus.jetstream.reading import StreamReader
from bus.requests.caller import Caller
from bus.requests.inboxes.rules import InboxRules
from bus.requests.service import Service, ServiceEndpoint
from bus.requests.submissions import Submissions
from bus.streams.spec import DEAD, inbox_stream
from bus.testing import NatsWorld
from schemas.base import Message
from schemas.budgets import BudgetList, SetLimits
from schemas.events import CommandRejectedEvent
from schemas.executions import ExecuteAgent, ExecutionHandle
from schemas.letters import DeadLetter
from schemas.problems import Problem
from tests.integration.waiting import Inbox, until
from tests.servers import PATIENCE

TIMING = Timing(
    answer_seconds=1.0 * PATIENCE,
    request_try_seconds=0.05,
    submit_ack_seconds=1.0 * PATIENCE,
    submit_retry_seconds=0.05,
    submit_pause_seconds=0.2,
    inbox_wait_seconds=0.3,
    inbox_look_seconds=0.4,
    inbox_settle_seconds=0.5,
    inbox_answer_seconds=0.3,
)
SECONDS = 1 / 86_400
"""In days."""

AWAY = Problem(code="unavailable", message="not now", retryable=True)


class Fleet:
    """What processes of a test carry out: how often each command, by tenant and task or id."""

    def __init__(self, world: NatsWorld) -> None:
        self.world = world
        self.done: Counter[tuple[str, str]] = Counter()
        self.ids: dict[tuple[str, str], str | None] = {}
        self.refused: dict[str, Problem] = {}
        self.tries: Counter[str] = Counter()
        self.stuck = anyio.Event()

    async def execute(self, caller: Caller, wanted: ExecuteAgent) -> Message:
        self.tries[wanted.task] += 1
        if wanted.task in self.refused:
            raise ProblemError(self.refused[wanted.task])
        if wanted.task == "hang":
            await self.stuck.wait()
        self.done[caller.tenant, wanted.task] += 1
        self.ids[caller.tenant, wanted.task] = wanted.id or caller.submission
        return ExecutionHandle(execution_id="e", stream="s", status="PENDING")

    async def limit(self, caller: Caller, _: SetLimits) -> Message:
        self.done[caller.tenant, "limits"] += 1
        return BudgetList(budgets=[], limits=[])

    @asynccontextmanager
    async def process(
        self, service: str = "agents", timing: Timing = TIMING, **rules: Any
    ) -> AsyncGenerator[NatsBus]:
        """Run a process that takes submissions of executions."""
        async with self.world.process(service) as bus, anyio.create_task_group() as tasks:
            endpoints = [ServiceEndpoint(ExecuteAgent, self.execute)]
            limits = InboxRules(**rules)
            submissions = Submissions(service, endpoints, bus, timing, limits)
            tasks.start_soon(submissions.run)
            await until(lambda: submissions.not_ready_reason() is None)
            yield bus
            await submissions.drain()

    @asynccontextmanager
    async def limiting(self, bus: NatsBus) -> AsyncGenerator[None]:
        """Run a service elsewhere that answers for limits."""
        service = Service("pricing", [ServiceEndpoint(SetLimits, self.limit)], bus)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.run, bus.nats.client)
            await until(lambda: service.not_ready_reason() is None)
            yield
            await service.drain()


def execution(task: str, **more: Any) -> bytes:
    return encode(ExecuteAgent(agent_id="a", task=task, **more))


async def submit(
    bus: NatsBus,
    tenant: str,
    data: bytes,
    name: str = "agents.execute",
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Submit as any JetStream client does: once."""
    subject = f"cb.{tenant}.submit.{name}"
    answer = await bus.nats.request(subject, data, timeout=30.0 * PATIENCE, headers=headers)
    return msgspec.json.decode(answer.data)


async def insist(
    bus: NatsBus, tenant: str, data: bytes, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Submit, and repeat what the answer says is to be repeated."""
    with anyio.fail_after(60 * PATIENCE):
        while True:
            answer = await submit(bus, tenant, data, headers=headers)
            if answer.get("error", {}).get("code") != 503:
                return answer
            await anyio.sleep(0.02)


async def messages(bus: NatsBus, tenant: str) -> int:
    return (await bus.jetstream.stream_info(inbox_stream(tenant)))["state"]["messages"]


async def emptied(bus: NatsBus, tenant: str) -> None:
    with anyio.fail_after(60 * PATIENCE):
        while await messages(bus, tenant):
            await anyio.sleep(0.02)


async def letters(bus: NatsBus) -> list[DeadLetter]:
    stored = await StreamReader(bus.nats).read_subject(DEAD, "_cb.dead.*.submit", limit=100)
    return [decode(DeadLetter, message.data) for message in stored]


@asynccontextmanager
async def rejections(bus: NatsBus, tenant: str) -> AsyncGenerator[Inbox]:
    inbox = Inbox()
    async with bus.nats.subscription(f"cb.{tenant}.events.command.rejected.*", inbox.take):
        yield inbox


def rejected(inbox: Inbox) -> list[CommandRejectedEvent]:
    return [decode(CommandRejectedEvent, delivery.data) for delivery in inbox.deliveries]
