"""Long arrays of numbers are cut out of an answer, and each is read between two pauses."""

import struct
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.embeddings.formats import Embedded, batches, format_of, read
from actors.streaming.core.embeddings.rows import LEAST_BYTES, cut
from actors.streaming.core.embeddings.vectors import UnreadableError
from schemas.llm import EmbedRequest
from schemas.providers import Bedrock, Custom, Google, Ollama, Provider
from schemas.steps import Steps, at_once
from schemas.vectors import unpacked

MOST = 1_000_000
CUSTOM = Custom(model="m", base_url="http://h")
NUMBERS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
LONG = st.lists(NUMBERS, min_size=1, max_size=9).map(lambda numbers: numbers * 150)
JSON = st.recursive(
    NUMBERS | LONG | LONG.map(str) | st.text(alphabet='[]"\\,1 x', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def put_back(value: Any, rows: dict[float, bytes]) -> Any:
    """Put rows in place of their marks."""
    match value:
        case [int() as mark] if mark in rows:
            return msgspec.json.decode(rows[mark])
        case list():
            return [put_back(each, rows) for each in value]
        case dict():
            return {name: put_back(each, rows) for name, each in value.items()}
        case _:
            return value


def without_arrays_in_texts(value: Any) -> Any:
    match value:
        case str() if value.startswith("["):
            return None
        case list():
            return list(map(without_arrays_in_texts, value))
        case dict():
            return {name: without_arrays_in_texts(each) for name, each in value.items()}
        case _:
            return value


@given(value=JSON, indent=st.sampled_from([0, 2]))
def test_nothing_is_lost_by_cutting(value: Any, indent: int):
    text = msgspec.json.format(msgspec.json.encode(value), indent=indent)

    rest, rows = at_once(cut(text, most_rest=MOST, most_row=MOST))

    found = put_back(msgspec.json.decode(rest), rows)
    assert without_arrays_in_texts(found) == without_arrays_in_texts(value)
    assert all(len(row) >= LEAST_BYTES for row in rows.values())


@given(text=st.text(alphabet='[]"\\,1x{}', max_size=60).map(lambda text: text.encode() * 40))
def test_any_bytes_are_cut_or_refused(text: bytes):
    try:
        rest, rows = at_once(cut(text, most_rest=600, most_row=400))
    except UnreadableError:
        return
    assert len(rest) <= 600 + len(rows) * len(b"[-4503599627370496]")
    for mark, row in rows.items():
        assert len(row) <= 400
        assert rest.count(b"[%d]" % mark) == 1
        rest = rest.replace(b"[%d]" % mark, row)
    assert rest == text


TEXTS = 40
VECTOR = [0.5 - number / 700 for number in range(700)]
ROUNDED = [float(f"{number:.8g}") for number in VECTOR]
PACKED = b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
VERTEX = Google(model="text-embedding-005", project="p")
COHERE = Bedrock(model="cohere.embed-english-v3", region="us-east-1")
VALUES: list[Any] = [{"values": VECTOR}] * TEXTS
ANSWERS: dict[str, tuple[Provider, Any]] = {
    "numbers": (CUSTOM, {"data": [{"embedding": VECTOR}] * TEXTS}),
    "base64": (CUSTOM, {"data": [{"embedding": PACKED}] * TEXTS}),
    "Google": (Google(model="g"), {"embeddings": VALUES}),
    "Vertex": (VERTEX, {"predictions": [{"embeddings": values} for values in VALUES]}),
    "Ollama": (Ollama(model="m"), {"embeddings": [VECTOR] * TEXTS}),
    "Cohere": (COHERE, {"embeddings": {"float": [VECTOR] * TEXTS}, "texts": ["[1,2]"] * TEXTS}),
}


def reading(provider: Provider, body: bytes, texts: int = TEXTS) -> Steps[Embedded]:
    form = format_of(provider)
    assert form is not None
    (batch,) = batches(EmbedRequest(provider=provider, texts=["x"] * texts), form)
    return read(form, batch, body)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_with_a_pause_every_few_thousand_numbers(name: str):
    provider, answer = ANSWERS[name]
    steps, pauses = reading(provider, msgspec.json.encode(answer)), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Embedded = end.value
            break
        pauses += 1

    assert pauses >= TEXTS * len(VECTOR) // 4096
    assert found.size == len(VECTOR)
    for vector in found.vectors:
        assert list(unpacked(vector)) == pytest.approx(ROUNDED, rel=1e-6)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"data":[{"embedding":[%b]}]}' % b",".join([b"1"] * 9000), "more numbers than"),
        (b'{"data":[{"embedding":"%b"}]}' % (b"A" * 60_000), "more numbers than"),
        (b'{"data":[{"embedding":[%b]}]}' % b",".join([b"0.5"] * 90_000), "more than vectors"),
        (b'{"data":[%b]}' % b",".join([b"[]"] * 30_000), "more numbers than"),
        (b"[]" * 200_000, "more than vectors"),
        (b'{"model":"%b"}' % (b"x" * 200_000), "more than vectors"),
        (b'{"data":[{"embedding":[%b]}]}' % b",".join([b"1.."] * 99), "no embeddings"),
    ],
)
def test_what_is_larger_than_vectors_can_be_is_not_read(body: bytes, said: str):
    with pytest.raises(UnreadableError, match=said):
        at_once(reading(CUSTOM, body, texts=1))


def test_one_row_told_to_be_many_costs_no_more_than_many_may():
    numbers = b",".join([b"0.5"] * 4096)
    marked = b",".join([b'{"embedding":[-4503599627370496]}'] * TEXTS)
    body = b'{"row":[%b],"data":[%b]}' % (numbers, marked)

    assert len(at_once(reading(CUSTOM, body)).vectors) == TEXTS
