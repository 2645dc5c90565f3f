"""Ollama by hand, where recordings are thin: tools, thinking, errors, cold starts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.wires.ollama.reader import OllamaReader
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Ollama
from schemas.usage import Usage
from tests.wires import answered, bytewise, failed, play

REQUEST = GenerateRequest(
    provider=Ollama(model="qwen3"), messages=[ChatMessage(role="user", content="Hello")]
)


def line(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "qwen3:8b", "done": False, **fields}) + b"\n"


def said(content: str = "", **more: Any) -> bytes:
    return line(message={"role": "assistant", "content": content, **more})


def done(reason: str | None = "stop", **more: Any) -> bytes:
    counts = {"prompt_eval_count": 7, "eval_count": 2, "total_duration": 5_191_566_416}
    message = {"role": "assistant", "content": ""}
    return line(**{"message": message, "done": True, "done_reason": reason, **counts, **more})


def called(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **more}


def read(*stream: bytes) -> Answer:
    body = b"".join(stream)
    result = answered(OllamaReader(REQUEST), [body])
    assert answered(OllamaReader(REQUEST), bytewise(body)) == result
    return result[1]


def test_thinking_is_told_apart_from_text():
    answer = read(said(thinking="Hm"), said(thinking="."), said("Yes"), done())

    assert answer == Answer(
        text="Yes",
        reasoning="Hm.",
        finish_reason="stop",
        provider_finish_reason="stop",
        usage=Usage(input=7, output=2),
        raw_usage={"prompt_eval_count": 7, "eval_count": 2, "total_duration": 5_191_566_416},
        model_served="qwen3:8b",
    )


def test_generate_has_its_text_and_thinking_in_other_places():
    answer = read(
        line(response="", thinking="Hm"), line(response="Yes"), line(response="", done=True)
    )

    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Yes", "Hm", "stop")
    assert answer.usage.quality == "estimated"


def test_parallel_calls_come_whole_and_mostly_without_ids():
    answer = read(
        said(tool_calls=[called("weather", {"city": "Rome"}), called("time", {}, id="c9")]),
        said(tool_calls=[called("weather", {"city": "Oslo"})]),
        done(),
    )

    assert (answer.finish_reason, answer.provider_finish_reason) == ("tool_calls", "stop")
    assert answer.tool_calls == [
        ToolCall(id="call_0", name="weather", arguments='{"city":"Rome"}'),
        ToolCall(id="c9", name="time", arguments="{}"),
        ToolCall(id="call_2", name="weather", arguments='{"city":"Oslo"}'),
    ]


def test_calls_and_text_on_the_last_line_count():
    message = {"role": "assistant", "content": "Hi", "tool_calls": [called("time", {})]}

    answer = read(done(message=message))

    assert answer.text == "Hi"
    assert answer.tool_calls == [ToolCall(id="call_0", name="time", arguments="{}")]


def test_arguments_that_are_text_stay_as_they_are():
    answer = read(said(tool_calls=[called("time", '{"zone": ')]), done())

    assert answer.tool_calls == [ToolCall(id="call_0", name="time", arguments='{"zone": ')]


@pytest.mark.parametrize(
    ("word", "reason"), [("stop", "stop"), ("length", "length"), (None, "stop"), ("new", "other")]
)
def test_reasons_for_the_end_are_translated_and_the_word_is_kept(word: str | None, reason: str):
    answer = read(said("Hi"), done(word))

    assert (answer.finish_reason, answer.provider_finish_reason) == (reason, word)


@pytest.mark.parametrize("word", ["load", "unload"])
def test_loading_a_model_is_no_answer_and_used_nothing(word: str):
    loading = OllamaReader(REQUEST)
    last = line(message={"role": "assistant", "content": ""}, done=True, done_reason=word)

    assert failed(loading, [last]).retryable
    assert loading.spent() == Usage()


def test_a_prompt_that_was_in_memory_has_no_count():
    assert read(said("Hi"), done(prompt_eval_count=None)).usage == Usage(output=2)


@pytest.mark.parametrize("error", ["an error with secret words", {"message": "secret words"}])
def test_an_error_line_in_mid_stream_is_typed_and_loses_no_delta(error: Any):
    stream = said("Hi") + msgspec.json.encode({"error": error}) + b"\n"

    deltas, problem = play(OllamaReader(REQUEST), [stream])

    assert deltas == [TextDelta("Hi")]
    assert problem == Problem(code="provider_error", message="The provider failed.", retryable=True)


def test_a_stream_that_ends_before_done_is_a_failure():
    assert failed(OllamaReader(REQUEST), [said("Hi")]) == Problem(
        code="provider_error",
        message="The provider ended the stream in mid-answer.",
        retryable=True,
    )


def test_a_last_line_without_its_end_counts():
    assert read(said("Hi"), done().rstrip()).text == "Hi"


def test_a_long_line_is_read_whole():
    text = "x" * 300_000

    assert read(said(text), done()).text == text


def test_an_unreadable_line_fails_the_call_but_not_the_deltas_behind_it():
    deltas, problem = play(OllamaReader(REQUEST), [b"{nonsense\n" + said("Hi") + done()])

    assert deltas == [TextDelta("Hi")]
    assert problem == Problem(
        code="provider_error",
        message="The provider sent something that is no event.",
        retryable=True,
    )


def test_thinking_and_text_of_one_line_are_published_in_this_order():
    deltas, _ = answered(OllamaReader(REQUEST), [said("Yes", thinking="Hm") + done()])

    assert deltas == [ReasoningDelta("Hm"), TextDelta("Yes")]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
)
FIELDS = st.sampled_from(
    ["message", "response", "thinking", "done", "done_reason", "error", "eval_count", "model"]
)
MESSAGES = st.dictionaries(st.sampled_from(["content", "thinking", "tool_calls"]), JSON)


@given(st.lists(st.dictionaries(FIELDS, st.one_of(JSON, MESSAGES), max_size=4), max_size=5))
def test_hostile_lines_give_an_answer_or_a_typed_failure_however_they_are_cut(lines: list[Any]):
    stream = b"".join(msgspec.json.encode(one) + b"\n" for one in lines)

    outcome = play(OllamaReader(REQUEST), [stream])

    assert play(OllamaReader(REQUEST), bytewise(stream)) == outcome


@given(st.binary(max_size=80))
def test_arbitrary_bytes_give_an_answer_or_a_typed_failure(stream: bytes):
    _, end = play(OllamaReader(REQUEST), [stream])

    assert not isinstance(end, Problem) or end.code != "internal"
