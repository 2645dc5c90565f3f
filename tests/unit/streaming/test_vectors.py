"""Vectors that are not what was asked for: refused, put in order, or warned of."""

import struct
import sys
from base64 import b64encode
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.embeddings.formats import batches, format_of, read
from actors.streaming.core.embeddings.vectors import UnreadableError, decoded, ordered, otherwise
from actors.streaming.core.errors.faults import ProviderFaultError
from schemas.llm import AnswerWarning, EmbedRequest
from schemas.problems import Problem
from schemas.providers import Bedrock, Custom, Google, Ollama, Provider
from schemas.steps import at_once
from schemas.vectors import unpacked

GREATEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
CUSTOM = Custom(model="m", base_url="http://h")


def packed(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def answered(body: bytes, provider: Provider = CUSTOM, texts: int = 2) -> list[list[float]]:
    form = format_of(provider)
    assert form is not None
    (batch,) = batches(EmbedRequest(provider=provider, texts=["x"] * texts), form)
    vectors = at_once(read(form, batch, body)).vectors
    return [list(unpacked(vector)) for vector in vectors]


def rows(*embeddings: Any, indices: list[Any] | None = None) -> bytes:
    places = indices or range(len(embeddings))
    data = [{"embedding": one, "index": at} for one, at in zip(embeddings, places, strict=True)]
    return msgspec.json.encode({"data": data})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (rows([1.0], [2.0], [3.0]), "3 vectors for 2 texts"),
        (rows([1.0]), "1 vectors for 2 texts"),
        (rows([1.0], [2.0, 3.0]), "vectors of different sizes: 1, 2"),
        (rows([], []), "vectors of different sizes: 0"),
        (rows([1.0], [2.0], indices=[0, 0]), "vectors whose indices are not those of the texts"),
        (rows([1.0], [2.0], indices=[0, 2]), "vectors whose indices are not those of the texts"),
        (rows([1.0], [2.0], indices=[1, None]), "vectors whose indices are not those of the texts"),
        (rows([1.0], [2.0], indices=[-1, 0]), "vectors whose indices are not those of the texts"),
        (rows(packed(1, 2), packed(1, 2)[:-3]), "a vector in base64 that cannot be read"),
        (rows(packed(1, 2), "AAAA"), "a vector in base64 that cannot be read"),
        (rows(packed(1, 2), "secret!"), "a vector in base64 that cannot be read"),
        (rows(packed(1, float("nan")), packed(1, 2)), "a vector with a number that is not finite"),
        (rows(packed(1, float("inf")), packed(1, 2)), "a vector with a number that is not finite"),
        (rows([2e38 * 2], [1.0]), "a vector with a number that is not finite"),
        (rows([sys.float_info.max], [1.0]), "a vector with a number that is not finite"),
        (b'{"data":[{"embedding":[NaN]},{"embedding":[1]}]}', "no embeddings"),
        (b'{"data":[{"embedding":[1e999]},{"embedding":[1]}]}', "no embeddings"),
        (b'{"data":[{"embedding":[null]},{"embedding":[1]}]}', "no embeddings"),
    ],
)
def test_what_cannot_be_told_apart_or_compared_is_refused_and_said(body: bytes, said: str):
    with pytest.raises(UnreadableError) as raised:
        answered(body)

    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("body", "vectors"),
    [
        (rows([2.0], [1.0], indices=[1, 0]), [[1.0], [2.0]]),
        (rows([1.0], [2.0], indices=[None, None]), [[1.0], [2.0]]),
        (rows(packed(2, 3), packed(0.5, 1), indices=[1, 0]), [[0.5, 1.0], [2.0, 3.0]]),
        (rows([GREATEST, GREATEST], [1.0, 1.0]), [[GREATEST, GREATEST], [1.0, 1.0]]),
    ],
)
def test_what_can_is_put_in_the_order_of_the_texts(body: bytes, vectors: list[list[float]]):
    assert answered(body) == vectors


def test_of_one_text_the_index_is_no_matter():
    assert answered(rows([1.0], indices=[7]), texts=1) == [[1.0]]


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        (Google(model="gemini-embedding-001"), b'{"embeddings":[{"values":[1]},{"values":[1,2]}]}'),
        (Ollama(model="m"), b'{"embeddings":[[1,2],[1]]}'),
        (Bedrock(model="cohere.embed-english-v3", region="r"), b'{"embeddings":[[1,2],[1]]}'),
    ],
)
def test_mixed_sizes_are_refused_in_every_format(provider: Provider, body: bytes):
    with pytest.raises(UnreadableError, match="different sizes: 1, 2"):
        answered(body, provider)


@pytest.mark.parametrize(
    ("body", "code", "retryable"),
    [
        ({"data": [], "base_resp": {"status_code": 1008}}, "rate_limited", False),
        ({"vectors": None, "base_resp": {"status_code": 1002}}, "rate_limited", True),
        ({"error": {"code": 429}}, "rate_limited", True),
        ({"code": 401, "message": "x"}, "unauthorized", False),
    ],
)
def test_an_error_under_success_is_one(body: Any, code: str, retryable: bool):
    with pytest.raises(ProviderFaultError) as raised:
        answered(msgspec.json.encode(body))

    assert (raised.value.problem.code, raised.value.problem.retryable) == (code, retryable)


def test_beside_vectors_a_code_of_success_is_no_error():
    body = b'{"code":200,"error":null,"data":[{"embedding":[1]}],"base_resp":{"status_code":0}}'

    assert answered(body, texts=1) == [[1.0]]


def test_another_size_is_a_warning_or_where_one_is_strict_a_problem():
    asked = EmbedRequest(provider=CUSTOM, texts=["x"], dimensions=256)
    strict = EmbedRequest(provider=CUSTOM, texts=["x"], dimensions=256, dimensions_strict=True)
    message = "256 dimensions were asked for; the vectors have 384."

    assert otherwise(asked, 256) is None
    assert otherwise(strict, 256) is None
    assert (
        otherwise(EmbedRequest(provider=CUSTOM, texts=["x"], dimensions_strict=True), 384) is None
    )
    assert otherwise(asked, 384) == AnswerWarning(field="dimensions", message=message)
    assert otherwise(strict, 384) == Problem(
        code="provider_error",
        message=message,
        field="dimensions",
        details={"asked": 256, "found": 384},
    )


@given(st.permutations(range(6)))
def test_any_order_of_indices_is_put_right(indices: list[int]):
    vectors = [[float(index)] for index in indices]

    assert ordered(vectors, indices) == [[float(place)] for place in range(6)]


@given(st.lists(st.integers(-2, 6), min_size=2, max_size=6))
def test_indices_that_are_no_permutation_are_refused(indices: list[int]):
    if sorted(indices) == list(range(len(indices))):
        return
    with pytest.raises(UnreadableError):
        ordered([[1.0]] * len(indices), indices)


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_base64_holds_the_same_numbers(numbers: list[float]):
    assert decoded(packed(*numbers), {}, 20) == numbers


@given(st.text(max_size=30))
def test_any_text_is_a_vector_or_refused(text: str):
    with suppress(UnreadableError):
        assert len(decoded(text, {}, 20)) * 4 <= len(text)
