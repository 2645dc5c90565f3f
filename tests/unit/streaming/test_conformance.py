from typing import Any

import pytest

from actors.streaming.core.checks.conformance import (
    CASES,
    NAMES,
    CaseFinding,
    Seen,
    judged,
    refused,
    refused_key,
)
from actors.streaming.core.deltas import TextDelta
from schemas.llm import Answer, FinishReason, ToolCall
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.usage import Usage

CASE = {case.name: case for case in CASES}
USAGE = Usage(input=7, output=2)
OSLO = ToolCall(id="a", name="get_weather", arguments='{"city":"Oslo"}')
ROME = ToolCall(id="b", name="get_weather", arguments='{"city":"Rome"}')


def called(name: str = "get_weather", arguments: str = "{}") -> ToolCall:
    return ToolCall(id="a", name=name, arguments=arguments)


def seen(*pieces: str, finish: FinishReason = "stop", usage: Usage = USAGE, **more: Any) -> Seen:
    answer = Answer(text="".join(pieces), finish_reason=finish, usage=usage, **more)
    return Seen(answer, [TextDelta(piece) for piece in pieces])


@pytest.mark.parametrize(
    ("case", "answer", "verdict"),
    [
        ("text", seen("Paris."), "ok"),
        ("text", seen(" "), "failed"),
        ("text", seen("Par", finish="length"), "ok"),
        ("text", seen("Par", finish="content_filter"), "failed"),
        ("usage", seen("Paris."), "ok"),
        ("usage", seen("x", usage=Usage(input=7, output=2, quality="estimated")), "failed"),
        ("usage", seen("x", usage=Usage()), "failed"),
        ("long output", seen(*["1 2 3 4 5 6 7 8 9 10 "] * 5), "ok"),
        ("long output", seen("1 2 3 4 5 6 7 8 9 10 " * 5), "failed"),
        ("long output", seen(*"12345"), "failed"),
        ("limit", seen("1 2", finish="length"), "ok"),
        ("limit", seen("1 2"), "failed"),
        ("one token", seen("1", finish="length"), "ok"),
        ("one token", seen("1", finish="other"), "failed"),
        ("counts", seen("1 2 3 4 5 6 7 8 9 10", usage=Usage(input=20, output=9)), "ok"),
        ("counts", seen("x" * 100, usage=Usage(input=20, output=2)), "failed"),
        ("counts", seen("x", usage=Usage(input=20, output=0)), "failed"),
        ("counts", seen("x", usage=Usage(input=1, output=9)), "failed"),
        ("counts", seen("x", usage=Usage(input=20, output=2_001)), "failed"),
        ("counts", seen("x", usage=Usage(input=9, output=9, quality="estimated")), "failed"),
        ("ending", seen("Paris."), "ok"),
        ("ending", seen("Paris.", finish="other"), "failed"),
        ("ending", seen("Paris.")._replace(closing=1.5), "failed"),
        ("fragments", seen(tool_calls=[OSLO, ROME]), "ok"),
        ("fragments", seen("I cannot."), "lacking"),
        ("fragments", seen(provider_finish_reason="tool_use"), "failed"),
        ("fragments", seen(tool_calls=[OSLO, OSLO]), "failed"),
        (
            "fragments",
            seen(tool_calls=[ToolCall(id="", name="get_weather", arguments="{}")]),
            "failed",
        ),
        ("fragments", seen(tool_calls=[called(name="get_")]), "failed"),
        (
            "fragments",
            seen(tool_calls=[called(arguments='{"city":"Oslo"}{"city":"Oslo"}')]),
            "failed",
        ),
        ("fragments", seen(tool_calls=[called(arguments='{"city":"Os')]), "failed"),
        ("text and tools", seen("I look.", tool_calls=[OSLO]), "ok"),
        ("text and tools", seen("I look."), "lacking"),
        ("text and tools", seen(tool_calls=[OSLO]), "lacking"),
        ("text and tools", seen('I look.{"city":"Oslo"}', tool_calls=[OSLO]), "failed"),
        ("stop", seen("1 2 3 4 5 6 "), "ok"),
        ("stop", seen("1 2 3 4 5 6 7 8 9"), "failed"),
        ("tools", seen(tool_calls=[OSLO]), "ok"),
        ("tools", seen("I cannot."), "lacking"),
        ("tools", seen(tool_calls=[ToolCall(id="a", name="x", arguments="{")]), "lacking"),
        ("tools", seen(tool_calls=[ToolCall(id="a", name="x", arguments="[]")]), "lacking"),
        ("parallel tools", seen(tool_calls=[OSLO, ROME]), "ok"),
        ("parallel tools", seen(tool_calls=[OSLO]), "lacking"),
        ("parallel tools", seen(tool_calls=[OSLO, OSLO]), "lacking"),
        ("thinking", seen("No.", reasoning="17 * 23"), "ok"),
        ("thinking", seen("No.", usage=Usage(input=7, output=9, reasoning=5)), "ok"),
        ("thinking", seen("No."), "lacking"),
        ("schema", seen('{"score":5}'), "ok"),
        ("schema", seen("Five!"), "lacking"),
    ],
)
def test_each_case_has_its_judge(case: str, answer: Seen, verdict: str):
    assert judged(CASE[case], answer).verdict == verdict


def test_an_answer_that_is_not_its_pieces_fails_every_case():
    torn = seen("Paris.")._replace(deltas=[TextDelta("Par")])

    assert {judged(case, torn).verdict for case in CASES} == {"failed"}


@pytest.mark.parametrize(
    ("case", "problem", "verdict"),
    [
        ("text", Problem(code="provider_error", message="x", retryable=True), "failed"),
        ("text", Problem(code="provider_error", message="x"), "failed"),
        ("tools", Problem(code="provider_error", message="x"), "lacking"),
        ("tools", Problem(code="provider_error", message="x", retryable=True), "failed"),
        ("tools", Problem(code="unauthorized", message="x"), "failed"),
        (
            "stop",
            Problem(code="validation", message="x", field="config.stop_sequences"),
            "lacking",
        ),
    ],
)
def test_refusing_what_a_model_cannot_do_is_no_fault(case: str, problem: Problem, verdict: str):
    assert refused(CASE[case], problem).verdict == verdict


@pytest.mark.parametrize(
    ("problem", "verdict"),
    [
        (None, "lacking"),
        (Problem(code="unauthorized", message="x"), "ok"),
        (Problem(code="forbidden", message="x", details={"status": 403}), "ok"),
        (Problem(code="forbidden", message="x"), "lacking"),
        (Problem(code="provider_error", message="x"), "failed"),
    ],
)
def test_a_wrong_key_must_be_refused_as_one(problem: Problem | None, verdict: str):
    assert refused_key(problem).verdict == verdict


def test_a_finding_says_what_was_seen():
    assert judged(CASE["text"], seen("Par", "is.")) == CaseFinding(
        "text", "ok", "2 pieces, 7 + 2 tokens"
    )


def test_every_case_has_a_name_of_its_own_and_asks_something():
    assert len(set(NAMES)) == len(NAMES)
    assert all(case.request(OpenAI(model="m")).messages for case in CASES)
