"""Failures of a real HTTP server, through the provider to the report on an attempt."""

import hashlib
from datetime import timedelta
from typing import Any

import anyio
import pytest
from aiohttp import web

from schemas.lifecycle import Deltas, FailGeneration, FinishGeneration
from schemas.problems import Problem
from schemas.providers import Custom
from schemas.streams import ContentChunk
from schemas.usage import Usage
from tests.attempts import (
    ESTIMATE,
    KEY,
    at,
    attempt,
    failed,
    generating,
    ignore,
    place,
    text_of,
    work,
)
from tests.providers_fake import (
    DONE,
    USAGE,
    Behaviour,
    answer,
    answering,
    begin,
    breaking,
    chunk,
    event,
    fake_provider,
    falling_silent,
    hanging_up,
    never_beginning,
    refusing,
    sending,
)


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (
            refusing(401, {"code": "invalid_api_key", "message": f"Incorrect key {KEY}"}),
            Problem(
                code="unauthorized",
                message="The provider does not accept the key.",
                details={"status": 401, "provider_code": "invalid_api_key"},
            ),
        ),
        (
            refusing(429, {"type": "rate_limit_error"}, {"Retry-After": "7"}),
            Problem(
                code="rate_limited",
                message="The provider limits the rate of requests.",
                retryable=True,
                retry_after=7.0,
                details={"status": 429, "provider_type": "rate_limit_error"},
            ),
        ),
        (
            refusing(429, {"code": "insufficient_quota"}, {"retry-after": "7"}),
            Problem(
                code="rate_limited",
                message="The quota or credit at the provider is used up.",
                details={"status": 429, "provider_code": "insufficient_quota", "quota": "key"},
            ),
        ),
        (
            refusing(500, body=b"<html>secret words</html>"),
            Problem(
                code="provider_error",
                message="The provider failed.",
                retryable=True,
                details={"status": 500},
            ),
        ),
        (
            refusing(529, {"type": "overloaded_error"}, {"Retry-After-Ms": "1500"}),
            Problem(
                code="provider_overloaded",
                message="The provider is overloaded.",
                retryable=True,
                retry_after=1.5,
                details={"status": 529, "provider_type": "overloaded_error"},
            ),
        ),
        (
            refusing(307, headers={"Location": "http://169.254.169.254/"}),
            Problem(
                code="provider_error",
                message="The provider refused the request.",
                details={"status": 307},
            ),
        ),
        (
            refusing(500, body=b"x" * 10_000_000),
            Problem(
                code="provider_error",
                message="The provider failed.",
                retryable=True,
                details={"status": 500},
            ),
        ),
    ],
    ids=["401", "429", "quota", "500", "529", "redirect", "endless error"],
)
async def test_a_refusal_is_typed_and_costs_nothing(behaviour: Behaviour, problem: Problem):
    result, _ = await attempt(behaviour)

    assert result == failed(problem, usage=None)


CUT = Problem(
    code="provider_error",
    message="The provider ended the stream in mid-answer.",
    retryable=True,
)
BROKEN = Problem(
    code="provider_error", message="The provider broke the connection.", retryable=True
)
NO_CHUNK = Problem(
    code="provider_error",
    message="The provider sent something that is no event.",
    retryable=True,
)
FAILED = Problem(code="provider_error", message="The provider failed.", retryable=True)
HALF = event(chunk("Hello"))


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        pytest.param(sending(), CUT, id="nothing at all"),
        pytest.param(sending(HALF), CUT, id="end before the terminal event"),
        pytest.param(sending(HALF, b'data: {"choices":[{"delta"'), NO_CHUNK, id="half a chunk"),
        pytest.param(breaking(HALF), BROKEN, id="broken connection"),
        pytest.param(sending(HALF, b"\x00\xff\xfe garbage"), CUT, id="garbage"),
        pytest.param(sending(HALF, b"data: \xff\x00\n\n"), NO_CHUNK, id="garbage as data"),
        pytest.param(sending(b"<html>hello</html>"), CUT, id="a web page"),
        pytest.param(
            sending(HALF, event({"error": {"message": "secret words"}}), DONE), FAILED, id="error"
        ),
        pytest.param(
            sending(event(chunk("x", finish="length") | {"error": {"code": 502}}), DONE),
            Problem(
                code="provider_error",
                message="The provider failed.",
                retryable=True,
                details={"provider_code": 502},
            ),
            id="error beside choices",
        ),
        pytest.param(
            sending(HALF, b"data: " + b"x" * (9 * 1024 * 1024)),
            Problem(code="provider_error", message="The provider's stream breaks all bounds."),
            id="endless line",
        ),
    ],
)
async def test_an_answer_that_breaks_off_is_a_typed_failure_with_estimated_usage(
    behaviour: Behaviour, problem: Problem
):
    result, _ = await attempt(behaviour)

    assert isinstance(result, FailGeneration)
    assert result.problem == problem
    assert result.usage is not None
    assert result.usage.quality == "estimated"


async def test_a_cut_answer_reports_what_was_published_until_then():
    result, events = await attempt(sending(HALF))

    deltas = Deltas(count=2, sha256=hashlib.sha256(b"Hello").hexdigest())
    assert events[1:] == [ContentChunk(content="Hello", **place(1))]
    assert result == failed(CUT, Usage(input=6, output=2, quality="estimated"), deltas)


async def test_usage_that_came_before_the_cut_is_kept_as_such():
    telling = event(chunk("Hello") | {"usage": USAGE})

    result, _ = await attempt(sending(telling))

    assert isinstance(result, FailGeneration)
    assert result.usage == Usage(input=7, output=2, quality="partial_stream")


async def test_silence_in_an_answer_is_a_timeout():
    result, events = await attempt(falling_silent(HALF), idle_timeout=1.0)

    silent = Problem(code="timeout", message="The provider fell silent.", retryable=True)
    assert text_of(events) == "Hello"
    assert isinstance(result, FailGeneration)
    assert result.problem == silent


async def test_comments_keep_a_slow_answer_alive():
    async def thinking_aloud(request: Any) -> Any:
        response = await begin(request, [])
        for _ in range(5):
            await anyio.sleep(0.4)
            await response.write(b": still here\n\n")
        for data in answer("Hello"):
            await response.write(data)
        await response.write_eof()
        return response

    result, _ = await attempt(thinking_aloud, idle_timeout=1.5)

    assert isinstance(result, FinishGeneration)


async def test_a_slow_beginning_has_its_own_patience():
    async def slow(request: Any) -> Any:
        await anyio.sleep(1.2)
        return await answering("Hello")(request)

    patient, _ = await attempt(slow, idle_timeout=1.0, first_byte_timeout=20.0)
    impatient, _ = await attempt(never_beginning, first_byte_timeout=0.1)

    assert isinstance(patient, FinishGeneration)
    late = Problem(code="timeout", message="The provider did not begin in 0.1 s.", retryable=True)
    assert impatient == failed(late, ESTIMATE)


async def test_a_connection_that_breaks_before_the_answer_may_have_cost_the_prompt():
    assert (await attempt(hanging_up))[0] == failed(BROKEN, ESTIMATE)


async def test_a_refusal_counts_though_its_body_breaks_off():
    async def breaking_off(request: Any) -> Any:
        response = web.StreamResponse(status=503)
        await response.prepare(request)
        await response.write(b'{"error":{"co')
        request.transport.abort()
        return response

    result, _ = await attempt(breaking_off)

    overloaded = Problem(
        code="provider_overloaded",
        message="The provider is overloaded.",
        retryable=True,
        details={"status": 503},
    )
    assert result == failed(overloaded, usage=None)


async def test_a_refused_connection_is_unavailable_and_costs_nothing(free_tcp_port: int):
    async with generating() as generator:
        provider = Custom(model="m", base_url=f"http://127.0.0.1:{free_tcp_port}/v1")
        result = await generator.run(work(provider), ignore)

    reached = Problem(code="unavailable", message="The provider cannot be reached.", retryable=True)
    assert result == failed(reached, usage=None)


async def test_the_executions_deadline_ends_an_attempt_and_leaves_the_provider():
    with anyio.fail_after(20):
        async with fake_provider(falling_silent(HALF)) as fake, generating() as generator:
            item = work(at(fake), deadline=timedelta(seconds=1.5))
            result = await generator.run(item, ignore)
            await fake.abandoned.wait()

    over = Problem(code="timeout", message="The execution's time is over.")
    assert isinstance(result, FailGeneration)
    assert (result.problem, result.usage) == (over, Usage(input=6, output=2, quality="estimated"))


async def test_an_attempt_past_its_deadline_asks_nobody():
    async with fake_provider(answering("x")) as fake, generating() as generator:
        result = await generator.run(work(at(fake), deadline=timedelta(seconds=-1)), ignore)

        assert isinstance(result, FailGeneration)
        assert fake.bodies == []


@pytest.mark.parametrize("behaviour", [falling_silent(HALF), never_beginning])
async def test_pitfall_15_cancelling_closes_the_providers_connection(behaviour: Behaviour):
    with anyio.fail_after(20):
        async with fake_provider(behaviour) as fake, generating() as generator:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(generator.run, work(at(fake)), ignore)
                while not fake.bodies:
                    await anyio.sleep(0.001)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()

            await fake.abandoned.wait()
