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
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from actors.streaming.core import estimate
from actors.streaming.core.google import model_path
from schemas import bounds
from schemas.embeddings import Embed
from schemas.providers import Azure, Bedrock, Custom, Google, Groq, Ollama, OpenAI, Provider
from schemas.usage import Usage

MAX_CHARACTERS = 400_000
"""Texts of one call together: below the 300,000 tokens that OpenAI takes."""


class Batch(NamedTuple):
    """One call: the path behind the provider's address, and the body."""

    path: str
    body: dict[str, Any]
    texts: Sequence[str]


class Embedded(NamedTuple):
    """What one call has answered."""

    vectors: list[list[float]]
    usage: Usage
    model: str | None = None


class UnreadableError(ValueError):
    """The answer is not what the format says."""


class Format(NamedTuple):
    """How a provider is asked for embeddings: so many texts a call, of so many characters."""

    size: int
    write: Callable[[Embed, Sequence[str]], Batch]
    read: Callable[[Any], Embedded]
    characters: int = MAX_CHARACTERS


def format_of(provider: Provider) -> Format | None:
    """Return the format of a provider, None if it has no embeddings that are spoken here."""
    match provider:
        case OpenAI() | Azure() | Groq() | Custom():
            return _OPENAI
        case Google(project=None):
            return _GOOGLE
        case Google(model=model):
            return next((form for name, form in _VERTEX.items() if name in model), None)
        case Ollama():
            return _OLLAMA
        case Bedrock(model=model):
            return next((form for name, form in _BEDROCK.items() if name in model), None)
        case _:
            return None


def batches(wanted: Embed, form: Format) -> Iterator[Batch]:
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


def read(form: Format, batch: Batch, body: bytes) -> Embedded:
    """Read an answer; there is one vector for each text, all of one length.

    Raises:
        UnreadableError: it is none.
    """
    try:
        embedded = form.read(bounds.decode(body))
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise UnreadableError(type(error).__name__) from None
    lengths = {len(vector) for vector in embedded.vectors}
    if len(embedded.vectors) != len(batch.texts) or len(lengths) != 1 or 0 in lengths:
        raise UnreadableError("not one vector for each text")
    return embedded if embedded.usage.input else embedded._replace(usage=estimated(batch))


def estimated(batch: Batch) -> Usage:
    """Guess what a call uses."""
    return Usage(input=sum(map(estimate.tokens, batch.texts)), quality="estimated")


# OpenAI


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Count(msgspec.Struct):
    prompt_tokens: int = 0


class _Rows(msgspec.Struct):
    data: list[_Row]
    model: str | None = None
    usage: _Count | None = None


def _write_openai(wanted: Embed, texts: Sequence[str]) -> Batch:
    body = {"model": wanted.provider.model, "input": list(texts), "encoding_format": "float"}
    return Batch("embeddings", body | _shortened("dimensions", wanted), list(texts))


def _read_openai(answer: Any) -> Embedded:
    rows = msgspec.convert(answer, _Rows)
    ordered = sorted(rows.data, key=lambda row: row.index)
    tokens = rows.usage.prompt_tokens if rows.usage else 0
    return Embedded([row.embedding for row in ordered], Usage(input=max(tokens, 0)), rows.model)


# Google


class _Values(msgspec.Struct):
    values: list[float]


class _GoogleRows(msgspec.Struct):
    embeddings: list[_Values]


def _write_google(wanted: Embed, texts: Sequence[str]) -> Batch:
    name = wanted.provider.model
    model = name if "/" in name else f"models/{name}"
    shortened = _shortened("outputDimensionality", wanted)
    requests = [
        {"model": model, "content": {"parts": [{"text": text}]}, **shortened} for text in texts
    ]
    path = f"{quote(model, safe='/')}:batchEmbedContents"
    return Batch(path, {"requests": requests}, list(texts))


def _read_google(answer: Any) -> Embedded:
    rows = msgspec.convert(answer, _GoogleRows)
    return Embedded([row.values for row in rows.embeddings], Usage())


# Vertex AI


class _Statistics(msgspec.Struct, frozen=True):
    token_count: float = 0


class _Predicted(msgspec.Struct):
    values: list[float]
    statistics: _Statistics = _Statistics()


class _Prediction(msgspec.Struct):
    embeddings: _Predicted


class _Predictions(msgspec.Struct):
    predictions: list[_Prediction]


class _VertexCount(msgspec.Struct, frozen=True, rename="camel"):
    prompt_token_count: int = 0


class _VertexRow(msgspec.Struct, rename="camel"):
    embedding: _Values
    usage_metadata: _VertexCount = _VertexCount()


def _vertex_path(wanted: Embed, method: str) -> str:
    return f"{model_path(wanted.provider)}:{method}" if isinstance(wanted.provider, Google) else ""


def _write_predict(wanted: Embed, texts: Sequence[str]) -> Batch:
    parameters = {"autoTruncate": False, **_shortened("outputDimensionality", wanted)}
    body = {"instances": [{"content": text} for text in texts], "parameters": parameters}
    return Batch(_vertex_path(wanted, "predict"), body, list(texts))


def _read_predict(answer: Any) -> Embedded:
    rows = [row.embeddings for row in msgspec.convert(answer, _Predictions).predictions]
    tokens = sum(int(row.statistics.token_count) for row in rows)
    return Embedded([row.values for row in rows], Usage(input=max(tokens, 0)))


def _write_content(wanted: Embed, texts: Sequence[str]) -> Batch:
    body = {
        "content": {"parts": [{"text": texts[0]}]},
        "autoTruncate": False,
        **_shortened("outputDimensionality", wanted),
    }
    return Batch(_vertex_path(wanted, "embedContent"), body, list(texts))


def _read_content(answer: Any) -> Embedded:
    row = msgspec.convert(answer, _VertexRow)
    tokens = max(row.usage_metadata.prompt_token_count, 0)
    return Embedded([row.embedding.values], Usage(input=tokens))


# Ollama


class _OllamaRows(msgspec.Struct):
    embeddings: list[list[float]]
    model: str | None = None
    prompt_eval_count: int = 0


def _write_ollama(wanted: Embed, texts: Sequence[str]) -> Batch:
    body = {"model": wanted.provider.model, "input": list(texts), "truncate": False}
    return Batch("api/embed", body | _shortened("dimensions", wanted), list(texts))


def _read_ollama(answer: Any) -> Embedded:
    rows = msgspec.convert(answer, _OllamaRows)
    return Embedded(rows.embeddings, Usage(input=max(rows.prompt_eval_count, 0)), rows.model)


# Bedrock


class _TitanRow(msgspec.Struct):
    embedding: list[float]
    inputTextTokenCount: int = 0  # noqa: N815  the name on the wire


class _CohereRows(msgspec.Struct):
    embeddings: list[list[float]] | dict[str, list[list[float]]]


def _invoked(wanted: Embed) -> str:
    return f"model/{quote(wanted.provider.model, safe='-._~')}/invoke"


def _write_titan(wanted: Embed, texts: Sequence[str]) -> Batch:
    body = {"inputText": texts[0], **_shortened("dimensions", wanted)}
    return Batch(_invoked(wanted), body, list(texts))


def _read_titan(answer: Any) -> Embedded:
    row = msgspec.convert(answer, _TitanRow)
    return Embedded([row.embedding], Usage(input=max(row.inputTextTokenCount, 0)))


def _write_cohere(wanted: Embed, texts: Sequence[str]) -> Batch:
    body = {
        "texts": list(texts),
        "input_type": "search_document",
        "embedding_types": ["float"],
        **_shortened("output_dimension", wanted),
    }
    return Batch(_invoked(wanted), body, list(texts))


def _read_cohere(answer: Any) -> Embedded:
    rows = msgspec.convert(answer, _CohereRows).embeddings
    return Embedded(rows.get("float", []) if isinstance(rows, dict) else rows, Usage())


def _shortened(name: str, wanted: Embed) -> dict[str, int]:
    return {} if wanted.dimensions is None else {name: wanted.dimensions}


_OPENAI = Format(256, _write_openai, _read_openai)
_GOOGLE = Format(100, _write_google, _read_google)
_VERTEX = {
    "gemini-embedding-001": Format(1, _write_predict, _read_predict),
    "gemini": Format(1, _write_content, _read_content),
    "embedding": Format(250, _write_predict, _read_predict, characters=20_000),
}
_OLLAMA = Format(256, _write_ollama, _read_ollama)
_BEDROCK = {
    "titan-embed": Format(1, _write_titan, _read_titan),
    "cohere.embed": Format(96, _write_cohere, _read_cohere),
}
