"""Answers of a real HTTP server, through the provider to the report on an attempt."""

import hashlib
from typing import Any

import anyio
import pytest

from schemas.lifecycle import Deltas, FinishGeneration
from schemas.llm import Answer, ToolCall
from schemas.streams import ContentChunk, StreamEvent, Thinking, ToolCalled
from schemas.usage import Usage
from tests.attempts import NOW, at, attempt, generating, place, text_of, work
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
    sending,
)


async def test_an_answer_is_published_as_it_comes_and_reported_whole():
    result, events = await attempt(answering("Hel", "lo ", "\u2028😀"))

    assert events[0] == Thinking(status="Asking m", **place(0))
    assert [event.sequence for event in events] == list(range(len(events)))
    assert text_of(events) == "Hello \u2028😀"
    assert result == FinishGeneration(
        work="1",
        attempt=1,
        answer=Answer(
            text="Hello \u2028😀",
            finish_reason="stop",
            usage=Usage(input=7, output=2),
            model_served="fake-1",
            provider_finish_reason="stop",
            raw_usage=USAGE,
        ),
        deltas=Deltas(
            count=len(events), sha256=hashlib.sha256("Hello \u2028😀".encode()).hexdigest()
        ),
        started_at=NOW,
    )


async def test_the_deltas_of_one_read_are_one_event():
    _, events = await attempt(sending(b"".join(answer("a", "b", "c"))))

    assert events[1:] == [ContentChunk(content="abc", **place(1))]


async def test_while_publishing_waits_what_arrives_is_gathered_into_one_event():
    """Write the second half only when the first is being published, and release that afterwards."""
    publishing, written = anyio.Event(), anyio.Event()
    events: list[StreamEvent] = []

    async def two_halves(request: Any) -> Any:
        writes = answer("a", "b", "c", "d")
        response = await begin(request, writes[:2])
        await publishing.wait()
        for data in writes[2:]:
            await response.write(data)
        await response.write_eof()
        written.set()
        return response

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)
        if isinstance(batch[-1], ContentChunk) and not publishing.is_set():
            publishing.set()
            await written.wait()
            await anyio.wait_all_tasks_blocked()

    with anyio.fail_after(20):
        async with fake_provider(two_halves) as fake, generating() as generator:
            await generator.run(work(at(fake)), emit)

    assert [event.content for event in events if isinstance(event, ContentChunk)] == ["a", "bcd"]


async def test_a_tool_call_is_published_once_and_whole():
    first = {"index": 0, "id": "a", "function": {"name": "time", "arguments": '{"zone":'}}
    second = {"index": 0, "function": {"arguments": '"CET"}'}}
    writes = [event(chunk(tool_calls=[first])), event(chunk(tool_calls=[second]))]

    result, events = await attempt(sending(*writes, *answer(finish="tool_calls")))

    called = ToolCalled(call_id="a", tool_name="time", arguments={"zone": "CET"}, **place(1))
    assert events[1:] == [called]
    assert isinstance(result, FinishGeneration)
    assert result.answer.finish_reason == "tool_calls"
    assert result.answer.tool_calls == [ToolCall(id="a", name="time", arguments='{"zone":"CET"}')]


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(sending(*answer("Hello")[:-1]), id="no [DONE]"),
        pytest.param(sending(event(chunk("Hello")), DONE), id="no finish reason"),
        pytest.param(sending(event(chunk("Hello", finish="stop"))[:-2]), id="no blank line"),
        pytest.param(breaking(event(chunk("Hello", finish="stop"))), id="broken after the end"),
        pytest.param(falling_silent(*answer("Hello")), id="open after [DONE]"),
        pytest.param(falling_silent(*answer("Hello")[:-1]), id="silent after the finish reason"),
        pytest.param(sending(*answer("Hello"), b"data: garbage\n\n"), id="garbage after [DONE]"),
    ],
)
async def test_a_whole_answer_counts_however_untidily_it_ends(behaviour: Behaviour):
    result, events = await attempt(behaviour, trailing_timeout=0.8)

    assert text_of(events) == "Hello"
    assert isinstance(result, FinishGeneration)
    assert (result.answer.text, result.answer.finish_reason) == ("Hello", "stop")
