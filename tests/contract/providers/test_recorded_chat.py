"""Real streams of four kinds of servers, read as the official SDK reads them."""

import base64
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.streaming.core import estimate
from actors.streaming.core.chat_completions import ChatReader
from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.faults import refusal
from actors.streaming.core.sse import SseParser
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall
from schemas.providers import Custom, Groq, OpenAI, Provider
from schemas.usage import Usage

FOLDER = Path(__file__).parents[4] / "shared" / "recordings"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the recorded streams are not beside this repository"
)

PROVIDERS: dict[str, Provider] = {
    "openai-chat": OpenAI(model="m"),
    "groq-chat": Groq(model="m"),
    "compatible-chat": Custom(model="m", base_url="https://example.com/v1"),
    "azure-chat": OpenAI(model="m"),
}


def _rows(mode: str) -> list[Any]:
    return [pytest.param(param.values[1], id=param.id) for param in _recordings(mode)]


def _recordings(mode: str) -> list[Any]:
    found: list[Any] = []
    for name in PROVIDERS:
        path = FOLDER / f"{name}.jsonl"
        lines = path.read_bytes().splitlines() if path.is_file() else []
        rows = [msgspec.json.decode(line) for line in lines]
        found += [
            pytest.param(name, row, id=f"{name}-{place}")
            for place, row in enumerate(rows)
            if row["mode"] == mode
        ]
    return found


def read(name: str, chunks: list[bytes]) -> tuple[list[Delta], Answer]:
    request = GenerateRequest(
        provider=PROVIDERS[name], messages=[ChatMessage(role="user", content="Hello")]
    )
    parser, reader, deltas = SseParser(), ChatReader(request), []
    for chunk in chunks:
        deltas += reader.feed(parser.feed(chunk))
    deltas += reader.finish(parser.finish())
    return deltas, reader.answer()


def cut(body: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    places = sorted(chance.sample(range(len(body)), k=min(len(body), chance.randint(1, 60))))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


@pytest.mark.parametrize(("name", "row"), _recordings("stream"))
def test_a_recorded_stream_reads_as_its_sdk_reads_it_however_it_is_cut(name: str, row: Any):
    body = base64.b64decode(row["response"]["body_base64"])

    deltas, answer = read(name, [body])

    assert _as_expected(answer) == _expectation(row["expected"])
    assert _text(deltas) == answer.text
    assert [delta for delta in deltas if isinstance(delta, ToolCall)] == answer.tool_calls
    assert read(name, [bytes([byte]) for byte in body]) == (deltas, answer)
    for seed in range(5):
        assert read(name, cut(body, seed)) == (deltas, answer)


@pytest.mark.parametrize("row", _rows("error"))
def test_a_recorded_refusal_is_typed_and_repeats_nothing_of_the_providers_words(
    row: Any,
):
    response, error = row["response"], row["expected"]["stream_error"]

    problem = refusal(
        response["status"], response["headers"], base64.b64decode(response["body_base64"])
    )

    assert problem.code == ("not_found" if response["status"] == 404 else "provider_error")
    assert not problem.retryable
    assert problem.details["status"] == response["status"]
    assert problem.details["provider_code"] == error["code"]
    assert error["body"]["message"] not in str(problem)


def test_estimates_are_near_to_what_was_billed():
    estimated = billed = 0
    for param in _rows("stream"):
        expected = param.values[0]["expected"]
        if expected["usage"] and not expected["tool_calls"] and expected["choices"] == 1:
            estimated += estimate.tokens(expected["text"])
            billed += expected["usage"]["completion_tokens"]

    assert billed > 1000
    assert estimated == pytest.approx(billed, rel=0.15)


def _text(deltas: list[Delta]) -> str:
    assert not any(isinstance(delta, ReasoningDelta) for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def _as_expected(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "calls": [
            (call.id, call.name, msgspec.json.decode(call.arguments)) for call in answer.tool_calls
        ],
        "finish_reason": answer.finish_reason,
        "model": answer.model_served,
        "usage": answer.usage if answer.usage.quality == "exact" else None,
    }


def _expectation(expected: Any) -> dict[str, Any]:
    return {
        "text": expected["text"],
        "reasoning": expected["reasoning"],
        "calls": [
            (call["id"], call["name"], msgspec.json.decode(call["arguments"] or "{}"))
            for call in expected["tool_calls"]
        ],
        "finish_reason": expected["finish_reason"],
        "model": expected["model"],
        "usage": expected["usage"] and _usage(expected["usage"]),
    }


def _usage(sdk: Any) -> Usage:
    cached = (sdk.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (sdk.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Usage(
        input=sdk["prompt_tokens"] - cached,
        cache_read=cached,
        output=sdk["completion_tokens"],
        reasoning=reasoning,
    )
