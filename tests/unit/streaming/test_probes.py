"""What is asked of an endpoint besides streams, and how that is judged."""

from typing import Any

import pytest

from actors.streaming.core.checks import probes
from schemas.embeddings import Embeddings
from schemas.problems import Problem
from schemas.providers import Azure, OpenAI, Scripted
from schemas.usage import Usage


def problem(code: Any = "provider_error", **more: Any) -> Problem:
    return Problem(code=code, message="x", **more)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"choices":[{"message":{"content":"Paris."}}]}', "ok"),
        (b'{"type":"message","content":[{"type":"text"}],"error":null}', "ok"),
        (b'data: {"choices":[]}\n\n', "failed"),
        (b": hello\n\ndata: {}\n\n", "failed"),
        (b'{"choices":[]}', "failed"),
        (b'{"choices":[],"error":{"code":500}}', "failed"),
        (b'{"base_resp":{"status_code":1008}}', "failed"),
        (b"<html>", "failed"),
        (b"[]", "failed"),
        (b"\xff", "failed"),
    ],
)
def test_an_answer_that_is_no_stream_is_one_object(body: bytes, verdict: str):
    assert probes.unstreamed(body).verdict == verdict


@pytest.mark.parametrize(
    ("refusal", "verdict"),
    [
        (None, "lacking"),
        (problem("not_found", details={"status": 404}), "ok"),
        (problem(details={"status": 400}), "ok"),
        (problem("not_found"), "failed"),
        (problem(retryable=True, details={"status": 500}), "failed"),
        (problem("unauthorized", details={"status": 401}), "failed"),
    ],
)
def test_an_unknown_model_is_refused_by_a_status(refusal: Problem | None, verdict: str):
    assert probes.refused_model(refusal).verdict == verdict


def test_the_model_that_there_is_not_is_named_wherever_a_provider_names_one():
    assert probes.without_model(OpenAI(model="m")) == OpenAI(model=probes.NO_MODEL)
    azure = Azure(model="m", deployment="d")
    assert probes.without_model(azure) == Azure(model=probes.NO_MODEL, deployment=probes.NO_MODEL)
    assert probes.without_model(Scripted(responses=["x"])) is None


@pytest.mark.parametrize(
    ("vectors", "verdict"),
    [
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], "ok"),
        ([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], "failed"),
        ([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]], "failed"),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], "failed"),
    ],
)
def test_one_text_has_one_vector_and_another_has_another(vectors: list[list[float]], verdict: str):
    found = Embeddings(vectors=vectors, dimensions=2, usage=Usage(input=9))

    assert probes.embedded(found).verdict == verdict


@pytest.mark.parametrize(
    ("case", "why", "verdict"),
    [
        ("embeddings", problem("validation", field="provider"), "lacking"),
        ("embeddings", problem(details={"status": 400}), "failed"),
        ("dimensions", problem(details={"status": 400}), "lacking"),
        ("dimensions", problem(details={"status": 500}, retryable=True), "failed"),
        ("dimensions", problem(field="dimensions"), "failed"),
    ],
)
def test_refusing_another_size_is_a_lack_and_ignoring_the_wish_a_fault(
    case: str, why: Problem, verdict: str
):
    assert probes.not_embedded(case, why).verdict == verdict
