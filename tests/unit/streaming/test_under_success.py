"""Errors under a status of success, in each wire format, before and within an answer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.aws.framings import NovaFraming
from actors.streaming.core.errors.faults import error_in
from actors.streaming.core.errors.under_success import error_of, told
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from actors.streaming.core.wires.titan.reader import TitanReader
from schemas.llm import GenerateRequest
from tests import frames
from tests.wires import HELLO, bytewise, failed, play, sse
from tests.wires import told as answer_of


class Wire(NamedTuple):
    """A format: its reader, an answer's beginning and end, and how a JSON object is an event."""

    reader: Callable[[GenerateRequest], Reader[Any]]
    begin: bytes
    end: bytes
    event: Callable[[dict[str, Any]], bytes]


def line(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode(fields) + b"\n"


def chat(finish: str | None, **delta: str) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def gemini(**candidate: Any) -> bytes:
    return sse({"candidates": [candidate]})


WIRES = {
    "chat": Wire(ChatReader, chat(None, content="Once "), chat("stop"), sse),
    "messages": Wire(
        MessagesReader,
        sse({"type": "message_start", "message": {"model": "m"}})
        + sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Once "}}),
        sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
        + sse({"type": "message_stop"}),
        sse,
    ),
    "responses": Wire(
        ResponsesReader,
        sse({"type": "response.output_text.delta", "delta": "Once "}),
        sse({"type": "response.completed", "response": {"status": "completed"}}),
        sse,
    ),
    "gemini": Wire(
        GeminiReader,
        gemini(content={"parts": [{"text": "Once "}]}),
        gemini(finishReason="STOP"),
        sse,
    ),
    "ollama": Wire(
        OllamaReader,
        line({"message": {"content": "Once "}}),
        line({"message": {"content": ""}, "done": True}),
        line,
    ),
    "converse": Wire(
        ConverseReader,
        frames.event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Once "}),
        frames.event("messageStop", stopReason="end_turn") + frames.event("metadata"),
        lambda fields: frames.event("newThing", **fields),
    ),
    "nova": Wire(
        lambda request: ConverseReader(request, NovaFraming()),
        frames.chunk({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Once "}}}),
        frames.chunk({"messageStop": {"stopReason": "end_turn"}}) + frames.chunk({"metadata": {}}),
        frames.chunk,
    ),
    "titan": Wire(
        TitanReader,
        frames.chunk({"outputText": "Once "}),
        frames.chunk({"completionReason": "FINISH", "totalOutputTextTokenCount": 2}),
        frames.chunk,
    ),
}

WALLET = ("rate_limited", False)
LIMITED = ("rate_limited", True)
WRONG_KEY = ("unauthorized", False)
REFUSED = ("provider_error", False)
ILL = ("provider_error", True)

ERRORS: list[tuple[dict[str, Any], tuple[str, bool]]] = [
    ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no"}}, WALLET),
    ({"base_resp": {"status_code": "1008"}}, WALLET),
    ({"base_resp": {"status_code": 2056, "status_msg": "secret"}}, WALLET),
    ({"base_resp": {"status_code": 1004}}, WRONG_KEY),
    ({"base_resp": {"status_code": 2049}}, WRONG_KEY),
    ({"base_resp": {"status_code": 1002}}, LIMITED),
    ({"base_resp": {"status_code": 1039}}, LIMITED),
    ({"base_resp": {"status_code": 1026}}, REFUSED),
    ({"base_resp": {"status_code": 1027}}, REFUSED),
    ({"base_resp": {"status_code": 2013}}, REFUSED),
    ({"base_resp": {"status_code": 1001}}, ("timeout", True)),
    ({"base_resp": {"status_code": 9999, "status_msg": "secret"}}, ILL),
    ({"error": {"code": 402, "message": "secret"}}, WALLET),
    ({"error": {"code": "429", "message": "secret"}}, LIMITED),
    ({"error": {"message": "Insufficient Balance"}}, WALLET),
    ({"error": {"code": 0, "type": "overloaded_error"}}, ("provider_overloaded", True)),
    ({"error": "secret"}, ILL),
    ({"error": "Incorrect API key provided: secret"}, WRONG_KEY),
    ({"error": True, "code": "insufficient_quota"}, WALLET),
    ({"error": [{"type": "rate_limit_error"}]}, LIMITED),
    ({"code": 401, "message": "secret"}, WRONG_KEY),
    ({"code": "1113", "msg": "secret"}, WALLET),
    ({"code": "Arrearage", "message": "secret"}, WALLET),
    ({"code": 50_001, "msg": "secret", "data": None}, ILL),
    ({"error_code": 17, "error_msg": "Daily request limit reached"}, WALLET),
    ({"errors": [{"code": 429, "message": "secret"}], "success": False}, LIMITED),
    ({"errors": ["secret"]}, ILL),
    ({"success": False}, ILL),
    ({"success": False, "message": "Invalid API key"}, WRONG_KEY),
    ({"detail": "secret"}, ILL),
    ({"detail": {"error": {"type": "insufficient_quota"}}}, WALLET),
    ({"detail": [{"loc": ["body"], "msg": "secret"}]}, ILL),
    ({"object": "error", "code": 400, "message": "secret"}, REFUSED),
    ({"status": "error", "message": "secret"}, ILL),
    ({"status": 429, "title": "secret", "detail": "secret"}, LIMITED),
    ({"type": "error", "code": 403, "message": "secret"}, ("forbidden", False)),
    ({"type": "error", "error": None, "message": "secret"}, ILL),
]

FINE: list[dict[str, Any]] = [
    {"error": None},
    {"error": {}},
    {"error": ""},
    {"error": False},
    {"error": []},
    {"error": "success"},
    {"error": {"code": None, "message": ""}},
    {"error": {"code": 0, "message": "ok"}},
    {"error": {"code": "200", "message": "OK", "type": ""}},
    {"base_resp": {"status_code": 0, "status_msg": ""}},
    {"base_resp": {"status_code": "0"}},
    {"base_resp": None},
    {"code": 0, "message": "success"},
    {"code": "200", "message": "secret"},
    {"code": 200, "msg": "OK", "success": True},
    {"code": None},
    {"success": True},
    {"errors": []},
    {"errors": None, "detail": None},
    {"status": "ok"},
    {"status": 200},
    {"message": "still at it"},
]

each_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES.keys())


@each_wire
@pytest.mark.parametrize(("told", "expected"), ERRORS, ids=lambda each: str(each)[:60])
def test_an_error_fails_the_call_first_or_within_an_answer(
    wire: Wire, told: dict[str, Any], expected: tuple[str, bool]
):
    error = wire.event(told)
    for events in ([error, wire.end], [wire.begin, error, wire.end]):
        problem = failed(wire.reader(HELLO), events)
        assert (problem.code, problem.retryable) == expected
        assert "secret" not in str(problem)
        assert play(wire.reader(HELLO), bytewise(b"".join(events)))[1] == problem


@each_wire
@pytest.mark.parametrize("told", FINE, ids=str)
def test_what_says_that_all_is_well_is_no_error(wire: Wire, told: dict[str, Any]):
    fine = wire.event(told)

    assert answer_of(wire.reader, fine, wire.begin, fine, wire.end).text == "Once "


def test_minimax_tells_how_the_call_fares_beside_the_answer():
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    fine = sse({"choices": [choice], "base_resp": {"status_code": 0, "status_msg": ""}})
    filtered = sse({"choices": [choice], "base_resp": {"status_code": 1027}})

    assert answer_of(ChatReader, fine).text == "Hi"
    problem = failed(ChatReader(HELLO), [filtered])
    assert problem.details == {"provider_code": 1027, "provider_type": "content_filter"}


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"index": 0}], "code": 500, "success": False},
        {"data": [{"embedding": [1.0]}], "code": 1},
        {"usage": {"prompt_tokens": 1}, "status": "failed"},
        {"message": {"content": "x"}, "detail": "y"},
    ],
)
def test_beside_an_answer_a_strange_code_is_none(answer: dict[str, Any]):
    assert error_of(answer) is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"3", b'"x"', b"null", b"\xff", b"[" * 9999]
)
def test_what_is_no_object_is_no_error(body: bytes):
    assert told(body) is None
    assert error_in(body) is None or not isinstance(error_in(body), dict)


@given(
    st.dictionaries(
        st.sampled_from(["error", "base_resp", "code", "errors", "detail", "status", "success"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner),
            max_leaves=4,
        ),
    )
)
def test_any_object_is_an_error_or_none_and_beside_nothing_both_ways(body: dict[str, Any]):
    found = error_of(body)

    assert found is None or found
    if not any(body.values()) and body.get("success") is not False:
        assert found is None


def test_a_type_that_is_no_text_is_no_error():
    assert told('{"type": [], "object": {}}') is None
    assert failed(ChatReader(HELLO), [sse({"object": [], "choices": []})]).retryable
