"""Small valid messages that tests vary."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.agents.adapters import templates as stored_templates
from actors.agents.adapters.definitions import Definitions
from actors.agents.adapters.definitions import opened as opened_definitions
from bus.codec import encode
from bus.config import QuotaTerms
from bus.fairness import Quotas
from bus.kv import Bucket, MemoryBucket
from bus.ports import Outbox
from bus.subjects import fill
from schemas.agents import AgentDefinition, ApplyAgent
from schemas.conversations import CONVERSATION_SUBJECT, ConversationTurn
from schemas.executions import ExecutionRecord
from schemas.providers import OpenAI
from schemas.templates import AgentTemplate

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def agent(**fields: Any) -> AgentDefinition:
    standard = AgentDefinition(
        id="reviewer",
        name="Reviewer",
        provider=OpenAI(model="gpt-4o-mini"),
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(standard, **fields)


def wanted(**fields: Any) -> ApplyAgent:
    return msgspec.structs.replace(ApplyAgent(id="reviewer"), **fields)


def turn(number: int, **fields: Any) -> ConversationTurn:
    standard = ConversationTurn(
        execution_id=f"execution-{number}",
        agent_id="reviewer",
        session="session-1",
        at=later(number),
        user=f"question {number}",
        assistant=f"answer {number}",
    )
    return msgspec.structs.replace(standard, **fields)


async def append(outbox: Outbox, tenant: str, said: ConversationTurn) -> None:
    """Store a turn as the owner of its execution does. It may be stored twice."""
    subject = fill(
        CONVERSATION_SUBJECT, tenant=tenant, agent_id=said.agent_id, session=said.session
    )
    await outbox.post(subject, encode(said))


def record(number: int, **fields: Any) -> ExecutionRecord:
    standard = ExecutionRecord(
        execution_id=f"execution-{number}",
        agent_id="reviewer",
        agent_version=1,
        status="COMPLETED",
        task="Read this.",
        revision=1,
        digest="0" * 64,
        stream=f"cb.acme.stream.execution-{number}",
        created_at=later(number),
        deadline=later(number + 300),
        max_attempts=3,
    )
    return msgspec.structs.replace(standard, **fields)


@asynccontextmanager
async def opened(
    bucket: Bucket[AgentDefinition], quotas: Quotas | None = None
) -> AsyncGenerator[Definitions]:
    """Open a store of agents beside one of templates in memory."""
    quotas = quotas or Quotas(QuotaTerms())
    forms = MemoryBucket(AgentTemplate)
    async with (
        stored_templates.opened(forms, lambda: NOW, quotas) as templates,
        opened_definitions(bucket, templates, lambda: NOW, quotas) as definitions,
    ):
        yield definitions
