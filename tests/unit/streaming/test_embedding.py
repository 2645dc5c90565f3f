"""Embedding requests in the formats of the providers, and their answers."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.embeddings.formats import (
    MAX_CHARACTERS,
    Answered,
    Format,
    TextBatch,
    UnreadableError,
    batches,
    estimated,
    format_of,
    read,
)
from schemas.llm import EmbedRequest
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Custom,
    Google,
    Ollama,
    OpenAI,
    Provider,
    Scripted,
)
from schemas.steps import at_once
from schemas.usage import Usage
from schemas.vectors import unpacked

OPENAI = OpenAI(model="text-embedding-3-small")
GOOGLE = Google(model="gemini-embedding-001")
OLLAMA = Ollama(model="nomic-embed-text")
TITAN = Bedrock(model="amazon.titan-embed-text-v2:0", region="us-east-1")
AZURE = Azure(model="m")
CUSTOM = Custom(model="m", base_url="http://h")
VERTEX = Google(model="text-embedding-005", project="p", location="europe-west4")
VERTEX_GEMINI = Google(model="gemini-embedding-001", project="p")
VERTEX_GEMINI_2 = Google(model="gemini-embedding-2-preview", project="p")
COHERE = Bedrock(model="cohere.embed-english-v3", region="us-east-1")


def form(provider: Provider) -> Format:
    found = format_of(provider)
    assert found is not None
    return found


def found_in(form: Format, batch: TextBatch, body: bytes) -> Answered:
    """Read an answer, and its stored vectors."""
    found = at_once(read(form, batch, body))
    vectors = [list(unpacked(vector)) for vector in found.vectors]
    assert found.size == len(vectors[0])
    return Answered([*vectors], found.usage, found.model)


def written(provider: Provider, *texts: str, dimensions: int | None = None) -> list[TextBatch]:
    wanted = EmbedRequest(provider=provider, texts=list(texts), dimensions=dimensions)
    return list(batches(wanted, form(provider)))


def test_openai_is_asked_for_all_texts_at_once():
    assert written(OPENAI, "a", "b", dimensions=64) == [
        TextBatch(
            "embeddings",
            {
                "model": "text-embedding-3-small",
                "input": ["a", "b"],
                "encoding_format": "float",
                "dimensions": 64,
            },
            ["a", "b"],
        )
    ]


def test_google_wants_a_request_a_text():
    (batch,) = written(GOOGLE, "a", dimensions=64)

    assert batch.path == "models/gemini-embedding-001:batchEmbedContents"
    request = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]}}
    assert batch.body == {"requests": [request | {"outputDimensionality": 64}]}


def test_vertex_has_a_form_for_each_generation_of_its_models_and_cuts_no_text():
    place = "projects/p/locations/global/publishers/google/models"

    assert written(VERTEX, "a", "b", dimensions=64) == [
        TextBatch(
            "projects/p/locations/europe-west4/publishers/google/models/text-embedding-005:predict",
            {
                "instances": [{"content": "a"}, {"content": "b"}],
                "parameters": {"autoTruncate": False, "outputDimensionality": 64},
            },
            ["a", "b"],
        )
    ]
    assert [batch.texts for batch in written(VERTEX_GEMINI, "a", "b")] == [["a"], ["b"]]
    assert written(VERTEX_GEMINI_2, "a", dimensions=64) == [
        TextBatch(
            f"{place}/gemini-embedding-2-preview:embedContent",
            {
                "content": {"parts": [{"text": "a"}]},
                "autoTruncate": False,
                "outputDimensionality": 64,
            },
            ["a"],
        )
    ]


def test_ollama_and_bedrock_have_forms_of_their_own():
    assert written(OLLAMA, "a")[0][:2] == (
        "api/embed",
        {"model": "nomic-embed-text", "input": ["a"], "truncate": False},
    )
    assert [batch[:2] for batch in written(TITAN, "a", "b", dimensions=256)] == [
        ("model/amazon.titan-embed-text-v2%3A0/invoke", {"inputText": text, "dimensions": 256})
        for text in ("a", "b")
    ]
    assert written(COHERE, "a", "b")[0].body == {
        "texts": ["a", "b"],
        "input_type": "search_document",
        "embedding_types": ["float"],
    }


@pytest.mark.parametrize(
    ("provider", "answer", "embedded"),
    [
        (
            OPENAI,
            {
                "data": [
                    {"index": 1, "embedding": [3, 4]},
                    {"index": 0, "embedding": [1, 2]},
                ],
                "model": "m-1",
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            },
            Answered([[1, 2], [3, 4]], Usage(input=5), "m-1"),
        ),
        (
            GOOGLE,
            {"embeddings": [{"values": [1, 2]}, {"values": [3, 4]}]},
            Answered([[1, 2], [3, 4]], Usage(input=2, quality="estimated")),
        ),
        (
            VERTEX,
            {
                "predictions": [
                    {"embeddings": {"values": [1, 2], "statistics": {"token_count": 2.0}}},
                    {"embeddings": {"values": [3, 4], "statistics": {"token_count": 3}}},
                ]
            },
            Answered([[1, 2], [3, 4]], Usage(input=5)),
        ),
        (
            OLLAMA,
            {"model": "m-1", "embeddings": [[1, 2], [3, 4]], "prompt_eval_count": 5},
            Answered([[1, 2], [3, 4]], Usage(input=5), "m-1"),
        ),
        (
            COHERE,
            {"embeddings": {"float": [[1, 2], [3, 4]]}, "id": "x"},
            Answered([[1, 2], [3, 4]], Usage(input=2, quality="estimated")),
        ),
        (
            COHERE,
            {"embeddings": [[1, 2], [3, 4]]},
            Answered([[1, 2], [3, 4]], Usage(input=2, quality="estimated")),
        ),
    ],
)
def test_answers_are_read_in_the_order_of_the_texts(
    provider: Provider, answer: Any, embedded: Answered
):
    (batch,) = written(provider, "a", "b")

    assert found_in(form(provider), batch, msgspec.json.encode(answer)) == embedded


@pytest.mark.parametrize(
    ("provider", "answer"),
    [
        (TITAN, b'{"embedding":[1,2],"inputTextTokenCount":3}'),
        (
            VERTEX_GEMINI_2,
            b'{"embedding":{"values":[1,2]},"usageMetadata":{"promptTokenCount":3}}',
        ),
    ],
    ids=["Titan", "Gemini 2"],
)
def test_a_text_alone_is_counted(provider: Provider, answer: bytes):
    (batch,) = written(provider, "a")

    assert found_in(form(provider), batch, answer) == Answered([[1, 2]], Usage(input=3))


NO_COUNTS: list[Any] = [None, "9", "many", -9, 0, [], {}, True, 1e300]


@pytest.mark.parametrize("count", NO_COUNTS)
@pytest.mark.parametrize(
    ("provider", "answer"),
    [
        (OPENAI, lambda told: {"data": [{"embedding": [1, 2]}], "usage": told}),
        (OPENAI, lambda told: {"data": [{"embedding": [1, 2]}], "usage": {"prompt_tokens": told}}),
        (OPENAI, lambda told: {"data": [{"embedding": [1, 2], "index": None}], "model": told}),
        (
            VERTEX,
            lambda told: {"predictions": [{"embeddings": {"values": [1, 2]} | told_of(told)}]},
        ),
        (VERTEX_GEMINI_2, lambda told: {"embedding": {"values": [1, 2]}, "usageMetadata": told}),
        (OLLAMA, lambda told: {"embeddings": [[1, 2]], "prompt_eval_count": told}),
        (TITAN, lambda told: {"embedding": [1, 2], "inputTextTokenCount": told}),
    ],
)
def test_malformed_usage_never_costs_vectors(provider: Provider, answer: Any, count: Any):
    (batch,) = written(provider, "a text")

    found = found_in(form(provider), batch, msgspec.json.encode(answer(count)))

    assert found.vectors == [[1, 2]]
    assert found.usage == estimated(batch)
    assert found.usage.quality == "estimated"


def test_neither_a_mark_of_the_byte_order_nor_a_usage_of_nan_costs_vectors():
    (batch,) = written(OPENAI, "a text")
    body = b'\xef\xbb\xbf{"data":[{"embedding":[1,2]}],"usage":{"prompt_tokens":NaN}}'

    assert found_in(form(OPENAI), batch, body).vectors == [[1, 2]]
    with pytest.raises(UnreadableError):
        found_in(form(OPENAI), batch, b'{"data":[{"embedding":[1,NaN]}]}')


def told_of(count: Any) -> dict[str, Any]:
    return {"statistics": {"token_count": count}} if count is not None else {"statistics": None}


@pytest.mark.parametrize(
    ("indexes", "order"),
    [
        (["1", "0"], [2, 1]),
        ([1, 0], [2, 1]),
        ([None, "x"], [1, 2]),
    ],
)
def test_vectors_without_sound_indexes_are_in_the_order_of_the_texts(
    indexes: list[Any], order: list[int]
):
    (batch,) = written(OPENAI, "a", "b")
    rows = [{"embedding": [at + 1], "index": index} for at, index in enumerate(indexes)]

    found = found_in(form(OPENAI), batch, msgspec.json.encode({"data": rows}))

    assert found.vectors == [[number] for number in order]


def test_a_total_alone_is_the_count_of_the_texts():
    (batch,) = written(OPENAI, "a")
    body = b'{"data":[{"embedding":[1]}],"usage":{"total_tokens":3}}'

    assert found_in(form(OPENAI), batch, body).usage == Usage(input=3)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"data":[]}',
        b'{"data":[{"embedding":[1]}]}',
        b'{"data":[{"embedding":[1]},{"embedding":[1,2]}]}',
        b'{"data":[{"embedding":[]},{"embedding":[]}]}',
        b'{"data":"x"}',
        b"[" * 9999,
    ],
)
def test_what_is_not_one_vector_for_each_text_is_unreadable(answer: bytes):
    (batch,) = written(OPENAI, "a", "b")

    with pytest.raises(UnreadableError):
        found_in(form(OPENAI), batch, answer)


@pytest.mark.parametrize(
    "provider",
    [
        Anthropic(model="claude"),
        Scripted(responses=["x"]),
        Bedrock(model="anthropic.claude", region="us-east-1"),
        Google(model="gecko", project="p"),
    ],
)
def test_who_has_no_embeddings_has_no_format(provider: Provider):
    assert format_of(provider) is None


@given(
    lengths=st.lists(st.integers(1, MAX_CHARACTERS // 2), min_size=1, max_size=40),
    provider=st.sampled_from([OPENAI, GOOGLE, VERTEX, TITAN, COHERE, AZURE, CUSTOM]),
)
def test_every_text_is_in_one_call_in_order_and_no_call_is_too_large(
    lengths: list[int], provider: Provider
):
    texts = ["x" * min(length, 200_000) for length in lengths]
    calls = written(provider, *texts)

    assert [text for call in calls for text in call.texts] == texts
    assert all(len(call.texts) <= form(provider).size for call in calls)
    most = form(provider).characters
    assert all(len(call.texts) == 1 or sum(map(len, call.texts)) <= most for call in calls)
