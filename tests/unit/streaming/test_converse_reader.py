"""ConverseStream by hand, where recordings are thin: reasoning, caches, failures in mid-stream."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.aws.framings import InvokeFraming, NovaFraming
from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.titan.reader import TitanReader
from schemas.llm import Answer, ChatMessage, GenerateRequest, ProviderBlock, ToolCall
from schemas.problems import Problem
from schemas.providers import Bedrock
from schemas.usage import Usage
from tests.frames import chunk, event, exception, message
from tests.wires import answered, bytewise, failed, play

MODEL = "eu.anthropic.claude-sonnet-4-5-v1:0"
REQUEST = GenerateRequest(
    provider=Bedrock(model=MODEL, region="eu-central-1"),
    messages=[ChatMessage(role="user", content="Hello")],
)
START = event("messageStart", role="assistant")
USED = event("metadata", usage={"inputTokens": 7, "outputTokens": 2, "totalTokens": 9})


def stop(reason: str = "end_turn") -> bytes:
    return event("messageStop", stopReason=reason)


def grown(index: int, **delta: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=delta)


def closed(index: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


def begun(index: int, **tool: Any) -> bytes:
    return event("contentBlockStart", contentBlockIndex=index, start={"toolUse": tool})


def read(*stream: bytes) -> Answer:
    body = b"".join(stream)
    result = answered(ConverseReader(REQUEST), [body])
    assert answered(ConverseReader(REQUEST), bytewise(body)) == result
    return result[1]


def failure(*stream: bytes) -> Problem:
    body = b"".join(stream)
    problem = failed(ConverseReader(REQUEST), [body])
    assert failed(ConverseReader(REQUEST), bytewise(body)) == problem
    return problem


def test_signed_reasoning_is_told_apart_from_text_and_kept_to_be_sent_back():
    answer = read(
        START,
        grown(0, reasoningContent={"text": "Hm"}),
        grown(0, reasoningContent={"text": "."}),
        grown(0, reasoningContent={"signature": "c2ln"}),
        closed(0),
        grown(1, text="Yes"),
        closed(1),
        stop(),
        USED,
    )

    told = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
    assert answer == Answer(
        text="Yes",
        reasoning="Hm.",
        finish_reason="stop",
        provider_finish_reason="end_turn",
        usage=Usage(input=7, output=2),
        raw_usage={"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
        model_served=MODEL,
        blocks=[ProviderBlock(wire="converse", raw=told)],
    )


def test_redacted_reasoning_is_kept_though_nobody_can_read_it():
    hidden = [grown(0, reasoningContent={"redactedContent": part}) for part in ("AQI=", "Aw==")]

    answer = read(START, *hidden, stop(), USED)

    assert answer.reasoning == ""
    assert [block.raw for block in answer.blocks] == [
        {"reasoningContent": {"redactedContent": "AQID"}}
    ]


def test_parallel_calls_are_told_apart_by_the_index_of_their_blocks():
    answer = read(
        START,
        grown(0, text="Both:"),
        begun(1, toolUseId="t1", name="weather"),
        begun(2, toolUseId="t2", name="time"),
        grown(1, toolUse={"input": '{"city":'}),
        grown(2, toolUse={"input": ""}),
        grown(1, toolUse={"input": '"Rome"}'}),
        closed(1),
        closed(2),
        stop("tool_use"),
        USED,
    )

    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == [
        ToolCall(id="t1", name="weather", arguments='{"city":"Rome"}'),
        ToolCall(id="t2", name="time", arguments="{}"),
    ]


def test_tools_that_the_server_runs_itself_are_no_calls():
    answer = read(
        START,
        begun(0, toolUseId="s1", name="nova_grounding", type="server_tool_use"),
        grown(0, toolUse={"input": "{}"}),
        grown(1, text="Found."),
        stop(),
        USED,
    )

    assert (answer.text, answer.tool_calls) == ("Found.", [])


def test_what_caches_served_and_stored_has_buckets_of_its_own():
    usage = {
        "inputTokens": 5,
        "outputTokens": 2,
        "cacheReadInputTokens": 100,
        "cacheWriteInputTokens": 60,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 40}, {"ttl": "5m", "inputTokens": 15}],
    }

    answer = read(START, grown(0, text="Hi"), stop(), event("metadata", usage=usage))

    assert answer.usage == Usage(
        input=5, output=2, cache_read=100, cache_write=5, cache_write_5m=15, cache_write_1h=40
    )


def test_the_model_that_a_router_chose_is_the_one_that_served():
    trace = {"promptRouter": {"invokedModelId": "amazon.nova-lite-v1:0"}}
    metadata = event("metadata", usage={"inputTokens": 1, "outputTokens": 1}, trace=trace)

    assert (
        read(START, grown(0, text="Hi"), stop(), metadata).model_served == "amazon.nova-lite-v1:0"
    )


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("content_filtered", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("something_new", "other"),
    ],
)
def test_reasons_for_the_end_are_translated_and_the_word_is_kept(word: str, reason: str):
    answer = read(START, grown(0, text="Hi"), stop(word), USED)

    assert (answer.finish_reason, answer.provider_finish_reason) == (reason, word)


def test_unknown_events_blocks_and_fields_are_passed_over():
    answer = read(
        START,
        event("somethingNew", value=[1, 2]),
        grown(0, citation={"title": "x"}),
        grown(0, text="Hi", unheard={"of": 1}),
        event("contentBlockStart", contentBlockIndex=3, start={"image": {"format": "png"}}),
        stop(),
        USED,
    )

    assert answer.text == "Hi"


def test_an_answer_without_metadata_is_whole_and_its_usage_estimated():
    answer = read(START, grown(0, text="Hi"), stop())

    assert (answer.text, answer.usage.quality) == ("Hi", "estimated")


def test_metadata_ends_the_reading():
    reader = ConverseReader(REQUEST)

    reader.feed(START + grown(0, text="Hi") + stop())
    assert (reader.whole, reader.done) == (True, False)

    reader.feed(USED)
    assert reader.done


def test_a_stream_that_ends_before_message_stop_is_a_failure():
    assert failure(START, grown(0, text="Hi"), closed(0)) == Problem(
        code="provider_error",
        message="The provider ended the stream in mid-answer.",
        retryable=True,
    )


def test_a_stream_that_ends_within_a_message_is_a_failure():
    whole = START + grown(0, text="Hi") + stop()

    assert failure(whole[:-1]).code == "provider_error"


@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [
        ("throttlingException", "rate_limited", True),
        ("serviceUnavailableException", "provider_overloaded", True),
        ("modelStreamErrorException", "provider_error", True),
        ("internalServerException", "provider_error", True),
        ("modelTimeoutException", "timeout", True),
        ("validationException", "provider_error", False),
        ("somethingNewException", "provider_error", True),
    ],
)
def test_an_exception_in_mid_stream_is_typed_by_its_name_and_loses_no_delta(
    name: str, code: str, retryable: bool
):
    stream = START + grown(0, text="Hi") + exception(name)

    deltas, problem = play(ConverseReader(REQUEST), [stream])

    assert deltas == [TextDelta("Hi")]
    assert isinstance(problem, Problem)
    assert (problem.code, problem.retryable) == (code, retryable)
    assert problem.details == {"provider_code": name[:1].upper() + name[1:]}
    assert "secret words" not in str(problem)


def test_an_error_message_is_typed_by_its_code():
    error = message({}, message_type="error", error_code="ThrottlingException", error_message="x")

    assert failure(START, error).code == "rate_limited"


def test_a_broken_checksum_ends_the_stream_and_loses_no_delta():
    broken = bytearray(grown(0, text="there"))
    broken[-1] ^= 1

    deltas, problem = play(ConverseReader(REQUEST), [START + grown(0, text="Hi") + broken])

    assert deltas == [TextDelta("Hi")]
    assert problem == Problem(
        code="provider_error", message="The provider's stream breaks all bounds."
    )


def test_an_unreadable_event_fails_the_call_but_not_the_deltas_behind_it():
    garbled = event("contentBlockDelta", contentBlockIndex="x", delta=7)

    deltas, problem = play(
        ConverseReader(REQUEST), [START + garbled + grown(0, text="Hi") + stop() + USED]
    )

    assert deltas == [TextDelta("Hi")]
    assert problem == Problem(
        code="provider_error",
        message="The provider sent something that is no event.",
        retryable=True,
    )


def test_novas_own_format_is_the_same_with_each_event_under_its_name():
    usage = {"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokenCount": 4}
    metrics = {"inputTokenCount": 3, "outputTokenCount": 2}
    stream = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi"}}},
        {"contentBlockStop": {"contentBlockIndex": 0}, "amazon-bedrock-guardrailAction": "NONE"},
        {
            "contentBlockStart": {
                "contentBlockIndex": 1,
                "start": {"toolUse": {"toolUseId": "t", "name": "f"}},
            }
        },
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": {"a": 1}}}}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": usage}, "amazon-bedrock-invocationMetrics": metrics},
    ]

    _, answer = answered(ConverseReader(REQUEST, NovaFraming()), [b"".join(map(chunk, stream))])

    assert answer.text == "Hi"
    assert answer.tool_calls == [ToolCall(id="t", name="f", arguments='{"a":1}')]
    assert answer.usage == Usage(input=3, output=2, cache_read=4)


def test_an_answer_of_titan_ends_with_the_reason_and_is_counted_by_bedrock():
    metrics = {"inputTokenCount": 5, "outputTokenCount": 3}
    stream = [
        {"outputText": "Hel", "inputTextTokenCount": 4},
        {
            "outputText": "lo",
            "completionReason": "FINISH",
            "totalOutputTextTokenCount": 3.0,
            "amazon-bedrock-invocationMetrics": metrics,
        },
    ]

    deltas, answer = answered(TitanReader(REQUEST), [b"".join(map(chunk, stream))])

    assert deltas == [TextDelta("Hel"), TextDelta("lo")]
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")
    assert answer.usage == Usage(input=5, output=3)


def test_an_answer_of_titan_without_a_reason_is_no_answer():
    assert failed(TitanReader(REQUEST), [chunk({"outputText": "Hel"})]).retryable


@pytest.mark.parametrize(
    "payload", [{"bytes": "!"}, {"bytes": "e30", "p": 1}, {}, {"bytes": "W10="}]
)
def test_a_chunk_that_is_none_is_a_typed_failure(payload: Any):
    problem = failed(TitanReader(REQUEST), [event("chunk", **payload)])

    assert problem.code == "provider_error"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
)
KINDS = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"]
)
FIELDS = st.sampled_from(
    ["contentBlockIndex", "start", "delta", "stopReason", "usage", "trace", "toolUse", "text"]
)
BODIES = st.dictionaries(FIELDS, st.one_of(JSON, st.dictionaries(FIELDS, JSON)), max_size=4)


@given(st.lists(st.tuples(st.one_of(KINDS, st.just("metadata")), BODIES), max_size=5))
def test_hostile_events_give_an_answer_or_a_typed_failure(events: list[Any]):
    stream = b"".join(event(kind, **body) for kind, body in events)

    outcome = play(ConverseReader(REQUEST), [stream])

    assert play(ConverseReader(REQUEST), bytewise(stream)) == outcome


@given(st.lists(JSON, max_size=4))
def test_hostile_chunks_give_an_answer_or_a_typed_failure(vendors: list[Any]):
    stream = b"".join(map(chunk, vendors))

    for reader in (ConverseReader(REQUEST, NovaFraming()), TitanReader(REQUEST)):
        play(reader, [stream])
    assert InvokeFraming().finish() is not None


def test_reasoning_and_text_are_published_in_the_order_they_came():
    deltas, _ = answered(
        ConverseReader(REQUEST),
        [START + grown(0, reasoningContent={"text": "Hm"}) + grown(1, text="Yes") + stop() + USED],
    )

    assert deltas == [ReasoningDelta("Hm"), TextDelta("Yes")]


@pytest.mark.parametrize("counts", [{"totalOutputTextTokenCount": 3}, {}])
def test_an_answer_of_titan_is_counted_by_itself_where_bedrock_does_not(counts: dict[str, Any]):
    last = {"outputText": "Hi", "inputTextTokenCount": 4, "completionReason": "LENGTH", **counts}

    _, answer = answered(TitanReader(REQUEST), [chunk(last)])

    assert answer.finish_reason == "length"
    assert answer.usage.quality == ("exact" if counts else "estimated")


def test_an_unreadable_chunk_of_titan_fails_the_call():
    assert failed(TitanReader(REQUEST), [chunk({"outputText": 7})]) == Problem(
        code="provider_error",
        message="The provider sent something that is no event.",
        retryable=True,
    )
