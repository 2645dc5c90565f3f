"""When silence behind a word for the end is an end, and when it is a failure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.reading.finish_words import TABLES, UNSURE, Ending
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.reading.settling import Settling, SettlingProgress
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from schemas.llm import Answer, Wire
from schemas.problems import Problem
from tests.frames import event as frame
from tests.unit.streaming.streams import (
    CALL,
    TEXT,
    THOUGHT,
    USED,
    Said,
    delta,
    reader_of,
    stream,
)
from tests.wires import HELLO, bytewise, play, sse

DONE = sse("[DONE]")
USAGE = sse({"choices": [], "usage": USED["openai_chat"]})


def called(place: int, word: str | None = None) -> bytes:
    call = {"index": place, "id": f"c{place}", "function": {"name": "f", "arguments": "{}"}}
    return delta(word, tool_calls=[call])


def chat(*events: bytes) -> tuple[bool, Answer | Problem]:
    """Return whether a chat is settled behind its events, and what its end makes of it."""
    reader = ChatReader(HELLO, done_suffices=True)
    outcome = play(reader, bytewise(b"".join(events)))
    assert play(ChatReader(HELLO, done_suffices=True), [b"".join(events)]) == outcome
    fed = ChatReader(HELLO, done_suffices=True)
    fed.feed(b"".join(events))
    return fed.settled, outcome[1]


SETTLED = {
    "word behind the text": [delta(content="Hi"), delta("stop")],
    "word beside the last text": [delta(content="H"), delta("stop", content="i")],
    "word beside all there is": [delta("stop", content="Hi")],
    "word behind thoughts and text": [delta(reasoning="Hm"), delta(content="Hi"), delta("stop")],
    "word behind a call": [called(0), delta("tool_calls")],
    "stop behind a call": [called(0), delta("stop")],
    "word behind parallel calls": [called(0), called(1), delta("tool_calls")],
    "limit behind thoughts alone": [delta(reasoning="Hm"), delta("length")],
    "filter behind nothing": [delta("content_filter")],
    "accounts behind the word": [delta(content="Hi"), delta("stop"), USAGE],
    "accounts beside the word": [
        delta(content="Hi"),
        sse({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USED["openai_chat"]}),
    ],
    "empty words before": [delta("", content="H"), delta("null", content="i"), delta("stop")],
    "another choice's word before": [
        sse({"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": "stop"}]}),
        delta(content="Hi"),
        delta("stop"),
    ],
    "empty chunks behind the word": [delta(content="Hi"), delta("stop"), delta(content="")],
    "accounts alone behind repeated words": [
        delta("stop", content="H"),
        delta("stop", content="i"),
        USAGE,
    ],
}

UNSETTLED = {
    "word behind nothing": [delta("stop")],
    "word behind thoughts alone": [delta(reasoning="Hm"), delta("stop")],
    "word beside thoughts alone": [delta("stop", reasoning_content="Hm")],
    "unknown word behind thoughts alone": [delta(reasoning="Hm"), delta("moonstruck")],
    "tools behind a text without a call": [delta(content="Hi"), delta("tool_calls")],
    "text behind the word": [delta("stop", content="H"), delta(content="i")],
    "thoughts behind the word": [delta("stop", content="H"), delta(reasoning="Hm")],
    "a call behind the word": [called(0, "tool_calls"), called(1)],
    "words with every text": [delta("stop", content="H"), delta("stop", content="i")],
    "words with every call": [called(0, "tool_calls"), called(1, "tool_calls")],
    "words with thoughts, then text": [delta("stop", reasoning="Hm"), delta("stop", content="Hi")],
    "words with nothing, then text": [delta("stop", content=""), delta("stop", content="Hi")],
    "words again with nothing": [delta("stop", content="H"), delta("stop", content="")],
    "accounts alone before more": [
        delta("stop", content="H"),
        USAGE,
        delta("stop", content="i"),
    ],
    "thoughts alone and accounts": [delta("stop", reasoning="Hm"), USAGE],
}


@pytest.mark.parametrize("events", SETTLED.values(), ids=SETTLED)
def test_silence_behind_a_settled_answer_is_its_end(events: list[bytes]):
    settled, outcome = chat(*events)

    assert settled
    assert isinstance(outcome, Answer)


@pytest.mark.parametrize("events", UNSETTLED.values(), ids=UNSETTLED)
def test_silence_behind_an_unsettled_word_is_a_failure(events: list[bytes]):
    settled, outcome = chat(*events)

    assert not settled
    assert isinstance(outcome, Problem)
    assert (outcome.code, outcome.retryable) == ("provider_error", True)


@pytest.mark.parametrize("name", [name for name in UNSETTLED if "unknown" not in name])
def test_the_mark_of_the_end_ends_what_no_word_settles(name: str):
    _, outcome = chat(*UNSETTLED[name], DONE)

    assert isinstance(outcome, Answer)
    assert outcome.finish_reason in {"stop", "tool_calls"}


def test_thoughts_alone_are_no_answer_of_a_server_that_gives_no_word():
    assert isinstance(chat(delta(content="Hi"), DONE)[1], Answer)
    assert isinstance(chat(delta(reasoning="Hm"), DONE)[1], Problem)


def test_a_failure_stays_one_where_another_word_follows_and_nothing_else():
    broken = [delta(content="Hi"), delta("network_error")]

    assert isinstance(chat(*broken, delta("stop"), DONE)[1], Problem)
    assert isinstance(chat(*broken, delta("stop", content="!"), DONE)[1], Answer)


def converse(*said: bytes, word: str = "end_turn") -> Reader[Any]:
    reader = reader_of("converse", HELLO)
    reader.feed(b"".join(said) + frame("messageStop", stopReason=word))
    return reader


def test_converse_settles_behind_a_text_and_not_behind_thoughts():
    thought = frame("contentBlockDelta", delta={"reasoningContent": {"text": "Hm"}})
    text = frame("contentBlockDelta", contentBlockIndex=1, delta={"text": "Hi"})

    assert converse(thought, text).settled
    assert not converse(thought).settled
    assert not converse(text, word="tool_use").settled
    assert isinstance(play(converse(thought), [])[1], Problem)
    assert isinstance(play(converse(thought), [frame("metadata", usage={})])[1], Answer)


def gemini(*candidates: dict[str, Any]) -> Answer | Problem:
    events = [sse({"candidates": [candidate]}) for candidate in candidates]
    outcome = play(reader_of("gemini", HELLO), events)
    assert play(reader_of("gemini", HELLO), bytewise(b"".join(events))) == outcome
    return outcome[1]


def part(word: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"content": {"parts": [fields]}, "finishReason": word}


@pytest.mark.parametrize(
    "candidates",
    [
        [part("STOP", text="a"), part("STOP", text="b")],
        [part("STOP", text="a", thought=True), part("STOP", text="b")],
        [part("STOP", executableCode={"code": "1"}), part(text="a"), part("STOP", text="b")],
        [part(functionCall={"name": "f"}), part("STOP", text="")],
        [part(inlineData={"mimeType": "image/png", "data": "AAAA"}), {"finishReason": "STOP"}],
    ],
)
def test_geminis_stream_may_end_where_its_last_word_is_behind_all(candidates: list[Any]):
    assert isinstance(gemini(*candidates), Answer)


@pytest.mark.parametrize(
    "candidates",
    [
        [part("STOP", text="a", thought=True)],
        [part("STOP", executableCode={"code": "1"})],
        [part("STOP", executableCode={"code": "1"}), part(text="The result")],
        [part("STOP", text="a"), part(text="b")],
        [part("STOP", text="a"), part(functionCall={"name": "f"})],
    ],
)
def test_geminis_stream_may_not_end_in_mid_answer(candidates: list[Any]):
    outcome = gemini(*candidates)

    assert isinstance(outcome, Problem)
    assert (outcome.code, outcome.retryable) == ("provider_error", True)


@pytest.mark.parametrize("said", [TEXT, CALL, THOUGHT])
@pytest.mark.parametrize("wire", ["openai_responses", "anthropic", "ollama"])
def test_formats_that_mark_the_end_are_settled_by_the_mark_alone(wire: Wire, said: Said):
    *events, last = stream(wire, said, None if wire == "ollama" else "completed", USED[wire])
    reader = reader_of(wire, HELLO)

    for event in events:
        reader.feed(event)
        assert not reader.settled
    reader.feed(last)
    assert reader.settled


# The rule itself

AT = st.builds(SettlingProgress, *(st.integers(0, 2) for _ in range(4)))
ENDINGS = st.sampled_from([*dict.fromkeys((*TABLES["openai_chat"].values(), UNSURE))])


@given(told=st.lists(st.tuples(ENDINGS, AT), min_size=1, max_size=4), at=AT)
def test_a_word_settles_only_where_it_is_the_first_and_behind_all(
    told: list[tuple[Ending, SettlingProgress]], at: SettlingProgress
):
    rule = Settling()
    for ending, place in told:
        rule.tell(ending, "word", place)

    if rule.settled(at):
        assert len(told) == 1
        assert at == told[-1][1]
    assert rule.whole(at) == rule.settled(at)
    rule.seal()
    assert rule.whole(at)


@given(ending=ENDINGS, thoughts=st.integers(0, 3))
def test_no_word_of_the_models_settles_thoughts_alone(ending: Ending, thoughts: int):
    at = SettlingProgress(thoughts=thoughts)
    rule = Settling()
    rule.tell(ending, "word", at)

    is_models = ending.failure is None and ending.reason in {"stop", "tool_calls", "other"}
    assert rule.settled(at) == (not is_models)
