"""Who asks for embeddings is answered when they are there, in as many answers as they need."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from actors.agents.adapters import embeddings
from actors.agents.adapters.admission import Admission
from actors.agents.adapters.embeddings import EmbeddingAnswers, WaitingRequest
from bus.bodies import Bodies, holder_of
from bus.config import QuotaTerms
from bus.errors import ProblemError
from bus.fairness import Quotas
from bus.memory import memory_bus
from bus.ports import Bus, Delivery
from bus.requests.caller import Caller
from bus.requests.rpc import POSITION
from schemas.embeddings import Embed, Embeddings
from schemas.executions import ExecutionRecord
from schemas.llm import StoredVectors
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.usage import Usage
from schemas.vectors import packed, parts
from tests.lag import TOLERATED_SECONDS, measured
from tests.unit.agents.samples import record

TTL = 60


class Asked:
    """A process that answers, and the execution that it looks at."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.record = record(1, kind="embed", status="RUNNING", stream="cb.acme.stream.e1")
        self.looks = 0
        self.position = ""
        quotas = Quotas(QuotaTerms(requests=2))
        self.admission = Admission(quotas, self._knows)
        self.answers = EmbeddingAnswers(bus, self._look, quotas, self.admission)
        self.open = set[int]()

    async def _look(self, caller: Caller, execution_id: str) -> ExecutionRecord:
        assert (caller.tenant, execution_id) == ("acme", "e1")
        await anyio.lowlevel.checkpoint()
        self.looks += 1
        self.open.add(self.executions_open())
        caller.commits["execution.0"] = self.looks
        return self.record

    async def _knows(self, tenant: str, execution_id: str) -> bool:
        raise AssertionError((tenant, execution_id))

    def executions_open(self) -> int:
        return sum(use.used for use in self.admission.uses() if use.quota == "executions")

    def end(self, **fields: Any) -> None:
        self.record = msgspec.structs.replace(self.record, **fields)

    async def complete(self, rows: list[bytes], dimensions: int) -> None:
        """End with vectors, which are stored."""
        bodies, holder = Bodies(self.bus.blobs), holder_of("execution", 1, "acme", "e1")
        stored = [await bodies.put(part, holder, ttl=TTL) for part in parts(rows)]
        vectors = StoredVectors(parts=stored, count=len(rows), dimensions=dimensions)
        self.end(status="COMPLETED", vectors=vectors, usage=Usage(input=7), model_served="m-1")

    async def ask(self, **fields: Any) -> Embeddings | Problem:
        """Ask, and wait for the answer."""
        heard, data = anyio.Event(), list[bytes]()

        async def hear(delivery: Delivery) -> None:
            await anyio.lowlevel.checkpoint()
            data.append(delivery.data)
            self.position = (delivery.headers or {}).get(POSITION, "")
            heard.set()

        wanted = Embed(provider=OpenAI(model="m"), texts=["a"], **fields)
        async with self.bus.transport.subscription("_INBOX.one", hear):
            caller = Caller(tenant="acme", reply="_INBOX.one")
            self.answers.give(WaitingRequest(caller, wanted, "e1", 0.0))
            with anyio.fail_after(10):
                await heard.wait()
        return msgspec.json.decode(data[0], type=Embeddings | Problem)


@asynccontextmanager
async def asking() -> AsyncGenerator[Asked]:
    async with (
        memory_bus() as world,
        world.process() as bus,
        anyio.create_task_group() as tasks,
    ):
        asked = Asked(bus)
        tasks.start_soon(asked.answers.run)
        await anyio.wait_all_tasks_blocked()
        yield asked
        tasks.cancel_scope.cancel()


def rows(count: int, dimensions: int = 2) -> list[bytes]:
    return [packed([float(row)] + [0.1] * (dimensions - 1)) for row in range(count)]


async def test_the_end_of_the_execution_is_heard_and_its_vectors_are_told(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(embeddings, "LOOK_SECONDS", 60.0)
    found, looks = None, 0
    async with asking() as asked, anyio.create_task_group() as tasks:

        async def end() -> None:
            while not asked.looks:
                await anyio.lowlevel.checkpoint()
            await asked.complete(rows(3), 2)
            await asked.bus.transport.publish("cb.acme.stream.e1", b"{}")

        tasks.start_soon(end)
        found = await asked.ask()
        looks = asked.looks
        assert asked.position == "execution.0.2"
        assert (asked.open, asked.executions_open()) == ({1}, 0)

    assert isinstance(found, Embeddings)
    assert found.vectors == [[0, 0.1], [1, 0.1], [2, 0.1]]
    assert (found.usage, found.model_served, found.next) == (Usage(input=7), "m-1", None)
    assert looks == 2


async def test_an_end_that_is_not_heard_of_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embeddings, "LOOK_SECONDS", 0.01)
    async with asking() as asked, anyio.create_task_group() as tasks:
        tasks.start_soon(asked.complete, rows(1), 2)
        assert isinstance(await asked.ask(), Embeddings)


async def test_what_does_not_fit_into_one_answer_comes_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(embeddings, "HEAD_BYTES", 16 * 1024**2 - 40)
    async with asking() as asked:
        await asked.complete(rows(7), 2)
        found, start = list[list[float]](), 0
        while start is not None:
            page = await asked.ask(offset=start)
            assert isinstance(page, Embeddings)
            assert 0 < len(page.vectors) < 7
            found += page.vectors
            start = page.next
        few = await asked.ask(offset=2, limit=1)
        beyond = await asked.ask(offset=7)

    assert [vector[0] for vector in found] == [0, 1, 2, 3, 4, 5, 6]
    assert isinstance(few, Embeddings)
    assert (few.vectors, few.next) == ([[2, 0.1]], 3)
    assert isinstance(beyond, Problem)
    assert (beyond.code, beyond.field) == ("validation", "offset")


def failed(asked: Asked) -> None:
    asked.end(status="FAILED", error=Problem(code="rate_limited", message="no", retry_after=7))


def no_embedding(asked: Asked) -> None:
    asked.end(status="COMPLETED", kind="generate")


@pytest.mark.parametrize(
    ("end", "code"),
    [(failed, "rate_limited"), (no_embedding, "conflict"), (lambda _: None, "timeout")],
)
async def test_who_gets_no_vectors_is_told_why(
    end: Callable[[Asked], None], code: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embeddings, "LATE_SECONDS", 0.05)
    monkeypatch.setattr(embeddings, "LOOK_SECONDS", 0.01)
    async with asking() as asked:
        end(asked)
        found = await asked.ask()

    assert isinstance(found, Problem)
    assert found.code == code


async def test_vectors_that_are_no_longer_kept_are_not_found():
    async with asking() as asked:
        await asked.complete(rows(2), 2)
        vectors = asked.record.vectors
        assert vectors is not None
        await asked.bus.blobs.remove(vectors.parts[0].name)
        found = await asked.ask()

    assert isinstance(found, Problem)
    assert (found.code, found.field) == ("not_found", "id")


async def test_no_more_wait_than_a_tenant_may_have_requests():
    async with asking() as asked:
        caller = Caller(tenant="acme", reply="_INBOX.other")
        wanted = Embed(provider=OpenAI(model="m"), texts=["a"])
        for _ in range(2):
            asked.answers.expect("acme")
            asked.answers.give(WaitingRequest(caller, wanted, "e1", 60.0))
        with pytest.raises(ProblemError) as refused:
            asked.answers.expect("acme")
        asked.answers.expect("other")

    assert refused.value.problem.code == "rate_limited"


async def test_a_process_that_leaves_tells_who_still_waits_to_ask_again(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(embeddings, "DRAIN_SECONDS", 0.01)
    found = None
    async with asking() as asked, anyio.create_task_group() as tasks:

        async def leave() -> None:
            while not asked.looks:
                await anyio.lowlevel.checkpoint()
            with anyio.fail_after(5):
                await asked.answers.drain()

        tasks.start_soon(leave)
        found = await asked.ask()

    assert isinstance(found, Problem)
    assert (found.code, found.retryable) == ("unavailable", True)


async def test_two_thousand_vectors_hold_up_nobody():
    """Neither who reads and writes them nor, in portions, who has asked for them."""
    row = packed([0.0123456789] * 1536)
    async with asking() as asked:
        await asked.complete([row] * 2048, 1536)
        count = 0
        async with measured() as lag:
            while count < 2048:
                page = await asked.ask(offset=count, limit=256)
                assert isinstance(page, Embeddings)
                count += len(page.vectors)

    assert lag.longest < TOLERATED_SECONDS
