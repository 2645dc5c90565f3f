from typing import Any

import pytest

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.wires.anthropic import request as messages
from actors.streaming.core.wires.anthropic.reader import MessagesReader, usage_of
from schemas.llm import Answer, ChatMessage, GenerateRequest, ProviderBlock, ToolCall
from schemas.problems import Problem
from schemas.providers import Anthropic
from schemas.usage import Usage
from tests.wires import answered, failed, play, sse

CUT = Problem(
    code="provider_error",
    message="The provider ended the stream in mid-answer.",
    retryable=True,
)
START = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 9}}}


def reader() -> MessagesReader:
    hello = [ChatMessage(role="user", content="Hello")]
    return MessagesReader(GenerateRequest(provider=Anthropic(model="m"), messages=hello))


def event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def begun(index: int, kind: str, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **block})


def grown(index: int, kind: str, **delta: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **delta})


def closed(index: int) -> bytes:
    return event("content_block_stop", index=index)


def stopped(reason: str | None = "end_turn", **usage: Any) -> list[bytes]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        event("message_delta", delta=delta, usage={"output_tokens": 5} | usage),
        event("message_stop"),
    ]


def read(*events: bytes) -> tuple[list[Delta], Answer]:
    return answered(reader(), [sse(START, "message_start"), *events])


def text(*pieces: str, index: int = 0) -> list[bytes]:
    deltas = [grown(index, "text_delta", text=piece) for piece in pieces]
    return [begun(index, "text", text=""), *deltas, closed(index)]


def test_an_answer_is_its_pieces_with_the_reason_usage_and_model():
    deltas, answer = read(*text("Hel", "lo"), *stopped("max_tokens"))

    assert deltas == [TextDelta("Hel"), TextDelta("lo")]
    assert answer == Answer(
        text="Hello",
        finish_reason="length",
        usage=Usage(input=9, output=5),
        model_served="claude-x",
        provider_finish_reason="max_tokens",
        raw_usage={"input_tokens": 9, "output_tokens": 5},
    )


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "pause"),
        ("compaction", "pause"),
        ("something new", "other"),
        (None, "other"),
    ],
)
def test_every_stop_reason_has_a_known_name(sent: str | None, reason: str):
    assert read(*text("x"), *stopped(sent))[1].finish_reason == reason


def test_a_refusal_may_have_no_content_at_all():
    _, answer = read(*stopped("refusal"))

    assert (answer.text, answer.finish_reason) == ("", "refusal")


def test_thinking_is_reasoning_and_is_kept_with_its_signature_for_the_next_turn():
    thinking = [
        begun(0, "thinking", thinking="", signature=""),
        grown(0, "thinking_delta", thinking="Let me "),
        grown(0, "thinking_delta", thinking="see."),
        grown(0, "signature_delta", signature="c2ln"),
        closed(0),
    ]

    deltas, answer = read(*thinking, *text("Yes", index=1), *stopped())

    assert deltas == [ReasoningDelta("Let me "), ReasoningDelta("see."), TextDelta("Yes")]
    assert answer.reasoning == "Let me see."
    assert answer.blocks == [
        ProviderBlock(
            wire="anthropic",
            raw={"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
        )
    ]


def test_omitted_thinking_is_kept_by_its_signature_alone():
    omitted = [
        begun(0, "thinking", thinking="", signature=""),
        grown(0, "signature_delta", signature="c2ln"),
        closed(0),
    ]

    _, answer = read(*omitted, *text("x", index=1), *stopped())

    assert answer.reasoning == ""
    assert answer.blocks[0].raw == {"type": "thinking", "thinking": "", "signature": "c2ln"}


def test_blocks_go_back_unchanged_and_in_their_places():
    events = [
        begun(0, "redacted_thinking", data="AAAA"),
        closed(0),
        *text("First. ", index=1),
        begun(2, "server_tool_use", id="srv_1", name="web_search", input={}),
        grown(2, "input_json_delta", partial_json='{"query":'),
        grown(2, "input_json_delta", partial_json='"cats"}'),
        closed(2),
        begun(3, "web_search_tool_result", tool_use_id="srv_1", content=[{"title": "Cats"}]),
        closed(3),
        *text("Second.", index=4),
        begun(5, "tool_use", id="t1", name="save", input={}),
        grown(5, "input_json_delta", partial_json='{"a":1}'),
        closed(5),
    ]
    _, answer = read(*events, *stopped("tool_use"))
    said = ChatMessage(
        role="assistant",
        content=answer.text,
        tool_calls=answer.tool_calls,
        blocks=answer.blocks,
    )
    result = ChatMessage(role="tool", content="saved", tool_call_id="t1")
    asked = GenerateRequest(provider=Anthropic(model="m"), messages=[said, result])

    turns = messages.body(asked)["messages"]

    assert turns == [
        {
            "role": "assistant",
            "content": [
                {"type": "redacted_thinking", "data": "AAAA"},
                {"type": "text", "text": "First. "},
                {
                    "type": "server_tool_use",
                    "id": "srv_1",
                    "name": "web_search",
                    "input": {"query": "cats"},
                },
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "srv_1",
                    "content": [{"title": "Cats"}],
                },
                {"type": "text", "text": "Second."},
                {"type": "tool_use", "id": "t1", "name": "save", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "saved"}],
                }
            ],
        },
    ]


def test_calls_may_interleave_with_other_blocks_and_have_no_arguments():
    events = [
        begun(0, "tool_use", id="a", name="weather", input={}),
        begun(1, "tool_use", id="b", name="time", input={}),
        grown(0, "input_json_delta", partial_json=""),
        grown(0, "input_json_delta", partial_json='{"city":'),
        grown(1, "input_json_delta", partial_json=""),
        grown(0, "input_json_delta", partial_json='"Oslo"}'),
        closed(1),
        closed(0),
    ]

    deltas, answer = read(*events, *stopped("tool_use"))

    assert answer.finish_reason == "tool_calls"
    assert deltas == answer.tool_calls
    assert answer.tool_calls == [
        ToolCall(id="a", name="weather", arguments='{"city":"Oslo"}'),
        ToolCall(id="b", name="time", arguments="{}"),
    ]


def test_a_call_may_begin_with_its_arguments():
    call = begun(0, "tool_use", id="a", name="weather", input={"city": "Oslo"})

    assert read(call, closed(0), *stopped("tool_use"))[1].tool_calls[0].arguments == (
        '{"city":"Oslo"}'
    )


def test_what_is_not_known_is_passed_over():
    unknown = [
        event("ping"),
        event("something_new", data=1),
        begun(7, "text", text="", citations=[]),
        grown(7, "citations_delta", citation={"type": "page"}),
        grown(7, "never_heard_of", what="x"),
        grown(9, "text_delta", text="lone"),
        closed(9),
        sse({"unexpected": True}),
        sse(""),
    ]

    assert read(*unknown, *stopped())[1].text == "lone"


def test_a_compaction_is_kept():
    events = [
        begun(0, "compaction", content=None),
        grown(0, "compaction_delta", content="Summary"),
        closed(0),
    ]

    (block,) = read(*events, *stopped("compaction"))[1].blocks

    assert block.raw == {"type": "compaction", "content": "Summary"}


# The end and errors


def test_without_its_last_event_a_message_was_cut():
    stop, _ = stopped()

    assert failed(reader(), [sse(START), *text("Hello")]) == CUT
    assert failed(reader(), [sse(START), *text("Hello"), stop]) == CUT


@pytest.mark.parametrize(
    ("kind", "code", "retryable"),
    [
        ("overloaded_error", "provider_overloaded", True),
        ("api_error", "provider_error", True),
        ("rate_limit_error", "rate_limited", True),
        ("timeout_error", "timeout", True),
        ("invalid_request_error", "provider_error", False),
        ("never_heard_of", "provider_error", True),
    ],
)
def test_an_error_in_the_stream_is_a_failure_that_keeps_what_came_before(
    kind: str, code: str, retryable: bool
):
    error = event("error", error={"type": kind, "message": "secret words"})

    deltas, problem = play(reader(), [sse(START), b"".join(text("Hel")) + error])

    assert deltas == [TextDelta("Hel")]
    assert isinstance(problem, Problem)
    assert (problem.code, problem.retryable) == (code, retryable)
    assert "secret" not in str(problem)


def test_an_unreadable_event_fails_the_call_and_loses_no_other():
    deltas, problem = play(reader(), [*text("a"), sse("{"), *text("b"), *stopped()])

    assert deltas == [TextDelta("a"), TextDelta("b")]
    assert isinstance(problem, Problem)
    assert problem.message == "The provider sent something that is no event."


def test_a_stream_of_nonsense_is_given_up():
    whole = reader()
    whole.feed(b"data: {\n\n" * 1000)

    assert whole.done
    assert failed(reader(), [b"data: {\n\n" * 1000]).code == "provider_error"


# Usage


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        ({"input_tokens": 7, "output_tokens": 2}, Usage(input=7, output=2)),
        (
            {
                "input_tokens": 7,
                "cache_read_input_tokens": 40,
                "cache_creation_input_tokens": 30,
                "output_tokens": 2,
            },
            Usage(input=7, cache_read=40, cache_write_5m=30, output=2),
        ),
        (
            {
                "input_tokens": 7,
                "cache_creation_input_tokens": 30,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 10,
                    "ephemeral_1h_input_tokens": 20,
                },
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 4},
                "server_tool_use": {"web_search_requests": 2},
            },
            Usage(input=7, cache_write_5m=10, cache_write_1h=20, output=9, reasoning=4, searches=2),
        ),
    ],
)
def test_usage_goes_into_buckets_that_never_overlap(raw: dict[str, Any], usage: Usage):
    assert usage_of(raw, "exact") == usage


def test_the_last_word_on_usage_counts_and_unsaid_fields_stay():
    late: dict[str, Any] = {
        "input_tokens": 12,
        "cache_read_input_tokens": None,
        "output_tokens": 20,
    }

    assert read(*text("x"), *stopped(**late))[1].usage == Usage(input=12, output=20)


def test_what_an_advisor_and_a_compaction_used_is_told_by_model():
    iterations = [
        {"type": "message", "input_tokens": 9, "output_tokens": 5},
        {"type": "advisor_message", "model": "claude-y", "input_tokens": 3, "output_tokens": 1},
        {"type": "compaction", "input_tokens": 100, "output_tokens": 10},
    ]

    _, answer = read(*text("x"), *stopped(iterations=iterations))

    assert answer.usage == Usage(input=9, output=5)
    assert answer.side_usage == {
        "claude-y": Usage(input=3, output=1),
        "claude-x": Usage(input=100, output=10),
    }


def test_where_another_model_takes_over_it_has_served_and_the_one_that_declined_is_told_apart():
    hop = {"from": {"model": "claude-x"}, "to": {"model": "claude-y"}, "trigger": {"type": "x"}}
    iterations = [
        {"type": "message", "model": "claude-x", "input_tokens": 40, "output_tokens": 1},
        {"type": "message", "model": "claude-y", "input_tokens": 4, "output_tokens": 2},
        {"type": "fallback_message", "model": "claude-y", "input_tokens": 5, "output_tokens": 3},
    ]

    _, answer = read(
        *text("Before. "),
        begun(1, "fallback", **hop),
        closed(1),
        *text("After.", index=2),
        *stopped(iterations=iterations),
    )

    assert (answer.text, answer.model_served) == ("Before. After.", "claude-y")
    assert answer.usage == Usage(input=9, output=5)
    assert answer.side_usage == {"claude-x": Usage(input=40, output=1)}
    assert [block.raw for block in answer.blocks] == [{"type": "fallback", **hop}]


def test_a_compaction_goes_back_with_all_that_came_of_it():
    _, answer = read(
        begun(0, "compaction", content=None),
        grown(0, "compaction_delta", content="They said hello.", encrypted_content="b3BhcXVl"),
        closed(0),
        *text("Hi", index=1),
        *stopped(),
    )

    made = {"content": "They said hello.", "encrypted_content": "b3BhcXVl"}
    assert [block.raw for block in answer.blocks] == [{"type": "compaction", **made}]
    assert (answer.text, answer.reasoning) == ("Hi", "")


def test_of_a_cut_message_the_input_is_known_and_the_output_guessed():
    partial = reader()
    partial.feed(sse(START) + b"".join(text("four words of text")))

    assert partial.spent() == Usage(input=9, output=5, quality="partial_stream")


def test_pings_are_life_and_no_progress():
    alive = reader()
    alive.feed(sse(START))
    steps = alive.steps
    alive.feed(event("ping") + b": comment\n\n")

    assert (steps, alive.steps) == (1, 1)
