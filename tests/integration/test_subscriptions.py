"""What a subscriber gets is what its subject names: by domain, by fact, by one execution."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from bus.codec import encode
from bus.ports import Delivery
from bus.subjects import fill
from bus.testing import Process
from schemas.base import Message
from schemas.events import (
    AgentChangedEvent,
    ExecutionAcceptedEvent,
    ExecutionCompletedEvent,
    ExecutionFailedEvent,
    SafetyFlaggedEvent,
)
from schemas.streams import STREAM_SUBJECT, ContentChunk

AT = datetime(2026, 11, 21, tzinfo=UTC)
ENDS: dict[str, Any] = {"agent_id": "a", "at": AT, "duration_ms": 1, "attempts": 1}


def facts(execution: str) -> list[Message]:
    named: dict[str, Any] = {"execution_id": execution}
    return [
        ExecutionAcceptedEvent(agent_id="a", at=AT, **named),
        ContentChunk(segment=1, sequence=0, at=AT, content="x", **named),
        SafetyFlaggedEvent(agent_id="a", at=AT, attempt=1, findings=[], **named),
        ExecutionCompletedEvent(**ENDS, **named)
        if execution == "one"
        else ExecutionFailedEvent(**ENDS, **named),
    ]


def subject_of(tenant: str, fact: Message) -> str:
    if isinstance(fact, AgentChangedEvent):
        return fill(fact.SUBJECT or "", tenant=tenant, agent_id=fact.agent_id)
    template = STREAM_SUBJECT if isinstance(fact, ContentChunk) else fact.SUBJECT or ""
    return fill(template, tenant=tenant, execution_id=getattr(fact, "execution_id", ""))


@asynccontextmanager
async def heard(bus: Process, subjects: list[str]) -> AsyncGenerator[dict[str, list[str]]]:
    """Collect the subjects of what comes on each subscription."""
    found: dict[str, list[str]] = {subject: [] for subject in subjects}
    async with AsyncExitStack() as stack:
        for subject, kept in found.items():

            async def keep(delivery: Delivery, kept: list[str] = kept) -> None:
                await anyio.lowlevel.checkpoint()
                kept.append(delivery.subject)

            await stack.enter_async_context(bus.transport.subscription(subject, keep))
        yield found


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (
            "events.>",
            "accepted.one flagged.one completed.one accepted.two flagged.two failed.two changed.a",
        ),
        ("events.execution.>", "accepted.one completed.one accepted.two failed.two"),
        ("events.execution.failed.*", "failed.two"),
        ("events.*.*.one", "accepted.one flagged.one completed.one"),
        ("events.safety.*.two", "flagged.two"),
        ("events.agent.changed.a", "changed.a"),
        ("stream.one", "stream.one"),
    ],
)
async def test_a_subscription_is_filtered_by_its_subject(
    bus: Process, fresh: str, wanted: str, places: str
):
    subject, last = f"cb.{fresh}.{wanted}", f"cb.{fresh}.end"
    changed = AgentChangedEvent(agent_id="a", version=1, status="IDLE", deleted=False, at=AT)
    async with heard(bus, [subject, last]) as found:
        for tenant in (fresh, f"{fresh}-other"):
            for fact in (*facts("one"), *facts("two"), changed):
                await bus.transport.publish(subject_of(tenant, fact), encode(fact))
        await bus.transport.publish(last, b"{}")
        with anyio.fail_after(5):
            while not found[last]:
                await anyio.sleep(0.01)

    assert [".".join(one.split(".")[-2:]) for one in found[subject]] == places.split()
