"""A batch outlives attempts and processes: who dies, leaves or is called off, and the cost."""

from typing import Any

import anyio
import msgspec
import pytest

from actors.streaming.adapters.batch_store import Ticket
from actors.streaming.core.batches.openai import OpenAIBatches
from actors.streaming.flow.attempt import GenerationAttempt
from actors.streaming.flow.batch_call import name_of
from bus.kv import MemoryBucket
from schemas.lifecycle import FailGeneration, GenerateWork
from schemas.problems import Problem
from tests.batch_provider import BatchProvider, batch_provider
from tests.batching import (
    Process,
    Result,
    answered,
    anthropic,
    asking,
    finished,
    ignore,
    openai,
    problem_of,
    process,
    told,
)


@pytest.fixture
def bucket() -> MemoryBucket[Ticket]:
    return MemoryBucket(Ticket)


MOST_WRITTEN = 500


def capped(item: GenerateWork) -> GenerateWork:
    config = msgspec.structs.replace(item.request.config, max_tokens=MOST_WRITTEN)
    request = msgspec.structs.replace(item.request, config=config)
    return msgspec.structs.replace(item, request=request)


def called_off(attempt: GenerationAttempt) -> FailGeneration:
    return attempt.failed(Problem(code="cancelled", message="…"))


async def test_another_worker_waits_for_the_batch_of_one_that_died(bucket: MemoryBucket[Ticket]):
    async with batch_provider() as fake:
        async with process(bucket) as first, anyio.create_task_group() as tasks:
            tasks.start_soon(first.answer, asking(openai(fake), "ada"))
            await fake.until(1)
            await told(bucket)
            # It dies without a word: nothing is cancelled at the provider.
            first.batches.leaving = True
            tasks.cancel_scope.cancel()
        async with process(bucket) as second, anyio.create_task_group() as tasks:
            tasks.start_soon(second.answer, asking(openai(fake), "ada", attempt=2))
            fake.finish()

        assert len(fake.batches) == 1
        assert finished(second.results["ada"]).answer.text == "ADA"


async def test_the_attempt_that_was_replaced_brings_nothing_and_costs_nothing(
    bucket: MemoryBucket[Ticket],
):
    async with (
        batch_provider() as fake,
        process(bucket) as first,
        process(bucket) as second,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(first.answer, asking(openai(fake), "ada"))
        await fake.until(1)
        await told(bucket)
        tasks.start_soon(second.answer, asking(openai(fake), "ada", attempt=2))
        await told(bucket, 2)
        fake.finish()

    late = first.results["ada"]
    assert isinstance(late, FailGeneration)
    assert late.usage is None
    assert not late.charges
    assert finished(second.results["ada"]).answer.text == "ADA"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_calling_off_the_only_request_cancels_the_batch(
    kind: str, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        provider = openai(fake) if kind == "openai" else anthropic(fake)
        attempt = streaming.generator.attempt(capped(asking(provider, "ada")), ignore)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt.run)
            await fake.until(1)
            await told(bucket)
            tasks.cancel_scope.cancel()
        (batch,) = fake.batches.values()
        assert batch.status in {"cancelled", "canceled"}
    # Nothing can come any more: the prompt alone may have been read.
    left = called_off(attempt)
    assert left.usage is not None
    assert left.usage.input > left.usage.output == 0


async def test_a_process_that_leaves_lets_its_batches_go_on(bucket: MemoryBucket[Ticket]):
    async with batch_provider() as fake, process(bucket) as streaming:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(openai(fake), "ada"))
            await fake.until(1)
            await told(bucket)
            await streaming.batches.leave()
        (batch,) = fake.batches.values()
        assert batch.status == "in_progress"
    left = streaming.results["ada"]
    assert isinstance(left, FailGeneration)
    assert (left.problem.code, left.problem.retryable) == ("unavailable", True)
    assert (left.usage, left.charges) == (None, [])


@pytest.mark.parametrize("at", ["making", "watching"])
async def test_what_nobody_has_foreseen_ends_neither_the_process_nor_leaves_anybody_waiting(
    at: str, bucket: MemoryBucket[Ticket], monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any) -> None:
        raise RuntimeError(at)

    async with batch_provider() as fake, process(bucket) as streaming:
        name = {"making": "upload", "watching": "read_progress"}[at]
        with monkeypatch.context() as patch:
            patch.setattr(OpenAIBatches, name, broken)
            await streaming.answer(asking(openai(fake), "ada"))
        expected = {"making": ("outcome_unknown", False), "watching": ("internal", True)}[at]
        problem = problem_of(streaming.results["ada"])
        assert (problem.code, problem.retryable) == expected
        assert await answered(streaming, fake, asking(openai(fake), "bob")) == "BOB"


async def test_a_later_attempt_in_the_same_process_takes_the_result_over(
    bucket: MemoryBucket[Ticket],
):
    results: list[Result] = []

    async def again(streaming: Process, fake: BatchProvider, attempt: int) -> None:
        item = asking(openai(fake), "ada", attempt=attempt)
        results.append(await streaming.generator.run(item, ignore))

    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(again, streaming, fake, 1)
        await fake.until(1)
        await told(bucket)
        tasks.start_soon(again, streaming, fake, 2)
        await told(bucket, 2)
        # The first one hears so at once, and one that comes late takes nothing back.
        await again(streaming, fake, 1)
        fake.finish()

    assert [problem_of(result).retryable for result in results[:2]] == [True, True]
    assert finished(results[2]).answer.text == "ADA"
    assert finished(results[2]).attempt == 2


async def test_calling_off_a_request_before_its_batch_is_made_sends_nothing(
    bucket: MemoryBucket[Ticket],
):
    async with batch_provider() as fake, process(bucket) as streaming:
        attempt = streaming.generator.attempt(asking(openai(fake), "ada"), ignore)
        with anyio.move_on_after(0.02):
            await attempt.run()
        assert await answered(streaming, fake, asking(openai(fake), "bob")) == "BOB"
        assert [len(batch.requests) for batch in fake.batches.values()] == [1]
        left = called_off(attempt)
    assert (left.usage, left.charges) == (None, [])


async def test_calling_off_the_only_request_while_its_batch_is_made_cancels_it(
    bucket: MemoryBucket[Ticket],
):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.goes_on = anyio.Event()
        attempt = streaming.generator.attempt(capped(asking(openai(fake), "ada")), ignore)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt.run)
            await fake.asked.wait()
            tasks.cancel_scope.cancel()
        fake.goes_on.set()
        # It cannot be known by then whether it is cancelled in time.
        left = called_off(attempt)
        assert left.usage is not None
        assert left.usage.output == MOST_WRITTEN
        await fake.until(1)
        (batch,) = fake.batches.values()
        while batch.status != "cancelled":
            await anyio.sleep(0.01)


async def test_a_process_that_leaves_still_makes_the_batch_it_gathers(
    bucket: MemoryBucket[Ticket],
):
    async with batch_provider() as fake, process(bucket) as streaming:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(openai(fake), "ada"))
            while not streaming.batches._gathering:
                await anyio.sleep(0.001)
            await streaming.batches.leave()
            assert len(fake.batches) == 1
        entry = await bucket.get(f"acme.{name_of('acme', 'ada.1')}")
        assert entry is not None
        assert entry.value.batch in fake.batches
    assert problem_of(streaming.results["ada"]).retryable


async def test_a_request_that_is_called_off_among_others_may_cost_all_that_it_may_write(
    bucket: MemoryBucket[Ticket],
):
    async with batch_provider() as fake, process(bucket) as streaming:
        attempt = streaming.generator.attempt(capped(asking(openai(fake), "ada")), ignore)
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as first:
            tasks.start_soon(streaming.answer, asking(openai(fake), "bob"))
            first.start_soon(attempt.run)
            await fake.until(1)
            await told(bucket)
            first.cancel_scope.cancel()
            fake.finish()

    left = called_off(attempt)
    assert left.usage is not None
    assert (left.usage.output, left.usage.quality) == (MOST_WRITTEN, "estimated")
    assert finished(streaming.results["bob"]).answer.text == "BOB"


async def test_a_batch_that_may_not_be_looked_at_any_more_may_cost_all_the_same(
    bucket: MemoryBucket[Ticket],
):
    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(streaming.answer, capped(asking(openai(fake), "ada")))
        await fake.until(1)
        (batch,) = fake.batches.values()
        batch.key = "of somebody else"
    failed = streaming.results["ada"]
    assert isinstance(failed, FailGeneration)
    assert not failed.problem.retryable
    assert failed.usage is not None
    assert failed.usage.output == MOST_WRITTEN
