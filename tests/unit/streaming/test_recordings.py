"""Real streams of all wire formats, read as the official SDKs read them, however they are cut.

The recordings lie beside the repository; where they are absent, these tests are skipped. A format
joins by a row in ``FORMATS``.
"""

import base64
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from actors.streaming.adapters.providers.bedrock import BedrockEndpoint
from actors.streaming.config import StreamingConfig
from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.errors.faults import refusal
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.tokens import estimate
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from bus.jetstream.bus import system_clock
from bus.security.secrets import Secrets
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Custom,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
)
from schemas.usage import Usage
from tests import invocations
from tests.wires import answered, bytewise, cut, play

FOLDER = Path(__file__).parents[4] / "shared" / "recordings"
RANDOM_CUTS = 50
PREFIXES = 20

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the recorded streams are not beside this repository"
)


def as_recorded(expected: Any) -> Any:
    return expected


class Format(NamedTuple):
    """How a file of recordings is read, and what its SDK's words and counts are in ours.

    ``names_model`` says that only the request names the model. ``told`` makes of what the SDK reads
    what it would read if it looked into the events itself.
    """

    provider: Provider
    reader: Callable[[GenerateRequest], Reader[Any]]
    finish: dict[str, str]
    usage: Callable[[Any], Usage]
    names_model: bool = False
    told: Callable[[Any], Any] = as_recorded


def openai_usage(sdk: Any) -> Usage:
    cached = (sdk.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (sdk.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Usage(
        input=sdk["prompt_tokens"] - cached,
        cache_read=cached,
        output=sdk["completion_tokens"],
        reasoning=reasoning,
    )


def converse_usage(sdk: Any) -> Usage:
    return Usage(input=sdk["inputTokens"], output=sdk["outputTokens"])


def gemini_usage(sdk: Any) -> Usage:
    thought = sdk["thoughts_token_count"]
    return Usage(
        input=sdk["prompt_token_count"],
        output=sdk["candidates_token_count"] + thought,
        reasoning=thought,
    )


def ollama_usage(sdk: Any) -> Usage:
    return Usage(input=sdk["prompt_eval_count"] or 0, output=sdk["eval_count"])


CONVERSE_FINISH = {
    "end_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
}


def responses_usage(sdk: Any) -> Usage:
    cached = (sdk.get("input_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (sdk.get("output_tokens_details") or {}).get("reasoning_tokens") or 0
    return Usage(
        input=sdk["input_tokens"] - cached,
        cache_read=cached,
        output=sdk["output_tokens"],
        reasoning=reasoning,
    )


def anthropic_usage(sdk: Any) -> Usage:
    split = sdk.get("cache_creation") or {}
    hour = split.get("ephemeral_1h_input_tokens") or 0
    return Usage(
        input=sdk["input_tokens"],
        cache_read=sdk.get("cache_read_input_tokens") or 0,
        cache_write_5m=(sdk.get("cache_creation_input_tokens") or 0) - hour,
        cache_write_1h=hour,
        output=sdk["output_tokens"],
        reasoning=(sdk.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
    )


TITAN_FINISH = {"FINISH": "stop", "LENGTH": "length", "INTERVENED": "content_filter"}
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
    "bedrock-converse": Format(
        Bedrock(model="m", region="us-east-1"),
        ConverseReader,
        CONVERSE_FINISH,
        converse_usage,
        names_model=True,
    ),
    "bedrock-invoke": Format(
        Bedrock(model="m", region="us-east-1", api="invoke"),
        BedrockEndpoint(Secrets({}, {}), StreamingConfig(), system_clock).reader,
        CONVERSE_FINISH | TITAN_FINISH,
        lambda counts: Usage(input=int(counts["input"]), output=int(counts["output"])),
        names_model=True,
        told=invocations.told,
    ),
    "google-generate": Format(Google(model="m"), GeminiReader, {"STOP": "stop"}, gemini_usage),
    "ollama-chat": Format(Ollama(model="m"), OllamaReader, {"stop": "stop"}, ollama_usage),
    "ollama-generate": Format(Ollama(model="m"), OllamaReader, {"stop": "stop"}, ollama_usage),
    "openai-responses": Format(
        OpenAI(model="m", api="responses"), ResponsesReader, {"completed": "stop"}, responses_usage
    ),
    "anthropic-messages": Format(
        Anthropic(model="m"),
        MessagesReader,
        {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"},
        anthropic_usage,
    ),
}


def recorded(name: str, mode: str) -> list[Any]:
    """Return the exchanges of a file, streams or errors."""
    path = FOLDER / f"{name}.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [row for row in map(msgspec.json.decode, lines) if row["mode"] == mode]


def asked(name: str, row: Any) -> GenerateRequest:
    """Return a request of the provider that was recorded."""
    form = FORMATS[name]
    messages, provider = [ChatMessage(role="user", content="Hello")], form.provider
    if form.names_model:
        provider = msgspec.structs.replace(provider, model=row["expected"]["model"])
    return GenerateRequest(provider=provider, messages=messages)


def _rows(mode: str) -> Iterator[Any]:
    for name in FORMATS:
        for place, row in enumerate(recorded(name, mode)):
            yield pytest.param(name, row, id=f"{name}-{place}")


@pytest.mark.parametrize(("name", "row"), list(_rows("stream")))
def test_a_recorded_stream_reads_as_its_sdk_reads_it_however_it_is_cut(name: str, row: Any):
    form, body = FORMATS[name], base64.b64decode(row["response"]["body_base64"])
    expected, request = form.told(row["expected"]), asked(name, row)

    deltas, answer = answered(form.reader(request), [body])

    assert _as_read(answer) == _as_expected(form, expected)
    assert "".join(one.text for one in deltas if isinstance(one, TextDelta)) == answer.text
    thought = "".join(one.text for one in deltas if isinstance(one, ReasoningDelta))
    assert thought == answer.reasoning
    assert [one for one in deltas if isinstance(one, ToolCall)] == answer.tool_calls
    assert answered(form.reader(request), bytewise(body)) == (deltas, answer)
    for seed in range(RANDOM_CUTS):
        assert answered(form.reader(request), cut(body, seed)) == (deltas, answer)


@pytest.mark.parametrize(("name", "row"), list(_rows("stream")))
def test_a_recorded_stream_that_is_cut_off_is_a_failure_or_already_whole(name: str, row: Any):
    form, body = FORMATS[name], base64.b64decode(row["response"]["body_base64"])
    request = asked(name, row)
    whole = answered(form.reader(request), [body])[1]

    for end in random.Random(row["id"]).sample(range(len(body)), k=min(PREFIXES, len(body))):
        _, outcome = play(form.reader(request), [body[:end]])
        if isinstance(outcome, Answer):
            changes: dict[str, Any] = {"usage": whole.usage, "raw_usage": whole.raw_usage}
            assert msgspec.structs.replace(outcome, **changes) == whole
        else:
            assert outcome.retryable


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
    assert (error.get("body") or error)["message"] not in str(problem)


def test_estimates_are_near_to_what_was_billed():
    estimated = billed = 0
    for param in _rows("stream"):
        form, expected = FORMATS[param.values[0]], param.values[1]["expected"]
        if expected["usage"] and not expected["tool_calls"] and expected["choices"] == 1:
            usage = form.usage(expected["usage"])
            estimated += estimate.tokens(expected["text"]) + usage.reasoning
            billed += usage.output

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
        # Some formats say the same of an answer and of calls; ours tells them apart.
        "finish_reason": "tool_calls" if calls else form.finish[word],
        "provider_finish_reason": word,
        "model": expected["model"],
        "usage": expected["usage"] and form.usage(expected["usage"]),
    }
