"""Gemini by hand, where recordings are thin: calls, signatures, streamed arguments, refusals."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.reading.garbled import GarbledError
from actors.streaming.core.reading.tool_calls import MAX_ARGUMENT_BYTES
from actors.streaming.core.wires.gemini.arguments import StreamedArguments, steps
from actors.streaming.core.wires.gemini.chunks import PartialArgument
from actors.streaming.core.wires.gemini.reader import GeminiReader, usage_of
from schemas.llm import Answer, ChatMessage, GenerateRequest, ProviderBlock, ToolCall
from schemas.problems import Problem
from schemas.providers import Google
from schemas.usage import Usage
from tests.wires import answered, bytewise, failed, play

REQUEST = GenerateRequest(
    provider=Google(model="gemini-3-pro"), messages=[ChatMessage(role="user", content="Hello")]
)
USED = {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9}


def sse(chunk: Any) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\r\n\r\n"


def chunk(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return sse({"candidates": [candidate], "modelVersion": "gemini-3-pro-001", **more})


def call(**function: Any) -> dict[str, Any]:
    return {"functionCall": function}


def end(finish: str = "STOP") -> bytes:
    return chunk(finish=finish, usageMetadata=USED)


def read(*stream: bytes) -> Answer:
    body = b"".join(stream)
    result = answered(GeminiReader(REQUEST), [body])
    assert answered(GeminiReader(REQUEST), bytewise(body)) == result
    return result[1]


def test_thoughts_are_told_apart_from_text_and_counted_into_the_output():
    used = {**USED, "thoughtsTokenCount": 40, "cachedContentTokenCount": 3}

    answer = read(
        chunk({"text": "Hm.", "thought": True}),
        chunk({"text": "Yes"}, {"text": "!"}),
        chunk(finish="STOP", usageMetadata=used),
    )

    assert answer == Answer(
        text="Yes!",
        reasoning="Hm.",
        finish_reason="stop",
        provider_finish_reason="STOP",
        usage=Usage(input=4, cache_read=3, output=42, reasoning=40),
        raw_usage=used,
        model_served="gemini-3-pro-001",
    )


def test_parallel_calls_without_ids_stay_apart_and_end_with_stop():
    answer = read(
        chunk(call(name="weather", args={"city": "Rome"})),
        chunk(call(name="weather", args={"city": "Oslo"}), call(name="time")),
        end(),
    )

    assert (answer.finish_reason, answer.provider_finish_reason) == ("tool_calls", "STOP")
    assert answer.tool_calls == [
        ToolCall(id="call_0", name="weather", arguments='{"city":"Rome"}'),
        ToolCall(id="call_1", name="weather", arguments='{"city":"Oslo"}'),
        ToolCall(id="call_2", name="time", arguments="{}"),
    ]


def test_a_call_keeps_the_id_that_it_came_with():
    answer = read(chunk(call(name="time", args={}, id="fc-1")), end())

    assert answer.tool_calls == [ToolCall(id="fc-1", name="time", arguments="{}")]


def test_signatures_are_kept_with_their_parts_also_on_empty_texts_and_calls():
    answer = read(
        chunk({"text": "Look: "}, {**call(name="f", args={}), "thoughtSignature": "c2ln"}),
        chunk({"text": "", "thoughtSignature": "ZW5k"}),
        chunk({"text": "done", "thoughtSignature": "dGV4dA=="}),
        end(),
    )

    assert answer.text == "Look: done"
    assert answer.blocks == [
        ProviderBlock(
            wire="gemini",
            raw={"functionCall": {}, "thoughtSignature": "c2ln"},
            after_text=6,
        ),
        ProviderBlock(
            wire="gemini",
            raw={"text": "", "thoughtSignature": "ZW5k"},
            after_text=6,
            after_calls=1,
        ),
        ProviderBlock(
            wire="gemini",
            raw={"text": "done", "thoughtSignature": "dGV4dA=="},
            after_text=6,
            after_calls=1,
        ),
    ]


def test_streamed_arguments_are_put_together_by_their_paths():
    def piece(path: str, **value: Any) -> bytes:
        return chunk(call(partialArgs=[{"jsonPath": path, **value}], willContinue=True))

    answer = read(
        chunk(call(name="book", id="fc-1", willContinue=True)),
        piece("$.city", stringValue="New ", willContinue=True),
        piece("$.city", stringValue="Delhi", willContinue=True),
        piece("$.city", stringValue=""),
        piece("$.nights", numberValue=3),
        piece("$.quiet", boolValue=True),
        piece("$.note", nullValue="NULL_VALUE"),
        piece("$.guests[0].name", stringValue="Ada"),
        piece("$.guests[1]['name']", stringValue="Alan"),
        chunk(call()),
        end(),
    )

    assert [(one.id, one.name) for one in answer.tool_calls] == [("fc-1", "book")]
    assert msgspec.json.decode(answer.tool_calls[0].arguments) == {
        "city": "New Delhi",
        "nights": 3,
        "quiet": True,
        "note": None,
        "guests": [{"name": "Ada"}, {"name": "Alan"}],
    }


def test_a_streamed_call_that_nothing_closes_ends_with_the_answer_or_the_next_call():
    city = {"jsonPath": "$.city", "stringValue": "Ro", "willContinue": True}

    answer = read(
        chunk(call(name="weather", willContinue=True)),
        chunk(call(partialArgs=[city], willContinue=True)),
        chunk(call(name="time", willContinue=True)),
        end(),
    )

    assert [one.arguments for one in answer.tool_calls] == ['{"city":"Ro"}', "{}"]


def test_a_blocked_prompt_is_an_answer_that_says_so():
    answer = read(sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USED}))

    assert answer.text == ""
    assert (answer.finish_reason, answer.provider_finish_reason) == ("content_filter", "SAFETY")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("ESCALATION", "content_filter"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SOMETHING_NEW", "other"),
    ],
)
def test_reasons_for_the_end_are_translated_and_the_word_is_kept(word: str, reason: str):
    answer = read(chunk({"text": "Hi"}), end(word))

    assert (answer.finish_reason, answer.provider_finish_reason) == (reason, word)


def test_a_reason_with_every_chunk_does_not_end_the_answer_early():
    answer = read(
        chunk({"text": "Hel"}, finish="STOP"),
        chunk({"text": "lo"}, finish="MAX_TOKENS"),
        sse({"usageMetadata": USED}),
    )

    assert (answer.text, answer.finish_reason) == ("Hello", "length")
    assert answer.usage == Usage(input=7, output=2)


def test_only_the_first_candidate_is_read():
    other = {"candidates": [{"index": 1, "content": {"parts": [{"text": "no"}]}}]}

    assert read(chunk({"text": "yes"}), sse(other), end()).text == "yes"


def test_unknown_parts_and_chunks_without_candidates_are_passed_over():
    answer = read(
        sse({"responseId": "x"}),
        chunk({"executableCode": {"language": "PYTHON"}}, {"text": "Hi"}),
        sse({"candidates": [{"groundingMetadata": {}}]}),
        sse({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]}),
    )

    assert (answer.text, answer.usage.quality) == ("Hi", "estimated")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": 503, "message": "secret words", "status": "UNAVAILABLE"}, "provider_overloaded"),
        ({"code": 429, "message": "secret words", "status": "RESOURCE_EXHAUSTED"}, "rate_limited"),
        ({"code": 500, "status": "INTERNAL"}, "provider_error"),
        ({"code": 504, "status": "DEADLINE_EXCEEDED"}, "timeout"),
    ],
)
def test_an_error_in_mid_stream_is_typed_and_loses_no_delta(error: Any, code: str):
    deltas, problem = play(GeminiReader(REQUEST), [chunk({"text": "Hi"}) + sse({"error": error})])

    assert deltas == [TextDelta("Hi")]
    assert isinstance(problem, Problem)
    assert (problem.code, problem.retryable) == (code, True)
    assert "secret words" not in str(problem)


def test_a_stream_that_ends_without_a_reason_is_a_failure():
    problem = failed(GeminiReader(REQUEST), [chunk({"text": "Hi"}, usageMetadata=USED)])

    assert problem == Problem(
        code="provider_error",
        message="The provider ended the stream in mid-answer.",
        retryable=True,
    )


def test_what_a_cut_stream_has_used_is_marked_as_partial():
    reader = GeminiReader(REQUEST)
    reader.feed(chunk({"text": "Hi"}, usageMetadata=USED))

    assert reader.spent() == Usage(input=7, output=2, quality="partial_stream")


def test_audio_and_what_tools_brought_have_their_place_in_the_buckets():
    def audio(count: int) -> list[dict[str, Any]]:
        return [{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": count}]

    usage = usage_of(
        {
            "promptTokenCount": 100,
            "toolUsePromptTokenCount": 20,
            "cachedContentTokenCount": 30,
            "candidatesTokenCount": 50,
            "promptTokensDetails": audio(40),
            "cacheTokensDetails": audio(10),
            "candidatesTokensDetails": audio(15),
        },
        "exact",
    )

    assert usage == Usage(
        input=60, cache_read=20, output=35, audio_input=30, audio_cached=10, audio_output=15
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.a", ["a"]),
        ("$.a.b[0].c", ["a", "b", 0, "c"]),
        ("""$['a b']["c.d"][12]""", ["a b", "c.d", 12]),
        ("$.é", ["é"]),
    ],
)
def test_a_path_is_taken_apart(path: str, found: list[str | int]):
    assert steps(path) == found


@pytest.mark.parametrize(
    "path", ["", "$", "a", "$a", "$.", "$..a", "$[x]", "$[-1]", "$" + ".a" * 40]
)
def test_a_path_that_leads_nowhere_is_refused(path: str):
    with pytest.raises(GarbledError):
        steps(path)


@pytest.mark.parametrize("path", ["$[0]", "$.a[1]", "$.a[999999]", "$.b.c"])
def test_a_value_without_its_place_is_refused(path: str):
    arguments = StreamedArguments({"b": 1})

    with pytest.raises(GarbledError):
        arguments.add(PartialArgument(json_path=path, number_value=1))


def test_streamed_arguments_are_bounded():
    arguments = StreamedArguments({})
    half = "x" * (MAX_ARGUMENT_BYTES // 2)
    piece = PartialArgument(json_path="$.a", string_value=half, will_continue=True)
    arguments.add(piece)

    with pytest.raises(ProviderFaultError, match="too large"):
        arguments.add(piece)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
)
PATHS = st.sampled_from(["$.a", "$.a[0]", "$.a[1].b", "$['x']", "$", "nothing", "$.a.b.c"])
ARGUMENTS = st.lists(
    st.fixed_dictionaries(
        {"jsonPath": PATHS},
        optional={
            "stringValue": st.text(max_size=4),
            "numberValue": st.integers(),
            "boolValue": st.booleans(),
            "willContinue": st.booleans(),
        },
    ),
    max_size=3,
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["f", "g", ""]),
        "args": st.dictionaries(st.text(max_size=3), JSON, max_size=2),
        "partialArgs": ARGUMENTS,
        "willContinue": st.booleans(),
    },
)
PARTS = st.one_of(
    st.dictionaries(st.sampled_from(["text", "thought", "thoughtSignature"]), JSON),
    CALLS.map(lambda function: {"functionCall": function}),
)


@given(st.lists(st.lists(PARTS, max_size=3).map(lambda parts: chunk(*parts)), max_size=5))
def test_hostile_chunks_give_an_answer_or_a_typed_failure_however_they_are_cut(
    chunks: list[bytes],
):
    stream = b"".join([*chunks, end()])

    outcome = play(GeminiReader(REQUEST), [stream])

    assert play(GeminiReader(REQUEST), bytewise(stream)) == outcome


@given(st.lists(JSON, max_size=4))
def test_arbitrary_events_give_an_answer_or_a_typed_failure(events: list[Any]):
    _, end = play(GeminiReader(REQUEST), [b"".join(map(sse, events))])

    assert not isinstance(end, Problem) or end.code != "internal"


def test_thoughts_and_text_are_published_in_the_order_they_came():
    deltas, _ = answered(
        GeminiReader(REQUEST), [chunk({"text": "Hm", "thought": True}, {"text": "Yes"}) + end()]
    )

    assert deltas == [ReasoningDelta("Hm"), TextDelta("Yes")]


def test_code_that_google_has_run_is_kept_with_its_results_and_signatures():
    code = {"language": "PYTHON", "code": "print(1)"}
    outcome = {"outcome": "OUTCOME_OK", "output": "1"}

    answer = read(
        chunk({"executableCode": code, "thoughtSignature": "c2ln"}),
        chunk({"codeExecutionResult": outcome}),
        chunk({"text": "One."}, finish="STOP"),
    )

    assert answer.text == "One."
    assert [(block.raw, block.after_text) for block in answer.blocks] == [
        ({"executableCode": code, "thoughtSignature": "c2ln"}, 0),
        ({"codeExecutionResult": outcome}, 0),
    ]


def test_what_googles_own_tools_were_asked_and_answered_goes_back_as_it_came():
    asked = {"id": "s1", "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["x"]}}
    found = {"id": "s1", "toolType": "GOOGLE_SEARCH_WEB", "response": {"hits": []}}
    code = {"language": "PYTHON", "code": "print(1)"}

    answer = read(
        chunk({"toolCall": asked, "thoughtSignature": "c2ln"}),
        chunk({"toolResponse": found}, {"executableCode": code, "thought": True}),
        chunk({"text": "One."}, finish="STOP"),
    )

    assert (answer.text, answer.reasoning, answer.tool_calls) == ("One.", "", [])
    assert [block.raw for block in answer.blocks] == [
        {"toolCall": asked, "thoughtSignature": "c2ln"},
        {"toolResponse": found},
        {"executableCode": code, "thought": True},
    ]


@pytest.mark.parametrize(
    ("model", "searches"), [("gemini-3-pro", 2), ("gemini-2.5-pro", 1), ("models/gemini-2.0-x", 1)]
)
def test_searches_are_counted_once_each_and_as_the_model_is_billed(model: str, searches: int):
    request = msgspec.structs.replace(REQUEST, provider=Google(model=model))
    grounded = {"groundingMetadata": {"webSearchQueries": ["who", "when"]}}
    ended = {"candidates": [{**grounded, "finishReason": "STOP"}], "usageMetadata": USED}
    stream = [sse({"candidates": [grounded]}), chunk({"text": "Ada"}), sse(ended)]

    answer = answered(GeminiReader(request), stream)[1]

    assert answer.usage == Usage(input=7, output=2, searches=searches)


def test_a_reason_settles_nothing_because_an_answer_may_follow_it():
    code, outcome = {"code": "print(1)"}, {"outcome": "OUTCOME_OK", "output": "1"}
    reader = GeminiReader(REQUEST)

    reader.feed(chunk({"executableCode": code}, finish="STOP"))

    assert (reader.whole, reader.settled) == (True, False)
    answer = read(
        chunk({"executableCode": code}, finish="STOP"),
        chunk({"codeExecutionResult": outcome}),
        chunk({"text": "One."}, finish="STOP", usageMetadata=USED),
    )
    assert (answer.text, answer.finish_reason) == ("One.", "stop")


def test_cached_audio_that_is_told_nowhere_is_what_cached_tokens_and_audio_overlap_by():
    usage = usage_of(
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 90,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
            "candidatesTokenCount": 7,
            "candidatesTokensDetails": [
                {"modality": "IMAGE", "tokenCount": 4},
                {"modality": "VIDEO", "tokenCount": 2},
            ],
        },
        "exact",
    )

    assert usage == Usage(
        cache_read=50, audio_cached=40, audio_input=10, output=1, image_output=4, video_output=2
    )


def test_usage_without_counts_is_no_usage():
    traffic = {"usageMetadata": {"trafficType": "ON_DEMAND"}}

    assert read(chunk({"text": "Hi"}, finish="STOP", **traffic)).usage.quality == "estimated"
