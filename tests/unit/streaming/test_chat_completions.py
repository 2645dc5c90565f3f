from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.reader import MAX_ANSWER_CHARACTERS
from actors.streaming.core.wires.openai_chat.reader import GARBLED, ChatReader, usage_of
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Custom, OpenAI, Provider
from schemas.usage import Usage
from tests.wires import answered, failed, play, sse

OPENAI = OpenAI(model="m")
CUSTOM = Custom(model="m", base_url="http://localhost/v1")
DONE = sse("[DONE]")
CUT = Problem(
    code="provider_error",
    message="The provider ended the stream in mid-answer.",
    retryable=True,
)


def reader(provider: Provider = OPENAI) -> ChatReader:
    messages = [ChatMessage(role="user", content="Hello")]
    request = GenerateRequest(provider=provider, messages=messages)
    return ChatReader(request, done_suffices=provider is CUSTOM)


def chunk(finish: str | None = None, /, **delta: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


def event(**fields: Any) -> bytes:
    return sse(fields)


def read(*events: bytes, provider: Provider = OPENAI) -> tuple[list[Delta], Answer]:
    return answered(reader(provider), events)


def failure(*events: bytes, provider: Provider = OPENAI) -> Problem:
    return failed(reader(provider), events)


def test_an_answer_is_its_pieces_in_order_with_the_reason_usage_and_model():
    usage = event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2}, model="m-1")

    deltas, answer = read(
        chunk(role="assistant", content=""),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk("length"),
        usage,
        DONE,
    )

    assert deltas == [TextDelta("Hel"), TextDelta("lo")]
    assert answer == Answer(
        text="Hello",
        finish_reason="length",
        usage=Usage(input=7, output=2),
        model_served="m-1",
        provider_finish_reason="length",
        raw_usage={"prompt_tokens": 7, "completion_tokens": 2},
    )


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_apart_from_the_text_under_both_of_its_names(name: str):
    deltas, answer = read(chunk(**{name: "Hm."}), chunk(content="Yes"), chunk("stop"), DONE)

    assert deltas == [ReasoningDelta("Hm."), TextDelta("Yes")]
    assert (answer.text, answer.reasoning) == ("Yes", "Hm.")


def test_content_may_come_in_typed_parts():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
        {"type": "thinking", "thinking": "."},
        {"type": "text", "text": "Yes"},
        {"type": "reference", "reference_ids": [1]},
    ]

    deltas, _ = read(chunk(content=parts), chunk("stop"), DONE, provider=CUSTOM)

    assert deltas == [ReasoningDelta("Hm"), ReasoningDelta("."), TextDelta("Yes")]


def test_a_refusal_is_text_with_its_own_reason():
    _, answer = read(chunk(refusal="I can"), chunk(refusal="not."), chunk("stop"), DONE)

    assert (answer.text, answer.finish_reason) == ("I cannot.", "refusal")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("never heard of", "other"),
    ],
)
def test_every_finish_reason_has_a_known_name(sent: str, reason: str):
    assert read(chunk(content="x"), chunk(sent), DONE)[1].finish_reason == reason


def test_only_the_first_choice_counts_and_its_index_may_be_missing():
    other = event(choices=[{"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}])
    first = event(choices=[{"delta": {"content": "yes"}}])

    assert read(first, other, chunk("stop"), DONE)[1].text == "yes"


def test_chunks_without_choices_delta_or_anything_known_are_passed_over():
    empty = [
        event(choices=[], model="", prompt_filter_results=[]),
        event(choices=None),
        event(choices=[{"index": 0, "delta": None, "finish_reason": None}]),
        event(choices=[{"index": 0, "finish_reason": ""}]),
        event(choices=[{"index": 0, "delta": {"content": None, "tool_calls": None}}]),
        event(error=None, usage=None),
        event(type="ping"),
        sse(""),
    ]

    deltas, answer = read(*empty, chunk(content="x"), chunk("stop"), DONE)

    assert (deltas, answer.model_served) == ([TextDelta("x")], None)


# The end


def test_without_done_the_finish_reason_is_the_end():
    assert read(chunk(content="x"), chunk("stop"))[1].text == "x"


@pytest.mark.parametrize("provider", [OPENAI, CUSTOM])
def test_without_any_terminal_event_the_answer_was_cut(provider: Provider):
    assert failure(chunk(content="x"), provider=provider) == CUT
    assert failure(provider=provider) == CUT


def test_done_alone_ends_the_answer_of_a_compatible_server_only():
    assert read(chunk(content="x"), DONE, provider=CUSTOM)[1].finish_reason == "stop"
    assert failure(chunk(content="x"), DONE) == CUT


def test_done_alone_after_nothing_is_no_answer():
    assert failure(DONE, provider=CUSTOM) == CUT


def test_nothing_counts_after_done():
    deltas, _ = read(chunk(content="x"), chunk("stop"), DONE, chunk(content="y"))

    assert deltas == [TextDelta("x")]


def test_half_a_chunk_at_the_cut_fails_an_answer_that_was_not_whole_and_no_other():
    half = b'data: {"choices":[{"ind'

    assert read(chunk(content="x"), chunk("stop"), half)[1].text == "x"
    assert failure(chunk(content="x"), half).message == GARBLED.message


def test_an_unreadable_event_fails_the_call_and_loses_no_other():
    deltas, problem = play(reader(), [chunk(content="a"), sse("{"), chunk(content="b"), DONE])

    assert (deltas, problem) == ([TextDelta("a"), TextDelta("b")], GARBLED)


def test_what_came_in_the_same_read_before_an_error_is_not_lost():
    broken = event(error={"message": "x", "type": "overloaded_error"})

    deltas, problem = play(reader(), [chunk(content="a") + broken + chunk(content="b")])

    assert deltas == [TextDelta("a")]
    assert isinstance(problem, Problem)
    assert problem.code == "provider_overloaded"


# Errors inside the stream


@pytest.mark.parametrize(
    "event",
    [
        event(error={"message": "secret words", "code": 502}),
        event(error={"message": "x"}, choices=[{"index": 0, "delta": {"content": ""}}]),
        event(error="upstream went away"),
        event(x_groq={"error": "over capacity"}),
        sse("{}", name="error"),
        sse("{", name="error"),
        chunk("error"),
    ],
)
def test_an_error_fails_the_call_wherever_it_stands(event: bytes):
    for events in ([event], [chunk(content="x"), event], [chunk("length"), event, DONE]):
        problem = failure(*events)
        assert (problem.code, problem.retryable) == ("provider_error", True)
        assert "secret words" not in str(problem)


@pytest.mark.parametrize("data", ["garbage", "[]", '"x"', '{"choices":3}', "{" * 100_000])
def test_what_is_no_chunk_fails_the_call(data: str):
    assert failure(chunk(content="x"), sse(data)) == Problem(
        code="provider_error",
        message="The provider sent something that is no chunk.",
        retryable=True,
    )


def test_an_answer_beyond_all_bounds_is_refused():
    piece = chunk(content="x" * (MAX_ANSWER_CHARACTERS // 8))

    problem = failure(*[piece] * 9)

    assert (problem.code, problem.retryable) == ("provider_error", False)


# Tool calls


def part(index: int | None = None, **fields: Any) -> dict[str, Any]:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return {"function": function, **fields} | ({} if index is None else {"index": index})


WEATHER = ToolCall(id="a", name="weather", arguments='{"city":"Oslo"}')
TIME = ToolCall(id="b", name="time", arguments="{}")


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            [
                [part(0, id="a", name="weather", arguments="")],
                [part(0, arguments='{"city":')],
                [part(1, id="b", name="time", arguments="")],
                [part(0, arguments='"Oslo"}')],
            ],
            id="interleaved by index",
        ),
        pytest.param(
            [
                [part(0, id="a", name="weather", arguments='{"city":"Oslo"}')],
                [part(0, id="b", name="time", arguments="{}")],
            ],
            id="all with index 0",
        ),
        pytest.param(
            [
                [part(id="a", name="weather", arguments='{"city"'), part(arguments=':"Oslo"}')],
                [part(id="b", name="time")],
            ],
            id="no index",
        ),
        pytest.param(
            [
                [part(id="a", name="weather", arguments='{"city":')],
                [part(id="b", name="time")],
                [part(id="a", arguments='"Oslo"}')],
            ],
            id="no index, interleaved by id",
        ),
        pytest.param(
            [
                [part(0, id="a", name="weather", arguments='{"city":')],
                [part(0, id="a", name="weather", arguments='"Oslo"}')],
                [part(1, id="b", name="time", arguments=None)],
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [
                [
                    part(0, id="a", name="weather", arguments={"city": "Oslo"}),
                    part(1, id="b", name="time", arguments={}),
                ]
            ],
            id="arguments as objects",
        ),
    ],
)
def test_tool_calls_are_put_together_however_they_are_marked(parts: list[list[dict[str, Any]]]):
    chunks = [chunk(tool_calls=some) for some in parts]

    deltas, answer = read(*chunks, chunk("tool_calls"), DONE)

    assert deltas == answer.tool_calls == [WEATHER, TIME]


def test_calls_without_ids_are_told_apart_by_name_and_named_by_place():
    calls = [part(0, name="weather", arguments="{}"), part(0, name="time", arguments="{}")]

    assert read(chunk(tool_calls=calls), chunk("stop"), DONE)[1].tool_calls == [
        ToolCall(id="call_0", name="weather", arguments="{}"),
        ToolCall(id="call_1", name="time", arguments="{}"),
    ]


def test_calls_of_one_tool_without_ids_are_told_apart_by_their_whole_arguments():
    calls = [
        part(0, name="time", arguments='{"zone"'),
        part(0, name="time", arguments=':"a"}'),
        part(0, name="time", arguments=""),
        part(0, name="time", arguments='{"zone":"b"}'),
    ]

    assert read(chunk(tool_calls=calls), chunk("tool_calls"))[1].tool_calls == [
        ToolCall(id="call_0", name="time", arguments='{"zone":"a"}'),
        ToolCall(id="call_1", name="time", arguments='{"zone":"b"}'),
    ]


def test_the_older_form_of_a_call_is_read_as_well():
    parts = [{"name": "time", "arguments": ""}, {"arguments": '{"zone":'}, {"arguments": '"a"}'}]
    chunks = [chunk(function_call=one) for one in parts]

    _, answer = read(*chunks, chunk("function_call"))

    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == [ToolCall(id="call_0", name="time", arguments='{"zone":"a"}')]


def test_reasoning_goes_back_beside_the_calls_it_led_to_where_a_server_wants_it():
    calls = [part(0, id="a", name="time")]

    _, calling = read(chunk(reasoning_content="Hm."), chunk(tool_calls=calls), chunk("tool_calls"))
    _, telling = read(chunk(reasoning_content="Hm."), chunk(content="x"), chunk("stop"))

    assert [block.raw for block in calling.blocks] == [{"reasoning_content": "Hm."}]
    assert telling.blocks == []


def test_malformed_arguments_stay_as_they_came():
    calls = [part(0, id="a", name="weather", arguments='{"city": Oslo')]

    assert read(chunk(tool_calls=calls), chunk("tool_calls"))[1].tool_calls == [
        ToolCall(id="a", name="weather", arguments='{"city": Oslo')
    ]


def test_a_stop_with_tool_calls_waits_for_its_tools():
    calls = [part(0, id="b", name="time")]

    assert read(chunk(tool_calls=calls), chunk("stop"))[1].finish_reason == "tool_calls"
    assert read(chunk(tool_calls=calls), DONE, provider=CUSTOM)[1].finish_reason == "tool_calls"
    assert read(chunk(tool_calls=calls), chunk("length"))[1].finish_reason == "length"


@pytest.mark.parametrize(
    "calls",
    [
        [part(n, id=str(n), name="x") for n in range(200)],
        [part(0, id="a", name="x", arguments="x" * 600_000)],
    ],
)
def test_tool_calls_beyond_all_bounds_are_refused(calls: list[dict[str, Any]]):
    problem = failure(chunk(tool_calls=calls))

    assert (problem.code, problem.retryable) == ("provider_error", False)


# Usage


@pytest.mark.parametrize(
    ("sent", "usage"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 2}, Usage(input=7, output=2)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(input=10, cache_read=60, cache_write=30, output=20, reasoning=15),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(input=100, output=35, reasoning=15),
        ),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, Usage(input=5, cache_read=4)),
        ({"prompt_tokens": 7.0, "completion_tokens": None}, Usage(input=7)),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(input=5, cache_read=9),
        ),
        ({"prompt_tokens": -1, "prompt_tokens_details": None}, Usage()),
        (
            {
                "prompt_tokens": 50,
                "completion_tokens": 30,
                "prompt_tokens_details": {"audio_tokens": 40},
                "completion_tokens_details": {"audio_tokens": 25},
            },
            Usage(input=10, output=5, audio_input=40, audio_output=25),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 1,
                "prompt_tokens_details": {"audio_tokens": 50, "cached_tokens": 90},
            },
            Usage(cache_read=50, audio_cached=40, audio_input=10, output=1),
        ),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(input=5, cache_read=4)),
        (
            {
                "prompt_tokens": 9,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            Usage(input=2, cache_read=4, cache_write=3),
        ),
        (
            {
                "prompt_tokens": 33,
                "completion_tokens": 7_163,
                "total_tokens": 7_196,
                "citation_tokens": 20_016,
                "num_search_queries": 18,
                "reasoning_tokens": 73_997,
            },
            Usage(input=33, output=101_176, reasoning=73_997, citation=20_016, searches=18),
        ),
    ],
)
def test_usage_goes_into_buckets_that_never_overlap(sent: dict[str, Any], usage: Usage):
    assert usage_of(sent, "exact") == usage


@given(
    prompt=st.integers(0, 100),
    cached=st.integers(0, 100),
    written=st.integers(0, 100),
    heard=st.integers(0, 100),
    heard_again=st.integers(0, 100),
)
def test_the_buckets_of_a_prompt_sum_up_to_what_was_told_of_it(
    prompt: int, cached: int, written: int, heard: int, heard_again: int
):
    details = {
        "cached_tokens": cached,
        "cache_write_tokens": written,
        "audio_tokens": heard,
        "cached_tokens_details": {"audio_tokens": heard_again},
    }
    usage = usage_of({"prompt_tokens": prompt, "prompt_tokens_details": details}, "exact")

    if cached + written <= prompt and heard <= prompt - written:
        assert usage.prompt == prompt
        assert usage.audio_input + usage.audio_cached == heard
    assert (usage.cache_read + usage.audio_cached, usage.written) == (cached, written)


def test_the_last_usage_counts_and_none_is_added_up():
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    events = [
        chunk(content="x"),
        event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1}),
        chunk("stop"),
        event(choices=[], usage=usage, x_groq={"usage": usage}),
        event(choices=[], x_groq={"usage": usage}),
    ]

    assert read(*events, DONE)[1].usage == Usage(input=7, output=2)


def test_missing_usage_is_estimated_and_says_so():
    assert read(chunk(reasoning="Hm..", content="Hello"), chunk("stop"))[1].usage == Usage(
        input=6, output=3, reasoning=1, quality="estimated"
    )


def test_a_cut_call_has_spent_what_the_provider_last_said_else_an_estimate():
    silent, telling = reader(), reader()
    silent.feed(chunk(content="Hello"))
    telling.feed(event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1}))

    assert silent.spent() == Usage(input=6, output=2, quality="estimated")
    assert telling.spent() == Usage(input=7, output=1, quality="partial_stream")
    telling.feed(chunk("stop"))
    assert telling.spent() == Usage(input=7, output=1)
