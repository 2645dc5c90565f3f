"""What a batch API is asked, and what its answers mean, case by case."""

from typing import Any

import msgspec
import pytest

from actors.streaming.core.batches.anthropic import AnthropicBatches
from actors.streaming.core.batches.form import (
    LONGEST_LINE,
    LONGEST_PAUSE,
    MOST_BYTES,
    MOST_ITEMS,
    MOST_LINES,
    BatchForm,
    Item,
    fits,
    missing,
    pause,
    results,
)
from actors.streaming.core.batches.openai import OpenAIBatches
from actors.streaming.core.errors.faults import ProviderFaultError
from schemas.problems import Problem

OPENAI = OpenAIBatches("chat/completions")
ANTHROPIC = AnthropicBatches("v1/messages")
FORMS: list[BatchForm] = [OPENAI, ANTHROPIC]


def written(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


def openai_line(name: str, **fields: Any) -> bytes:
    return written(**{"id": "x", "custom_id": name, "response": None, "error": None, **fields})


def code(found: tuple[str, bytes | Problem] | None) -> str:
    assert found is not None
    assert isinstance(found[1], Problem)
    return found[1].code


@pytest.mark.parametrize(
    ("status", "ended", "befell"),
    [
        ("validating", False, None),
        ("in_progress", False, None),
        ("finalizing", False, None),
        ("cancelling", False, None),
        ("a_later_word", False, None),
        ("completed", True, None),
        ("expired", True, "timeout"),
        ("cancelled", True, "cancelled"),
        ("canceled", True, "cancelled"),
        ("failed", True, "provider_error"),
    ],
)
def test_each_status_of_openai_means_one_thing(status: str, ended: bool, befell: str | None):
    progress = OPENAI.read_progress("b", written(id="b", status=status, output_file_id="f/1"))
    assert progress.ended is ended
    assert (progress.problem.code if progress.problem else None) == befell
    assert [step.path for step in progress.results] == (["files/f%2F1/content"] if ended else [])


@pytest.mark.parametrize(
    "errors",
    [
        {"data": [{"code": "invalid_json_line", "message": "…", "line": 1}]},
        [{"code": "invalid_json_line", "message": "…"}],
        {"object": "list", "data": None},
        {},
        [],
        "invalid",
        None,
    ],
)
def test_what_a_file_was_refused_for_is_not_tried_again(errors: Any):
    progress = OPENAI.read_progress("b", written(status="failed", errors=errors))
    assert progress.problem is not None
    assert not progress.problem.retryable


@pytest.mark.parametrize("form", FORMS)
def test_an_error_under_a_status_of_success_is_that_error(form: BatchForm):
    body = written(error={"code": "insufficient_quota", "message": "…"})
    for read in (form.read_id, lambda told: form.read_progress("b", told)):
        with pytest.raises(ProviderFaultError) as raised:
            read(body)
        assert raised.value.problem.details["quota"] == "key"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (openai_line("a", error={"code": "batch_expired", "message": "…"}), "timeout"),
        (openai_line("a", response={"status_code": 429, "body": {}}), "rate_limited"),
        (openai_line("a", response={"status_code": 400, "body": {"error": {}}}), "provider_error"),
        (openai_line("a", error={"code": "server_error"}), "provider_error"),
    ],
)
def test_a_line_of_openai_that_is_no_answer_says_why(line: bytes, expected: str):
    assert code(OPENAI.read_line(line)) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"type": "canceled"}, "cancelled"),
        ({"type": "expired"}, "timeout"),
        ({"type": "a_later_word"}, "provider_error"),
        (
            {"type": "errored", "error": {"type": "error", "error": {"type": "overloaded_error"}}},
            "provider_overloaded",
        ),
        ({"type": "errored", "error": {"type": "invalid_request_error"}}, "provider_error"),
    ],
)
def test_a_line_of_anthropic_that_is_no_answer_says_why(result: Any, expected: str):
    assert code(ANTHROPIC.read_line(written(custom_id="a", result=result))) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("line", [b"{", b"[]", b"null", b'{"custom_id":1}', b"[" * 100_000])
def test_a_line_that_is_no_result_is_passed_over(form: BatchForm, line: bytes):
    assert form.read_line(line) is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"<html>", b'{"id":7,"status":7}'])
def test_an_answer_of_another_form_is_the_providers_fault(form: BatchForm, body: bytes):
    with pytest.raises(ProviderFaultError):
        form.read_id(body)
    with pytest.raises(ProviderFaultError):
        form.read_progress("b", body)


def test_only_wanted_results_are_given_and_every_line_can_be_stopped_behind():
    lines = [
        openai_line(name, response={"status_code": 200, "body": {"n": name}}) for name in "abc"
    ]
    found = list(results(OPENAI, b"\n".join([*lines, b"", b"{"]), frozenset("ac")))
    assert found == [("a", b'{"n":"a"}'), None, ("c", b'{"n":"c"}'), None, None]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/..", "a\\..\\b", "a//b", " /a"])
def test_an_id_cannot_leave_its_place_in_a_path(form: BatchForm, name: str):
    for ask in (form.look, form.cancel):
        with pytest.raises(ProviderFaultError) as refused:
            ask(name)
        assert not refused.value.problem.retryable
        assert "batches/a%2Fb%3Fc" in ask("a/b?c").path


@pytest.mark.parametrize("form", FORMS)
def test_an_id_that_is_too_long_to_be_kept_is_the_providers_fault(form: BatchForm):
    assert form.read_id(written(id="b" * 256)) == "b" * 256
    with pytest.raises(ProviderFaultError):
        form.read_id(written(id="b" * 257))


@pytest.mark.parametrize("field", ["output_file_id", "error_file_id"])
@pytest.mark.parametrize("name", ["..", "f" * 257])
def test_a_file_of_results_cannot_leave_its_place_either(field: str, name: str):
    with pytest.raises(ProviderFaultError):
        OPENAI.read_progress("b", written(status="completed", **{field: name}))


def test_of_a_file_of_results_no_more_is_read_than_a_provider_writes():
    line = openai_line("a", response={"status_code": 200, "body": {}})
    assert len(list(results(OPENAI, b"\n" * 10 * MOST_LINES, frozenset("a")))) == MOST_LINES
    late = b"\n" * MOST_LINES + line
    assert set(results(OPENAI, late, frozenset("a"))) == {None}
    long = openai_line("a", response={"status_code": 200, "body": "x" * LONGEST_LINE})
    assert list(results(OPENAI, b"\n".join((long, line)), frozenset("a"))) == [None, ("a", b"{}")]


def test_a_request_without_a_result_fails_as_its_batch_did():
    expired = OPENAI.read_progress("b", written(status="expired"))
    assert missing(expired).code == "timeout"
    completed = OPENAI.read_progress("b", written(status="completed"))
    assert missing(completed).code == "provider_error"


def test_the_longer_one_has_waited_the_longer_until_the_next_look():
    pauses = [pause(seconds) for seconds in (0, 5, 10, 100, 600, 86_400)]
    assert pauses == sorted(pauses)
    assert pauses[0] > 0
    assert pauses[-1] == LONGEST_PAUSE


def test_a_batch_is_bounded_in_requests_and_bytes_but_holds_one_of_any_size():
    item = Item("a", {})
    assert fits([], 0, MOST_BYTES * 2)
    assert fits([item], 10, MOST_BYTES - 10)
    assert not fits([item], 11, MOST_BYTES - 10)
    assert not fits([item] * MOST_ITEMS, 0, 1)
