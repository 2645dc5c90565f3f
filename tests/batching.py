"""Requests in batches of a provider on this machine, by processes with a bucket of tickets."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from actors.streaming.adapters.batch_store import Ticket, Tickets
from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.batch_call import name_of
from actors.streaming.flow.batches import Batches, BatchSettings, opened
from actors.streaming.flow.generation import Generator, Means
from bus.errors import UnavailableError
from bus.kv import MemoryBucket
from bus.kv.prices import PricesInForce
from bus.security.egress import Egress
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import ChatMessage
from schemas.problems import Problem
from schemas.providers import Anthropic, OpenAI, Provider
from schemas.streams import StreamEvent
from tests.attempts import NOW, SECRETS, config, work
from tests.batch_provider import BatchProvider

QUICK = BatchSettings(window=0.05, making=1.5, leaving=1.0)

Result = FinishGeneration | FailGeneration


class Process:
    """One streaming process, as far as batches go."""

    def __init__(self, generator: Generator, batches: Batches) -> None:
        self.generator = generator
        self.batches = batches
        self.results: dict[str, Result] = {}

    async def answer(self, item: GenerateWork) -> None:
        self.results[item.execution_id] = await self.generator.run(item, ignore)


@asynccontextmanager
async def process(bucket: MemoryBucket[Ticket]) -> AsyncGenerator[Process]:
    prices = PricesInForce()
    async with (
        open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers,
        opened(Tickets(bucket), QUICK) as batches,
    ):
        means = Means(
            providers=providers,
            clock=lambda: NOW,
            prices=lambda: prices.prices,
            batches=batches,
        )
        with anyio.fail_after(30):
            yield Process(Generator(means), batches)


def openai(fake: BatchProvider, **more: Any) -> OpenAI:
    return OpenAI(model="gpt-4o-mini", base_url=fake.base_url, secret="local", **more)


def anthropic(fake: BatchProvider) -> Anthropic:
    return Anthropic(model="claude-sonnet-4-5", base_url=fake.base_url, secret="local")


def asking(provider: Provider, name: str, *, attempt: int = 1) -> GenerateWork:
    item = work(provider, attempt=attempt, batch=True)
    request = msgspec.structs.replace(
        item.request, messages=[ChatMessage(role="user", content=f"Say {name}")]
    )
    return msgspec.structs.replace(item, execution_id=name, request=request)


async def ignore(_events: list[StreamEvent]) -> None:
    """Nobody listens."""


def finished(result: Result) -> FinishGeneration:
    assert isinstance(result, FinishGeneration), result
    return result


class Broken(MemoryBucket[Ticket]):
    """A bucket that fails, some of the time, in a way that nobody has foreseen."""

    fails = False

    async def put(self, key: str, value: Ticket, *, expected: int) -> int:
        if self.fails:
            raise ValueError(key)
        return await super().put(key, value, expected=expected)


async def told(bucket: MemoryBucket[Ticket], attempt: int = 1) -> None:
    """Wait until the ticket of the request names its batch and this attempt, and a bit more."""
    key = f"acme.{name_of('acme', 'ada.1')}"
    while True:
        entry = await bucket.get(key)
        if entry is not None and entry.value.batch and entry.value.attempt == attempt:
            break
        await anyio.sleep(0.01)
    await anyio.sleep(0.05)


class StubbornBucket(MemoryBucket[Ticket]):
    """A bucket that drops nothing."""

    async def remove(self, key: str, *, expected: int) -> None:
        del expected
        raise UnavailableError(key, "no answer")


def problem_of(result: Result) -> Problem:
    assert isinstance(result, FailGeneration), result
    return result.problem


async def answered(streaming: Process, fake: BatchProvider, item: GenerateWork) -> str:
    """Return the answer to one more request, whose batch is ended as soon as it is made."""
    async with anyio.create_task_group() as tasks:
        made = len(fake.batches)
        tasks.start_soon(streaming.answer, item)
        await fake.until(made + 1)
        fake.finish()
    return finished(streaming.results[item.execution_id]).answer.text
