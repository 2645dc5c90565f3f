"""Requests in providers' batches: made once whatever dies, read by all who wait, paid at half."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from actors.streaming.adapters.batch_call import name_of
from actors.streaming.adapters.batch_store import Ticket, Tickets
from actors.streaming.adapters.batches import Batches, Settings, opened
from actors.streaming.adapters.generation import Generator, Means
from actors.streaming.adapters.providers import open_providers
from actors.streaming.core.batches.openai import OpenAIBatches
from bus.egress import Egress
from bus.errors import UnavailableError
from bus.kv import MemoryBucket
from bus.prices import PricesInForce
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import ChatMessage
from schemas.policy import Fallback, Policy
from schemas.problems import Problem
from schemas.providers import Anthropic, OpenAI, Provider
from schemas.streams import StreamEvent, Thinking
from tests.attempts import KEY, NOW, SECRETS, config, work
from tests.batch_provider import BatchProvider, batch_provider

QUICK = Settings(window=0.05, making=1.5, leaving=1.0)

Result = FinishGeneration | FailGeneration


class Process:
    """One streaming process, as far as batches go."""

    def __init__(self, generator: Generator, batches: Batches) -> None:
        self.generator = generator
        self.batches = batches
        self.results: dict[str, Result] = {}

    async def answer(self, item: GenerateWork) -> None:
        self.results[item.execution_id] = await self.generator.run(item, _ignore)


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


@pytest.fixture
def bucket() -> MemoryBucket[Ticket]:
    return MemoryBucket(Ticket)


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


async def _ignore(_events: list[StreamEvent]) -> None:
    """Nobody listens."""


def finished(result: Result) -> FinishGeneration:
    assert isinstance(result, FinishGeneration), result
    return result


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


async def test_another_worker_waits_for_the_batch_of_one_that_died(bucket: MemoryBucket[Ticket]):
    async with batch_provider() as fake:
        async with process(bucket) as first, anyio.create_task_group() as tasks:
            tasks.start_soon(first.answer, asking(openai(fake), "ada"))
            await fake.until(1)
            await _told(bucket)
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
        await _told(bucket)
        tasks.start_soon(second.answer, asking(openai(fake), "ada", attempt=2))
        await _told(bucket, 2)
        fake.finish()

    late = first.results["ada"]
    assert isinstance(late, FailGeneration)
    assert late.usage is None
    assert not late.charges
    assert finished(second.results["ada"]).answer.text == "ADA"


@pytest.mark.parametrize("status", [None, 500])
async def test_where_it_is_not_known_whether_a_batch_was_made_it_is_not_made_again(
    status: int | None, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.creating = [status]
        await streaming.answer(asking(openai(fake), "ada"))
        await streaming.answer(asking(openai(fake), "ada", attempt=2))

        assert len(fake.batches) <= 1
        assert not fake.creating
    result = streaming.results["ada"]
    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == ("outcome_unknown", False)


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


class _Broken(MemoryBucket[Ticket]):
    """A bucket that fails, some of the time, in a way that nobody has foreseen."""

    fails = False

    async def put(self, key: str, value: Ticket, *, expected: int) -> int:
        if self.fails:
            raise ValueError(key)
        return await super().put(key, value, expected=expected)


async def test_whatever_goes_wrong_with_one_batch_the_others_go_on():
    bucket = _Broken(Ticket)
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
            broken.setattr("actors.streaming.adapters.batch_watch.results", None)
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
async def test_calling_off_the_only_request_cancels_the_batch(
    kind: str, bucket: MemoryBucket[Ticket]
):
    async with batch_provider() as fake, process(bucket) as streaming:
        provider = openai(fake) if kind == "openai" else anthropic(fake)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(provider, "ada"))
            await fake.until(1)
            await _told(bucket)
            tasks.cancel_scope.cancel()
        (batch,) = fake.batches.values()
        assert batch.status in {"cancelled", "canceled"}


async def test_a_process_that_leaves_lets_its_batches_go_on(bucket: MemoryBucket[Ticket]):
    async with batch_provider() as fake, process(bucket) as streaming:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streaming.answer, asking(openai(fake), "ada"))
            await fake.until(1)
            await _told(bucket)
            await streaming.batches.leave()
        (batch,) = fake.batches.values()
        assert batch.status == "in_progress"
    left = streaming.results["ada"]
    assert isinstance(left, FailGeneration)
    assert (left.problem.code, left.problem.retryable) == ("unavailable", True)
    assert (left.usage, left.charges) == (None, [])


async def _told(bucket: MemoryBucket[Ticket], attempt: int = 1) -> None:
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


async def test_a_ticket_that_cannot_be_dropped_does_not_end_the_process():
    async with batch_provider() as fake, process(StubbornBucket(Ticket)) as streaming:
        fake.creating = [429]
        await streaming.answer(asking(openai(fake), "ada"))
        assert problem_of(streaming.results["ada"]).code == "rate_limited"
        assert await answered(streaming, fake, asking(openai(fake), "bob")) == "BOB"


async def test_a_later_attempt_in_the_same_process_takes_the_result_over(
    bucket: MemoryBucket[Ticket],
):
    results: list[Result] = []

    async def again(streaming: Process, fake: BatchProvider, attempt: int) -> None:
        item = asking(openai(fake), "ada", attempt=attempt)
        results.append(await streaming.generator.run(item, _ignore))

    async with (
        batch_provider() as fake,
        process(bucket) as streaming,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(again, streaming, fake, 1)
        await fake.until(1)
        await _told(bucket)
        tasks.start_soon(again, streaming, fake, 2)
        await _told(bucket, 2)
        # The first one hears so at once, and one that comes late takes nothing back.
        await again(streaming, fake, 1)
        fake.finish()

    assert [problem_of(result).retryable for result in results[:2]] == [True, True]
    assert finished(results[2]).answer.text == "ADA"
    assert finished(results[2]).attempt == 2


async def test_a_request_that_comes_twice_at_once_is_one_line_of_one_batch(
    bucket: MemoryBucket[Ticket],
):
    results: list[Result] = []

    async def twice(streaming: Process, fake: BatchProvider, attempt: int) -> None:
        item = asking(openai(fake), "ada", attempt=attempt)
        results.append(await streaming.generator.run(item, _ignore))

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


async def test_calling_off_a_request_before_its_batch_is_made_sends_nothing(
    bucket: MemoryBucket[Ticket],
):
    async with batch_provider() as fake, process(bucket) as streaming:
        attempt = streaming.generator.attempt(asking(openai(fake), "ada"), _ignore)
        with anyio.move_on_after(0.02):
            await attempt.run()
        assert await answered(streaming, fake, asking(openai(fake), "bob")) == "BOB"
        assert [len(batch.requests) for batch in fake.batches.values()] == [1]
        left = attempt.failed(Problem(code="cancelled", message="…"))
    assert (left.usage, left.charges) == (None, [])


async def test_calling_off_the_only_request_while_its_batch_is_made_cancels_it(
    bucket: MemoryBucket[Ticket],
):
    async with batch_provider() as fake, process(bucket) as streaming:
        fake.delay = 0.3
        with anyio.move_on_after(0.2):
            await streaming.answer(asking(openai(fake), "ada"))
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
            await anyio.sleep(0.02)
            await streaming.batches.leave()
            assert len(fake.batches) == 1
        entry = await bucket.get(f"acme.{name_of('acme', 'ada.1')}")
        assert entry is not None
        assert entry.value.batch in fake.batches
    assert problem_of(streaming.results["ada"]).retryable


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
