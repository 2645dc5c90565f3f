"""Embedding requests and their answers in the formats of the providers.

======================  ==============================  =====================================
OpenAI and compatible   ``embeddings``                  up to 256 texts a call
Google                  ``…:batchEmbedContents``        up to 100, no usage
Vertex AI               ``…:predict``                   up to 250, of Gemini's first model one
Vertex AI, Gemini 2     ``…:embedContent``              one
Ollama                  ``api/embed``                   up to 256
Bedrock, Titan          ``model/…/invoke``              one
Bedrock, Cohere         ``model/…/invoke``              up to 96, no usage
======================  ==============================  =====================================

Where a provider tells no usage, it is estimated. A text that is too long is refused, where a
provider can be told so: half of it would be embedded in silence.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import msgspec

from actors.streaming.core.decoding import counts
from actors.streaming.core.decoding.surrogates import EventDecoder
from actors.streaming.core.embeddings.rows import LEAST_BYTES, Cut, cut
from actors.streaming.core.embeddings.vectors import (
    BASE64_BYTES,
    Coded,
    UnreadableError,
    ordered,
    packed,
)
from actors.streaming.core.errors.faults import fail_on
from actors.streaming.core.google.names import model_path
from actors.streaming.core.reading.fragments import place_of
from actors.streaming.core.tokens import estimate
from schemas import bounds
from schemas.llm import EmbedRequest
from schemas.provider_specs import Embeds, spec_of
from schemas.providers import Google, Provider
from schemas.steps import Steps
from schemas.usage import Usage

_any: EventDecoder[Any] = EventDecoder(cast("type[Any]", Any))

MAX_CHARACTERS = 400_000
"""Texts of one call together: below the 300,000 tokens that OpenAI takes."""

MAX_DIMENSIONS = 4096
"""Of a vector, unless more are asked for."""

NUMBER_BYTES = 32
"""Of a number, at most."""

HEAD_BYTES = 64 * 1024
HEAD_NUMBERS = 4096
"""Of an answer, besides its vectors."""

_CHARACTER_BYTES = len(r"\ud83d\ude42")
"""Of a text that an answer repeats, where each character is escaped."""


class TextBatch(NamedTuple):
    """One call: the path behind the provider's address, and the body."""

    path: str
    body: dict[str, Any]
    texts: Sequence[str]


class Answered(NamedTuple):
    """What is in an answer, as its format has it."""

    vectors: Sequence[Coded]
    usage: Usage
    model: str | None = None


class Embedded(NamedTuple):
    """What one call has answered: vectors of one size, each as it is stored."""

    vectors: list[bytes]
    size: int
    usage: Usage
    model: str | None = None


class Format(NamedTuple):
    """How a provider is asked for embeddings: so many texts a call, of so many characters."""

    size: int
    write: Callable[[EmbedRequest, Sequence[str]], TextBatch]
    read: Callable[[Any], Answered]
    characters: int = MAX_CHARACTERS


def format_of(provider: Provider) -> Format | None:
    """Return the format of a provider, None if it has no embeddings that are spoken here."""
    family = spec_of(provider).embeds
    if family in _WHOLE and not (isinstance(provider, Google) and provider.project):
        return _WHOLE[family]
    by_model = _VERTEX if family == "google" else _BEDROCK if family == "bedrock" else {}
    return next((form for name, form in by_model.items() if name in provider.model), None)


def batches(wanted: EmbedRequest, form: Format) -> Iterator[TextBatch]:
    """Cut the texts into calls."""
    batch: list[str] = []
    characters = 0
    for text in wanted.texts:
        if batch and (len(batch) >= form.size or characters + len(text) > form.characters):
            yield form.write(wanted, batch)
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    yield form.write(wanted, batch)


def read(
    form: Format, batch: TextBatch, body: bytes, dimensions: int = MAX_DIMENSIONS
) -> Steps[Embedded]:
    """Read an answer; there is one vector for each text, all of one size.

    Raises:
        ProviderFaultError: it is an error, under a status of success.
        UnreadableError: it is none, or larger than vectors of so many ``dimensions`` can be.
    """
    rest, rows = yield from _cut(batch, body, dimensions)
    texts, most = len(batch.texts), dimensions + HEAD_NUMBERS
    try:
        answered = form.read(_decoded(rest))
        vectors, size = yield from packed(answered.vectors, rows, texts=texts, most=most)
    except (UnreadableError, msgspec.DecodeError, RecursionError) as error:
        fail_on(rest)
        is_ours = isinstance(error, UnreadableError)
        raise UnreadableError(str(error) if is_ours else "no embeddings") from None
    usage = answered.usage if answered.usage.input else estimated(batch)
    return Embedded(vectors, size, usage, answered.model)


def most_bytes(batch: TextBatch, dimensions: int) -> int:
    """Return how many bytes an answer may have."""
    return HEAD_BYTES + len(batch.texts) * dimensions * NUMBER_BYTES


def _cut(batch: TextBatch, body: bytes, dimensions: int) -> Steps[Cut]:
    """Cut the vectors out of an answer; some repeat the texts beside them.

    What is left is decoded at once, which takes time by its bytes and by its numbers.
    """
    texts, characters = len(batch.texts), sum(map(len, batch.texts))
    beside = HEAD_BYTES + texts * (LEAST_BYTES + dimensions * BASE64_BYTES)
    most_rest = beside + characters * _CHARACTER_BYTES
    most_row = HEAD_BYTES + dimensions * NUMBER_BYTES
    found = yield from cut(body, most_rest=most_rest, most_row=most_row)
    if found.rest.count(b",") > HEAD_NUMBERS + texts * LEAST_BYTES + characters:
        raise UnreadableError("more numbers than vectors can have")
    if len(found.rest) > HEAD_BYTES:
        yield
    return found


def _decoded(body: bytes) -> Any:
    try:
        return bounds.decode(body)
    except msgspec.DecodeError:
        # A mark of the byte order, or a usage that is no number, costs no vectors.
        return _any.decode(body.decode("utf-8-sig", "replace"))


def estimated(batch: TextBatch) -> Usage:
    """Guess what a call uses."""
    return Usage(input=sum(map(estimate.tokens, batch.texts)), quality="estimated")


# OpenAI


class _Row(msgspec.Struct):
    embedding: Coded
    index: Any = None


class _Rows(msgspec.Struct):
    data: list[_Row]
    model: Any = None
    usage: Any = None


def _write_openai(wanted: EmbedRequest, texts: Sequence[str]) -> TextBatch:
    body = {"model": wanted.provider.model, "input": list(texts), "encoding_format": "float"}
    return TextBatch("embeddings", body | _shortened("dimensions", wanted), list(texts))


def _read_openai(answer: Any) -> Answered:
    rows = msgspec.convert(answer, _Rows)
    vectors = [row.embedding for row in rows.data]
    placed = ordered(vectors, [_place(row.index) for row in rows.data])
    usage = counts.members(rows.usage)
    tokens = counts.at(usage, "prompt_tokens") or counts.at(usage, "total_tokens")
    return Answered(placed, Usage(input=tokens), _name(rows.model))


def _place(index: object) -> int | None:
    place = place_of(index) if isinstance(index, int | str) else None
    return place if isinstance(place, int) else None


def _name(model: object) -> str | None:
    return model if isinstance(model, str) else None


# Google


class _Values(msgspec.Struct):
    values: list[float]


class _GoogleRows(msgspec.Struct):
    embeddings: list[_Values]


def _write_google(wanted: EmbedRequest, texts: Sequence[str]) -> TextBatch:
    name = wanted.provider.model
    model = name if "/" in name else f"models/{name}"
    shortened = _shortened("outputDimensionality", wanted)
    requests = [
        {"model": model, "content": {"parts": [{"text": text}]}, **shortened} for text in texts
    ]
    path = f"{quote(model, safe='/')}:batchEmbedContents"
    return TextBatch(path, {"requests": requests}, list(texts))


def _read_google(answer: Any) -> Answered:
    rows = msgspec.convert(answer, _GoogleRows)
    return Answered([row.values for row in rows.embeddings], Usage())


# Vertex AI


class _Predicted(msgspec.Struct):
    values: list[float]
    statistics: Any = None


class _Prediction(msgspec.Struct):
    embeddings: _Predicted


class _Predictions(msgspec.Struct):
    predictions: list[_Prediction]


class _VertexRow(msgspec.Struct, rename="camel"):
    embedding: _Values
    usage_metadata: Any = None


def _vertex_path(wanted: EmbedRequest, method: str) -> str:
    return f"{model_path(wanted.provider)}:{method}" if isinstance(wanted.provider, Google) else ""


def _write_predict(wanted: EmbedRequest, texts: Sequence[str]) -> TextBatch:
    parameters = {"autoTruncate": False, **_shortened("outputDimensionality", wanted)}
    body = {"instances": [{"content": text} for text in texts], "parameters": parameters}
    return TextBatch(_vertex_path(wanted, "predict"), body, list(texts))


def _read_predict(answer: Any) -> Answered:
    rows = [row.embeddings for row in msgspec.convert(answer, _Predictions).predictions]
    tokens = [counts.at(counts.members(row.statistics), "token_count") for row in rows]
    return Answered([row.values for row in rows], Usage(input=sum(tokens) if all(tokens) else 0))


def _write_content(wanted: EmbedRequest, texts: Sequence[str]) -> TextBatch:
    body = {
        "content": {"parts": [{"text": texts[0]}]},
        "autoTruncate": False,
        **_shortened("outputDimensionality", wanted),
    }
    return TextBatch(_vertex_path(wanted, "embedContent"), body, list(texts))


def _read_content(answer: Any) -> Answered:
    row = msgspec.convert(answer, _VertexRow)
    tokens = counts.at(counts.members(row.usage_metadata), "promptTokenCount")
    return Answered([row.embedding.values], Usage(input=tokens))


# Ollama


class _OllamaRows(msgspec.Struct):
    embeddings: list[list[float]]
    model: Any = None
    prompt_eval_count: Any = None


def _write_ollama(wanted: EmbedRequest, texts: Sequence[str]) -> TextBatch:
    body = {"model": wanted.provider.model, "input": list(texts), "truncate": False}
    return TextBatch("api/embed", body | _shortened("dimensions", wanted), list(texts))


def _read_ollama(answer: Any) -> Answered:
    rows = msgspec.convert(answer, _OllamaRows)
    tokens = counts.at({"count": rows.prompt_eval_count}, "count")
    return Answered(rows.embeddings, Usage(input=tokens), _name(rows.model))


# Bedrock


class _TitanRow(msgspec.Struct):
    embedding: list[float]
    inputTextTokenCount: Any = None  # noqa: N815  the name on the wire


class _CohereRows(msgspec.Struct):
    embeddings: list[list[float]] | dict[str, list[list[float]]]


def _invoked(wanted: EmbedRequest) -> str:
    return f"model/{quote(wanted.provider.model, safe='-._~')}/invoke"


def _write_titan(wanted: EmbedRequest, texts: Sequence[str]) -> TextBatch:
    body = {"inputText": texts[0], **_shortened("dimensions", wanted)}
    return TextBatch(_invoked(wanted), body, list(texts))


def _read_titan(answer: Any) -> Answered:
    row = msgspec.convert(answer, _TitanRow)
    tokens = counts.at({"count": row.inputTextTokenCount}, "count")
    return Answered([row.embedding], Usage(input=tokens))


def _write_cohere(wanted: EmbedRequest, texts: Sequence[str]) -> TextBatch:
    body = {
        "texts": list(texts),
        "input_type": "search_document",
        "embedding_types": ["float"],
        **_shortened("output_dimension", wanted),
    }
    return TextBatch(_invoked(wanted), body, list(texts))


def _read_cohere(answer: Any) -> Answered:
    rows = msgspec.convert(answer, _CohereRows).embeddings
    return Answered(rows.get("float", []) if isinstance(rows, dict) else rows, Usage())


def _shortened(name: str, wanted: EmbedRequest) -> dict[str, int]:
    return {} if wanted.dimensions is None else {name: wanted.dimensions}


_VERTEX = {
    "gemini-embedding-001": Format(1, _write_predict, _read_predict),
    "gemini": Format(1, _write_content, _read_content),
    "embedding": Format(250, _write_predict, _read_predict, characters=20_000),
}
_WHOLE: dict[Embeds | None, Format] = {
    "openai": Format(256, _write_openai, _read_openai),
    "google": Format(100, _write_google, _read_google),
    "ollama": Format(256, _write_ollama, _read_ollama),
}
"""The formats that are the same for all models."""

_BEDROCK = {
    "titan-embed": Format(1, _write_titan, _read_titan),
    "cohere.embed": Format(96, _write_cohere, _read_cohere),
}
