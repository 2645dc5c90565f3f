"""How an answer of a real HTTP server ends: by its word, by silence, by a failure's word."""

import anyio
import pytest
from aiohttp import web

from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import AnswerWarning
from schemas.problems import Problem
from schemas.usage import Usage
from tests.attempts import attempt, text_of
from tests.providers_fake import (
    DONE,
    USAGE,
    Behaviour,
    answer,
    begin,
    breaking,
    chunk,
    event,
    falling_silent,
    sending,
)

THOUGHT = event(chunk(finish="stop", reasoning_content="Hm."))


@pytest.mark.parametrize("text", ["", "Hel"])
async def test_the_word_of_a_failure_fails_an_attempt_and_its_usage_is_billed(text: str):
    broken = answer(text, finish="network-error")

    result, events = await attempt(sending(*broken))

    assert text_of(events) == text
    assert isinstance(result, FailGeneration)
    assert result.problem == Problem(
        code="provider_error",
        message="The provider broke off its answer.",
        retryable=True,
        details={"finish_reason": "network_error"},
    )
    assert result.usage == Usage(input=7, output=2)


async def test_an_unknown_word_is_told_beside_the_answer():
    result, _ = await attempt(sending(*answer("Hello", finish="moonstruck")))

    assert isinstance(result, FinishGeneration)
    assert result.answer.warnings == [
        AnswerWarning(
            field="finish_reason",
            message="the provider ended the answer with 'moonstruck': it may not be whole",
        )
    ]


async def test_an_answer_is_waited_for_behind_a_word_that_settles_nothing():
    async def pausing(request: web.Request) -> web.StreamResponse:
        response = await begin(request, [THOUGHT])
        await anyio.sleep(0.3)
        for data in (event(chunk("Hel", finish="stop")), event(chunk("lo", finish="stop"))):
            await response.write(data)
            await anyio.sleep(0.3)
        await response.write(event({"choices": [], "usage": USAGE}) + DONE)
        await response.write_eof()
        return response

    result, _ = await attempt(pausing, trailing_timeout=0.1)

    assert isinstance(result, FinishGeneration)
    assert (result.answer.text, result.answer.usage) == ("Hello", Usage(input=7, output=2))


@pytest.mark.parametrize(
    ("behaviour", "code", "idle"),
    [
        pytest.param(sending(THOUGHT), "provider_error", 30.0, id="end"),
        pytest.param(breaking(THOUGHT), "provider_error", 30.0, id="loss"),
        pytest.param(falling_silent(THOUGHT), "timeout", 0.8, id="silence"),
    ],
)
async def test_silence_behind_a_word_that_settles_nothing_fails_the_attempt(
    behaviour: Behaviour, code: str, idle: float
):
    result, _ = await attempt(behaviour, trailing_timeout=0.05, idle_timeout=idle)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == (code, True)
