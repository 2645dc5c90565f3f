from typing import Any

import pytest

from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.reading.garbled import GARBLED
from actors.streaming.core.reading.reader import MAX_ANSWER_CHARACTERS
from schemas.llm import Answer, ToolCall
from schemas.problems import Problem
from schemas.providers import Provider
from schemas.usage import Usage
from tests.unit.streaming.chats import (
    CUSTOM,
    CUT,
    DONE,
    OPENAI,
    chunk,
    event,
    failure,
    read,
    reader,
)
from tests.wires import play, sse


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
        ("function_call", "stop"),
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
        message="The provider sent something that is no event.",
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
