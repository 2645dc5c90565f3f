"""Requests in providers' batches: made once whatever dies, read by all who wait, paid at half."""

from typing import Any

import anyio
import msgspec
import pytest

from actors.streaming.adapters.batch_store import Ticket
from actors.streaming.flow.batch_call import name_of
from bus.kv import MemoryBucket
from schemas.lifecycle import FailGeneration
from schemas.policy import Fallback, Policy
from schemas.streams import StreamEvent, Thinking
from tests.attempts import KEY
from tests.batch_provider import BatchProvider, batch_provider
from tests.batching import (
    Broken,
    Process,
    Result,
    StubbornBucket,
    answered,
    anthropic,
    asking,
    finished,
    ignore,
    openai,
    problem_of,
    process,
)


@pytest.fixture
def bucket() -> MemoryBucket[Ticket]:
    return MemoryBucket(Ticket)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_requests_that_come_together_are_one_batch_and_each_gets_its_own_answer(
    kind: str, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        provider = openai(fake) if kind == "openai" else anthropic(fake)
        async with anyio.create_task_group() as tasks:
            for name in ("ada", "bob", "eve"):
                tasks.start_soon(streaming.answer, asking(provider, name))
            await fake.until(1)
            fake.finish()

        assert len(fake.batches) == 1
        assert {batch.key.removeprefix("Bearer ") for batch in fake.batches.values()} == {KEY}
    for name in ("ada", "bob", "eve"):
        answer = finished(streaming.results[name]).answer
        assert (answer.text, answer.finish_reason) == (name.upper(), "stop")
        assert (answer.usage.input, answer.usage.output) == (1000, 100)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_each_request_of_a_batch_is_charged_at_the_batch_price(
    kind: str, bucket: MemoryBucket[Ticket]
):
    costs: dict[bool, int | None] = {}
    async with batch_provider() as fake, process(bucket) as streaming:
        provider = openai(fake) if kind == "openai" else anthropic(fake)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(provider, "ada"))
            await fake.until(1)
            fake.finish()
    (charge,) = finished(streaming.results["ada"]).charges or []
    costs[True] = charge.cost_pico
    assert charge.batch
    assert charge.cost_pico is not None
    rates = {"openai": (150_000, 600_000), "anthropic": (3_000_000, 15_000_000)}[kind]
    assert charge.cost_pico * 2 == 1000 * rates[0] + 100 * rates[1]


async def test_who_waits_is_told_that_it_is_for_a_batch(bucket: MemoryBucket[Ticket]):
    events: list[StreamEvent] = []

    async def listen(told: list[StreamEvent]) -> None:
        events.extend(told)

    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(streaming.generator.run, asking(openai(fake), "ada"), listen)
        await fake.until(1)
        assert [event.status for event in events if isinstance(event, Thinking)] == [
            "Asking gpt-4o-mini in a batch, which may take a day"
        ]
        fake.finish()


@pytest.mark.parametrize("status", [None, 500])
async def test_where_it_is_not_known_whether_a_batch_was_made_it_is_not_made_again(
    status: int | None, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.creating = [status]
        await streaming.answer(asking(openai(fake), "ada"))
        first = streaming.results["ada"]
        await streaming.answer(asking(openai(fake), "ada", attempt=2))

        assert len(fake.batches) <= 1
        assert not fake.creating
    result = streaming.results["ada"]
    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == ("outcome_unknown", False)
    # It may have been made, and is charged for then.
    assert isinstance(first, FailGeneration)
    assert first.usage is not None


async def test_what_was_refused_may_be_sent_again(bucket: MemoryBucket[Ticket]):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.creating = [429]
        await streaming.answer(asking(openai(fake), "ada"))
        refused = streaming.results["ada"]
        assert isinstance(refused, FailGeneration)
        assert (refused.problem.code, refused.usage) == ("rate_limited", None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(openai(fake), "ada", attempt=2))
            await fake.until(1)
            fake.finish()
    assert finished(streaming.results["ada"]).answer.text == "ADA"


async def test_one_refused_request_does_not_cost_the_others_their_answers(
    bucket: MemoryBucket[Ticket],
):
    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
        anyio.create_task_group() as tasks,
    ):
        for name in ("ada", "bob"):
            tasks.start_soon(streaming.answer, asking(openai(fake), name))
        await fake.until(1)
        (batch,) = fake.batches.values()
        failing = next(n for n, body in batch.requests.items() if "bob" in str(body))
        batch.failing[failing] = {"code": "content_filter", "message": "…"}
        fake.finish()
    failed = streaming.results["bob"]
    assert isinstance(failed, FailGeneration)
    assert (failed.usage, failed.charges) == (None, [])
    assert finished(streaming.results["ada"]).answer.text == "ADA"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_results_that_are_written_twice_cost_nobody_anything(
    kind: str, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.times = 2
        provider = openai(fake) if kind == "openai" else anthropic(fake)
        for name in ("ada", "bob"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(streaming.answer, asking(provider, name))
                await fake.until(len(streaming.results) + 1)
                fake.finish()
            assert finished(streaming.results[name]).answer.text == name.upper()


@pytest.mark.parametrize("name", ["x" * 5000, "", ".."])
async def test_a_batch_of_an_impossible_name_costs_no_other_its_answer(
    name: str, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.names = [name]
        await streaming.answer(asking(openai(fake), "ada"))
        failed = streaming.results["ada"]
        assert isinstance(failed, FailGeneration)
        assert failed.problem.code in {"provider_error", "outcome_unknown"}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(openai(fake), "bob"))
            await fake.until(2)
            fake.finish()
        assert finished(streaming.results["bob"]).answer.text == "BOB"


async def test_whatever_goes_wrong_with_one_batch_the_others_go_on():
    bucket = Broken(Ticket)
    async with batch_provider() as fake, process(bucket) as streaming:
        bucket.fails = True
        await streaming.answer(asking(openai(fake), "ada"))
        failed = streaming.results["ada"]
        assert isinstance(failed, FailGeneration)
        bucket.fails = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(openai(fake), "bob"))
            await fake.until(1)
            fake.finish()
        assert finished(streaming.results["bob"]).answer.text == "BOB"


async def test_what_cannot_be_followed_fails_at_once_and_the_others_go_on(
    bucket: MemoryBucket[Ticket], monkeypatch: pytest.MonkeyPatch
):
    async with batch_provider() as fake, process(bucket) as streaming:
        with monkeypatch.context() as broken:
            broken.setattr("actors.streaming.flow.batch_watch.results", None)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(streaming.answer, asking(openai(fake), "ada"))
                await fake.until(1)
                fake.finish()
        failed = streaming.results["ada"]
        assert isinstance(failed, FailGeneration)
        assert failed.problem.code == "internal"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(openai(fake), "bob"))
            await fake.until(2)
            fake.finish()
        assert finished(streaming.results["bob"]).answer.text == "BOB"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_garbage_and_results_that_come_twice_cost_nobody_an_answer(
    kind: str, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        provider = openai(fake) if kind == "openai" else anthropic(fake)
        async with anyio.create_task_group() as tasks:
            for name in ("ada", "bob"):
                tasks.start_soon(streaming.answer, asking(provider, name))
            await fake.until(1)
            (batch,) = fake.batches.values()
            names = list(batch.requests)
            failing = {"type": "errored", "error": {"type": "api_error"}}
            again = {
                "openai": [{"custom_id": name, "error": {"code": "late"}} for name in names],
                "anthropic": [{"custom_id": name, "result": failing} for name in names],
            }[kind]
            fake.before = b"\n".join([b"<html>", b"[]", b"\xff\xfe", b"{", b"", b""])
            fake.behind = b"\n".join(map(msgspec.json.encode, [*again, *again]))
            fake.finish()
    for name in ("ada", "bob"):
        assert finished(streaming.results[name]).answer.text == name.upper()


async def test_a_ticket_that_cannot_be_dropped_does_not_end_the_process():
    async with batch_provider() as fake, process(StubbornBucket(Ticket)) as streaming:
        fake.creating = [429]
        await streaming.answer(asking(openai(fake), "ada"))
        assert problem_of(streaming.results["ada"]).code == "rate_limited"
        assert await answered(streaming, fake, asking(openai(fake), "bob")) == "BOB"


async def test_a_request_that_comes_twice_at_once_is_one_line_of_one_batch(
    bucket: MemoryBucket[Ticket],
):
    results: list[Result] = []

    async def twice(streaming: Process, fake: BatchProvider, attempt: int) -> None:
        item = asking(openai(fake), "ada", attempt=attempt)
        results.append(await streaming.generator.run(item, ignore))

    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
        anyio.create_task_group() as tasks,
    ):
        for attempt in (1, 2):
            tasks.start_soon(twice, streaming, fake, attempt)
        await fake.until(1)
        fake.finish()
    assert [len(batch.requests) for batch in fake.batches.values()] == [1]
    refused, told = results
    assert problem_of(refused).retryable
    assert finished(told).answer.text == "ADA"


async def test_a_result_that_was_a_failure_is_asked_for_again_and_not_read_again(
    bucket: MemoryBucket[Ticket],
):
    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(anthropic(fake), "ada"))
            await fake.until(1)
            (batch,) = fake.batches.values()
            batch.failing = {key: {"type": "overloaded_error"} for key in batch.requests}
            fake.finish()
        assert problem_of(streaming.results["ada"]).retryable
        again = asking(anthropic(fake), "ada", attempt=2)
        assert await answered(streaming, fake, again) == "ADA"


async def test_a_batch_is_not_made_anew_for_ever(bucket: MemoryBucket[Ticket]):
    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(streaming.answer, asking(anthropic(fake), "ada", attempt=5))
        await fake.until(1)
        (batch,) = fake.batches.values()
        batch.failing = {key: {"type": "overloaded_error"} for key in batch.requests}
        fake.finish()
    problem = problem_of(streaming.results["ada"])
    assert (problem.code, problem.retryable) == ("provider_overloaded", False)


async def test_a_fallback_is_asked_where_the_batch_has_failed_a_request(
    bucket: MemoryBucket[Ticket],
):
    async with batch_provider() as fake, process(bucket) as streaming:
        item = asking(openai(fake), "ada")
        policy = Policy(fallbacks=[Fallback(provider=anthropic(fake))])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, msgspec.structs.replace(item, policy=policy))
            await fake.until(1)
            (batch,) = fake.batches.values()
            batch.failing = {key: {"code": "model_not_found"} for key in batch.requests}
            batch.status = "completed"
            await fake.until(2)
            fake.finish()
    result = finished(streaming.results["ada"])
    assert (result.answer.text, result.place) == ("ADA", 1)
    assert [charge.provider for charge in result.charges or []] == ["anthropic"]


@pytest.mark.parametrize(
    ("error", "code", "is_sure"),
    [
        ({"code": "insufficient_quota", "message": "…"}, "rate_limited", True),
        ({"code": "rate_limit_exceeded", "message": "…"}, "rate_limited", True),
        ({"type": "server_error", "message": "…"}, "outcome_unknown", False),
    ],
)
async def test_a_refusal_under_a_status_of_success_has_made_no_batch(
    error: Any, code: str, is_sure: bool, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.creating = [msgspec.json.encode({"error": error})]
        await streaming.answer(asking(openai(fake), "ada"))
        assert problem_of(streaming.results["ada"]).code == code
        assert (await bucket.get(f"acme.{name_of('acme', 'ada.1')}") is None) is is_sure


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_an_error_in_the_place_of_the_results_is_asked_past(
    kind: str, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        provider = openai(fake) if kind == "openai" else anthropic(fake)
        fake.contents = [b'{"error":{"type":"overloaded_error","message":"Overloaded"}}']
        assert await answered(streaming, fake, asking(provider, "ada")) == "ADA"
        assert not fake.contents
