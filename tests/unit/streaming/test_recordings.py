"""Real streams of all wire formats, read as the official SDKs read them, however they are cut.

The recordings lie beside the repository; where they are absent, these tests are skipped. A format
joins by a row in ``FORMATS``.
"""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from actors.streaming.core import estimate
from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.faults import refusal
from actors.streaming.core.reader import Reader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall
from schemas.providers import Azure, Custom, Groq, OpenAI, Provider
from schemas.usage import Usage
from tests.wires import answered, bytewise, cut

FOLDER = Path(__file__).parents[4] / "shared" / "recordings"
RANDOM_CUTS = 50

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the recorded streams are not beside this repository"
)


class Format(NamedTuple):
    """How a file of recordings is read, and what its SDK's words and counts are in ours."""

    provider: Provider
    reader: Callable[[GenerateRequest], Reader[Any]]
    finish: dict[str, str]
    usage: Callable[[Any], Usage]


def openai_usage(sdk: Any) -> Usage:
    cached = (sdk.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (sdk.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Usage(
        input=sdk["prompt_tokens"] - cached,
        cache_read=cached,
        output=sdk["completion_tokens"],
        reasoning=reasoning,
    )


CHAT_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


def compatible(request: GenerateRequest) -> Reader[Any]:
    return ChatReader(request, done_suffices=True)


FORMATS: dict[str, Format] = {
    "openai-chat": Format(OpenAI(model="m"), ChatReader, CHAT_FINISH, openai_usage),
    "azure-chat": Format(Azure(model="m"), ChatReader, CHAT_FINISH, openai_usage),
    "groq-chat": Format(Groq(model="m"), ChatReader, CHAT_FINISH, openai_usage),
    "compatible-chat": Format(
        Custom(model="m", base_url="https://example.com/v1"), compatible, CHAT_FINISH, openai_usage
    ),
}


def _rows(mode: str) -> Iterator[Any]:
    for name in FORMATS:
        path = FOLDER / f"{name}.jsonl"
        lines = path.read_bytes().splitlines() if path.is_file() else []
        for place, line in enumerate(lines):
            row = msgspec.json.decode(line)
            if row["mode"] == mode:
                yield pytest.param(name, row, id=f"{name}-{place}")


@pytest.mark.parametrize(("name", "row"), list(_rows("stream")))
def test_a_recorded_stream_reads_as_its_sdk_reads_it_however_it_is_cut(name: str, row: Any):
    form, body = FORMATS[name], base64.b64decode(row["response"]["body_base64"])
    messages = [ChatMessage(role="user", content="Hello")]
    request = GenerateRequest(provider=form.provider, messages=messages)

    deltas, answer = answered(form.reader(request), [body])

    assert _as_read(answer) == _as_expected(form, row["expected"])
    assert "".join(one.text for one in deltas if isinstance(one, TextDelta)) == answer.text
    thought = "".join(one.text for one in deltas if isinstance(one, ReasoningDelta))
    assert thought == answer.reasoning
    assert [one for one in deltas if isinstance(one, ToolCall)] == answer.tool_calls
    assert answered(form.reader(request), bytewise(body)) == (deltas, answer)
    for seed in range(RANDOM_CUTS):
        assert answered(form.reader(request), cut(body, seed)) == (deltas, answer)


@pytest.mark.parametrize(("name", "row"), list(_rows("error")))
def test_a_recorded_refusal_is_typed_and_repeats_nothing_of_the_providers_words(
    name: str, row: Any
):
    assert name in FORMATS
    response, error = row["response"], row["expected"]["stream_error"]

    problem = refusal(
        response["status"], response["headers"], base64.b64decode(response["body_base64"])
    )

    missing = response["status"] == 404 or error["code"] == "model_not_found"
    assert problem.code == ("not_found" if missing else "provider_error")
    assert not problem.retryable
    assert problem.details["status"] == response["status"]
    assert problem.details["provider_code"] == error["code"]
    assert error["body"]["message"] not in str(problem)


def test_estimates_are_near_to_what_was_billed():
    estimated = billed = 0
    for param in _rows("stream"):
        expected = param.values[1]["expected"]
        usage = expected["usage"]
        if usage and not expected["tool_calls"] and expected["choices"] == 1:
            estimated += estimate.tokens(expected["text"])
            billed += usage.get("completion_tokens") or 0

    assert billed > 1000
    assert estimated == pytest.approx(billed, rel=0.15)


def _as_read(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "calls": [
            (call.id, call.name, msgspec.json.decode(call.arguments)) for call in answer.tool_calls
        ],
        "finish_reason": answer.finish_reason,
        "provider_finish_reason": answer.provider_finish_reason,
        "model": answer.model_served,
        "usage": answer.usage if answer.usage.quality == "exact" else None,
    }


def _as_expected(form: Format, expected: Any) -> dict[str, Any]:
    calls = [
        (call["id"], call["name"], msgspec.json.decode(call["arguments"] or "{}"))
        for call in expected["tool_calls"]
    ]
    word = expected["finish_reason"]
    return {
        "text": expected["text"],
        "reasoning": expected["reasoning"],
        "calls": calls,
        "finish_reason": form.finish[word],
        "provider_finish_reason": word,
        "model": expected["model"],
        "usage": expected["usage"] and form.usage(expected["usage"]),
    }
