"""Running one attempt at an answer in a test, and what it is expected to report."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec

from actors.streaming.adapters.providers import open_providers
from actors.streaming.config import StreamingConfig
from actors.streaming.flow.generation import Generator, Means
from bus.security.egress import Egress
from bus.security.secrets import SecretEntry, Secrets
from schemas.lifecycle import Deltas, FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import ChatMessage, GenerateRequest
from schemas.policy import Detour
from schemas.problems import Problem, ProblemCode
from schemas.providers import Custom, Provider
from schemas.streams import ContentChunk, StreamEvent
from schemas.usage import Usage
from schemas.work import ReplyTo, WorkItem
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    fake_provider,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = "sk-test-0123456789"
SECRETS = Secrets(
    {
        "local": SecretEntry(env="KEY", hosts=("127.0.0.1",)),
        "bad": SecretEntry(env="BAD_KEY", hosts=("127.0.0.1",)),
    },
    {"KEY": KEY, "BAD_KEY": "bad-key-0123456789"},
)
ESTIMATE = Usage(input=6, quality="estimated")
NOTHING = Deltas(count=1, sha256=hashlib.sha256().hexdigest())


def config(**settings: Any) -> StreamingConfig:
    """Be less patient than in production."""
    timeouts = ("connect_timeout", "first_byte_timeout", "idle_timeout")
    patience: dict[str, Any] = dict.fromkeys(timeouts, 5.0)
    return StreamingConfig(**(patience | settings))


@asynccontextmanager
async def generating(
    settings: StreamingConfig | None = None, egress: Egress | None = None
) -> AsyncGenerator[Generator]:
    open_egress = egress or Egress(allow_loopback=True)
    async with open_providers(settings or config(), open_egress, SECRETS) as providers:
        yield Generator(Means(providers=providers, clock=lambda: NOW))


def work(
    provider: Provider,
    *,
    attempt: int = 1,
    deadline: timedelta = timedelta(seconds=30),
    **more: Any,
) -> GenerateWork:
    messages = [ChatMessage(role="user", content="Hello")]
    return GenerateWork(
        execution_id="ex1",
        tenant="acme",
        step=1,
        attempt=attempt,
        segment=2,
        deadline=NOW + deadline,
        request=GenerateRequest(provider=provider, messages=messages, **more),
    )


def enclosed(work: GenerateWork) -> WorkItem[GenerateWork]:
    """Put work into its envelope, as an owner does."""
    reply_to = ReplyTo(entity="execution", tenant=work.tenant, key=work.execution_id)
    return WorkItem(
        id=f"{work.execution_id}.{work.step}.{work.attempt}",
        work=str(work.step),
        attempt=work.attempt,
        queue="generate",
        tenant=work.tenant,
        reply_to=reply_to,
        since=NOW,
        body=work,
    )


def at(fake: FakeProvider, **more: Any) -> Custom:
    return Custom(model="m", base_url=fake.base_url, **more)


async def attempt(
    behaviour: Behaviour, **settings: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent]]:
    """Run one attempt against the behaviour. What it published is the second part."""
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    with anyio.fail_after(20):
        async with fake_provider(behaviour) as fake, generating(config(**settings)) as generator:
            return await generator.run(work(at(fake)), emit), events


async def ignore(_events: list[StreamEvent]) -> None:
    await anyio.lowlevel.checkpoint()


def place(sequence: int) -> dict[str, Any]:
    place = {"execution_id": "ex1", "segment": 2, "step": 1, "attempt": 1, "at": NOW}
    return {**place, "sequence": sequence}


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, ContentChunk))


def failed(
    problem: Problem, usage: Usage | None, deltas: Deltas = NOTHING, *, of: Provider | None = None
) -> FailGeneration:
    """What an attempt reports whose one call has failed, of ``at`` unless it is said of whom."""
    asked = of or Custom(model="m", base_url="http://h")
    name, key = str(asked.__struct_config__.tag), getattr(asked, "secret", None)
    return FailGeneration(
        work="1",
        attempt=1,
        problem=problem,
        elsewhere=problem.code == "unauthorized" and problem.field is not None,
        deltas=deltas,
        started_at=NOW,
        usage=usage,
        detours=[detour(problem.code, usage, provider=name, model=asked.model, key=key)],
    )


def detour(problem: ProblemCode, usage: Usage | None = None, **more: Any) -> Detour:
    standard = Detour(
        attempt=1, place=0, provider="custom", model="m", problem=problem, usage=usage
    )
    return msgspec.structs.replace(standard, **more)
