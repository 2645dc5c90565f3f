"""What the words for the end of an answer mean, on every wire."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.reading.finish_words import TABLES, ending, normal
from actors.streaming.core.reading.reader import Reader
from schemas.llm import Answer, Wire
from schemas.problems import Problem
from schemas.usage import Usage
from tests.unit.streaming.streams import (
    CALL,
    NOTHING,
    TEXT,
    THOUGHT,
    USED,
    WIRES,
    Said,
    reader_of,
    stream,
)
from tests.wires import HELLO, bytewise, play, sse

SPOKEN: tuple[Wire, ...] = tuple(wire for wire in WIRES if wire != "titan")
"""The wires that have thoughts and calls."""

PROVIDERS: dict[Wire, dict[str, str]] = {
    "openai_chat": {
        **dict.fromkeys(("stop", "COMPLETE", "eos", "eos_token", "stop_sequence"), "stop"),
        **dict.fromkeys(("end_turn", "eosFound", "normal", "STOP_SEQUENCE"), "stop"),
        **dict.fromkeys(("length", "MAX_TOKENS", "model_length", "ERROR_LIMIT"), "length"),
        **dict.fromkeys(("max-tokens", "maxTokens", "token_limit", "context"), "length"),
        **dict.fromkeys(("content_filter", "content-filter", "ERROR_TOXIC"), "content_filter"),
        "refusal": "refusal",
    },
    "openai_responses": {
        "completed": "stop",
        "max_output_tokens": "length",
        "max_messages": "length",
        "content_filter": "content_filter",
        "steered": "other",
    },
    "anthropic": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "pause_turn": "pause",
        "compaction": "pause",
        "refusal": "refusal",
    },
    "converse": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "guardrail_intervened": "content_filter",
        "content_filtered": "content_filter",
    },
    "titan": {
        "FINISH": "stop",
        "FINISHED": "stop",
        "STOP_CRITERIA_MET": "stop",
        "LENGTH": "length",
        "CONTENT_FILTERED": "content_filter",
    },
    "gemini": {
        "STOP": "stop",
        "FINISH_REASON_STOP": "stop",
        "MAX_TOKENS": "length",
        "CONTINUATION": "length",
        **dict.fromkeys(("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST"), "content_filter"),
        **dict.fromkeys(("PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"), "content_filter"),
        **dict.fromkeys(("IMAGE_SAFETY", "IMAGE_RECITATION", "ESCALATION"), "content_filter"),
    },
    "ollama": {"stop": "stop", "length": "length", "STOP": "stop"},
}

EVERYWHERE = {
    "sensitive": "content_filter",
    "Sensitive": "content_filter",
    "model_context_window_exceeded": "length",
    "model-context-window-exceeded": "length",
}

BROKEN = ("network_error", "Network-Error", "ERROR", "error_while_decoding", "aborted", "abort")
FAILURES: dict[Wire, dict[str, tuple[str, bool]]] = {
    "openai_chat": {
        "timeout": ("timeout", True),
        "request-timeout": ("timeout", True),
        "time_limit": ("timeout", True),
        "cancelled": ("provider_error", True),
        "USER_CANCEL": ("provider_error", True),
        "insufficient_system_resource": ("provider_error", True),
        "engine_overloaded": ("provider_overloaded", True),
        "failed": ("provider_error", True),
        "upstream_failure": ("provider_error", True),
    },
    "openai_responses": {"failed": ("provider_error", True)},
    "anthropic": {"api_error": ("provider_error", True)},
    "converse": {
        "malformed_model_output": ("provider_error", True),
        "malformed_tool_use": ("provider_error", True),
        "MALFORMED_TOOL_USE": ("provider_error", True),
    },
    "titan": {"RAG_QUERY_WHEN_RAG_DISABLED": ("provider_error", False)},
    "gemini": {
        **dict.fromkeys(
            ("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE"), ("provider_error", True)
        ),
        **dict.fromkeys(("UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"), ("provider_error", True)),
        **dict.fromkeys(("OTHER", "NO_IMAGE", "IMAGE_OTHER"), ("provider_error", True)),
        "MISSING_THOUGHT_SIGNATURE": ("provider_error", False),
    },
    "ollama": {"error": ("provider_error", True)},
}

NO_WORDS = ("", "null", "None", "FINISH_REASON_UNSPECIFIED", "not_finished")


def played(wire: Wire, said: Said, word: str | None) -> tuple[Reader[Any], Answer | Problem]:
    """Play an answer whole and by bytes, which must come to the same."""
    reader, events = reader_of(wire, HELLO), stream(wire, said, word, USED[wire])
    outcome = play(reader, events)
    assert play(reader_of(wire, HELLO), bytewise(b"".join(events))) == outcome
    return reader, outcome[1]


def answer(wire: Wire, said: Said, word: str | None) -> Answer:
    outcome = played(wire, said, word)[1]
    assert isinstance(outcome, Answer), outcome
    return outcome


def problem(wire: Wire, said: Said, word: str | None) -> Problem:
    """Return the failure; what it has used is billed as it was told."""
    reader, outcome = played(wire, said, word)
    assert isinstance(outcome, Problem), outcome
    assert reader.spent() == Usage(input=31, output=17)
    return outcome


def rows(table: Mapping[Wire, Mapping[str, object]]) -> list[tuple[Wire, str, object]]:
    return [(wire, word, found) for wire in WIRES for word, found in table.get(wire, {}).items()]


@pytest.mark.parametrize(("wire", "word", "reason"), rows(PROVIDERS))
def test_every_documented_word_ends_an_answer_for_its_reason(wire: Wire, word: str, reason: str):
    told = answer(wire, TEXT, word)

    assert (told.finish_reason, told.text) == (reason, TEXT.text)
    assert told.provider_finish_reason == word
    assert bool(told.warnings) == (reason == "other")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("word", "reason"), EVERYWHERE.items())
def test_words_that_stand_ins_pass_on_mean_the_same_everywhere(wire: Wire, word: str, reason: str):
    assert answer(wire, TEXT, word).finish_reason == reason
    assert answer(wire, NOTHING, word).finish_reason == reason


@pytest.mark.parametrize("said", [NOTHING, TEXT], ids=["empty", "text"])
@pytest.mark.parametrize(("wire", "word", "kind"), rows(FAILURES))
def test_the_word_of_a_failure_fails_the_call_whatever_was_said(
    wire: Wire, word: str, kind: tuple[str, bool], said: Said
):
    found = problem(wire, said, word)

    assert (found.code, found.retryable) == kind
    assert found.details == {"finish_reason": normal(word)}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("word", BROKEN)
def test_errors_and_aborts_are_failures_on_every_wire(wire: Wire, word: str):
    for said in (NOTHING, TEXT):
        assert problem(wire, said, word).retryable


@pytest.mark.parametrize("wire", SPOKEN)
def test_thoughts_and_a_failures_word_are_a_failure(wire: Wire):
    assert problem(wire, THOUGHT, "network_error").retryable


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("word", ["moonstruck", "half past nine", "stop_later", "x" * 300])
def test_an_unknown_word_ends_a_text_with_a_warning_and_no_empty_answer(wire: Wire, word: str):
    told = answer(wire, TEXT, word)
    found = problem(wire, NOTHING, word)

    assert told.finish_reason == "other"
    assert [(one.field, word[:30] in one.message) for one in told.warnings] == [
        ("finish_reason", True)
    ]
    assert (found.code, found.retryable) == ("provider_error", True)
    assert len(str(found)) < 400


@pytest.mark.parametrize("wire", SPOKEN)
def test_an_unknown_word_behind_thoughts_alone_is_a_failure(wire: Wire):
    assert problem(wire, THOUGHT, "moonstruck").retryable


@pytest.mark.parametrize("wire", SPOKEN)
def test_a_word_for_tools_says_tools_only_where_there_is_a_call(wire: Wire):
    for word in ("tool_calls", "tool-use", "FUNCTION_CALL"):
        assert answer(wire, CALL, word).finish_reason == "tool_calls"
    assert answer(wire, TEXT, "tool_calls").finish_reason == "stop"
    assert answer(wire, CALL, "stop").finish_reason == "tool_calls"
    assert answer(wire, CALL, "length").finish_reason == "length"


@pytest.mark.parametrize("word", NO_WORDS)
def test_what_stands_in_the_place_of_a_word_ends_nothing(word: str):
    assert all(ending(wire, word) is None for wire in WIRES)
    for wire in ("openai_chat", "gemini", "titan"):
        _, outcome = play(reader_of(wire, HELLO), stream(wire, TEXT, word))
        assert isinstance(outcome, Problem)
        assert outcome.retryable


@pytest.mark.parametrize(
    "word", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "jailbreak"]
)
def test_a_blocked_prompt_is_filtered_by_any_word_for_it(word: str):
    blocked = stream("gemini", NOTHING, None)
    blocked = [b'data: {"promptFeedback":{"blockReason":"' + word.encode() + b'"}}\n\n']

    _, outcome = play(reader_of("gemini", HELLO), blocked)

    assert isinstance(outcome, Answer)
    assert outcome.finish_reason == "content_filter"


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([b'data: {"candidates":[]}\n\n'], id="no candidates"),
        *(
            pytest.param(
                [
                    b'data: {"candidates":[{"content":{"parts":[{"inlineData":'
                    + empty
                    + b'}]},"finishReason":"STOP"}]}\n\n'
                ],
                id="a picture of nothing",
            )
            for empty in (b"{}", b"null", b'{"mimeType":"","data":""}')
        ),
        pytest.param(stream("gemini", NOTHING, "STOP", USED["gemini"]), id="nothing in them"),
        pytest.param([b'data: {"promptFeedback":{"blockReason":"NEW"}}\n\n'], id="unknown block"),
    ],
)
def test_candidates_without_anything_are_a_failure_of_geminis(events: list[bytes]):
    _, outcome = play(reader_of("gemini", HELLO), events)

    assert isinstance(outcome, Problem)
    assert (outcome.code, outcome.retryable) == ("provider_error", True)


@pytest.mark.parametrize("name", ["failed", "cancelled"])
def test_a_failed_response_is_billed_as_it_says(name: str):
    response = {"status": name, "usage": USED["openai_responses"]}
    reader = reader_of("openai_responses", HELLO)

    _, outcome = play(reader, [sse({"type": f"response.{name}", "response": response})])

    assert isinstance(outcome, Problem)
    assert outcome.retryable
    assert reader.spent() == Usage(input=31, output=17, quality="partial_stream")


def test_a_status_that_is_stale_leaves_the_word_to_the_events_name():
    text = b'data: {"type":"response.output_text.delta","delta":"Hi"}\n\n'
    end = b'data: {"type":"response.completed","response":{"status":"in_progress"}}\n\n'

    _, outcome = play(reader_of("openai_responses", HELLO), [text, end])

    assert isinstance(outcome, Answer)
    assert (outcome.finish_reason, outcome.provider_finish_reason) == ("stop", "completed")


@given(word=st.text(max_size=80), wire=st.sampled_from(WIRES))
def test_case_and_dashes_make_no_difference(word: str, wire: Wire):
    assert ending(wire, word.lower()) == ending(wire, word.lower().replace("_", "-"))
    if word.isascii():
        assert ending(wire, word.upper()) == ending(wire, word.lower())


@given(word=st.sampled_from(sorted(set().union(*TABLES.values()))), wire=st.sampled_from(WIRES))
def test_every_word_of_the_tables_is_read_as_it_is_written(word: str, wire: Wire):
    assert normal(word) == word
    if word in TABLES[wire]:
        assert ending(wire, word) == TABLES[wire][word]
