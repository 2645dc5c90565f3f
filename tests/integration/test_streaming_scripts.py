"""The scripted provider, through to the report on an attempt."""

import hashlib
from datetime import timedelta
from typing import Any

import msgspec

from actors.streaming.flow.generation import Generator
from schemas.lifecycle import Deltas, FailGeneration, FinishGeneration
from schemas.llm import ModelConfig
from schemas.problems import Problem
from schemas.providers import Scripted, ScriptedFailure
from schemas.streams import ContentChunk, StreamEvent, Thinking
from schemas.usage import Usage
from tests.attempts import failed, generating, ignore, place, text_of, work


async def play(
    generator: Generator, script: Scripted, *, attempt: int = 1, **settings: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent]]:
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    item = work(script, attempt=attempt, config=ModelConfig(**settings))
    return await generator.run(item, emit), events


async def test_a_script_is_played_word_by_word_and_its_responses_in_turn():
    script = Scripted(responses=["one two", "three"], delay_ms=0)
    async with generating() as generator:
        first, events = await play(generator, script)
        second, _ = await play(generator, script)
        other, _ = await play(generator, Scripted(responses=["one two", "four"], delay_ms=0))
        third, _ = await play(generator, script)

    assert events == [
        Thinking(status="Playing the script of scripted", **place(0)),
        ContentChunk(content="one", **place(1)),
        ContentChunk(content=" two", **place(2)),
    ]
    texts = [
        each.answer.text
        for each in (first, second, other, third)
        if isinstance(each, FinishGeneration)
    ]
    assert texts == ["one two", "three", "one two", "one two"]


async def test_a_scripted_failure_strikes_the_first_attempt_and_spares_the_second():
    fails = ScriptedFailure(call=0, code="provider_overloaded", after_words=1, retry_after=0.5)
    script = Scripted(responses=["one two"], delay_ms=0, failures=[fails])
    async with generating() as generator:
        first, events = await play(generator, script)
        second, _ = await play(generator, script, attempt=2)

    overloaded = Problem(
        code="provider_overloaded",
        message="The provider is overloaded, as scripted.",
        retryable=True,
        retry_after=0.5,
    )
    published = Deltas(count=2, sha256=hashlib.sha256(b"one").hexdigest())
    assert text_of(events) == "one"
    assert first == failed(
        overloaded, Usage(input=1, output=1, quality="partial_stream"), published, of=script
    )
    assert isinstance(second, FinishGeneration)


async def test_words_come_apart_by_the_delay_and_the_deadline_cuts_them():
    script = Scripted(responses=["one two"], delay_ms=60_000)
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    async with generating() as generator:
        item = work(script, deadline=timedelta(seconds=1))
        result = await generator.run(item, emit)

    assert text_of(events) == "one"
    assert isinstance(result, FailGeneration)
    assert result.problem.code == "timeout"


async def test_the_calls_of_one_tenant_do_not_count_for_another():
    script = Scripted(responses=["one", "two"], delay_ms=0)
    texts: list[tuple[str, str]] = []
    async with generating() as generator:
        for tenant in ("acme", "acme", "acme", "other", "acme"):
            result = await generator.run(
                msgspec.structs.replace(work(script), tenant=tenant), ignore
            )
            assert isinstance(result, FinishGeneration)
            texts.append((tenant, result.answer.text))

    assert texts == [
        ("acme", "one"),
        ("acme", "two"),
        ("acme", "one"),
        ("other", "one"),
        ("acme", "two"),
    ]
