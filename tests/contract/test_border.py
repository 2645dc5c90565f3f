"""Whatever comes in is refused with a typed problem, or can be read again wherever it is stored."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from actors.agents.core.acceptance import plain_request
from actors.agents.core.entity import EXECUTION
from bus.codec import accept, convert, decode, encode
from bus.errors import ProblemError
from bus.requests.rpc import command
from bus.shard.book import ShardBook
from bus.shard.turn import PendingCommand, take_turn
from schemas.agents import ApplyAgent
from schemas.base import Request
from schemas.bounds import MAX_CONTAINERS, MAX_DEPTH, MAX_INTEGER
from schemas.executions import ExecutionRecord, Generate
from schemas.fleet import Offer
from schemas.journal import CommandEnvelope, Commit, Entry, SlotImage, Snapshot
from schemas.lifecycle import Accept, Origin
from schemas.llm import GenerateRequest
from schemas.problems import Problem
from schemas.steps import at_once
from tests import hostile
from tests.contract.examples import example
from tests.contract.registry import message_classes

AT = datetime(2026, 1, 2, tzinfo=UTC)
KINDS = message_classes()
MOST_REFUSAL_BYTES = 4000
OFFER = example(Offer)
WRAPS = 6
"""Places in which a message lies at rest or on its way."""


def wrapped(data: bytes) -> Iterator[msgspec.Raw]:
    """Yield a message as it comes back from all that it is stored or sent in."""
    raw = msgspec.Raw(data)
    entry = Entry(tenant="t", key="k", command="c", base=raw, events=[raw], reply=raw)
    commit = Commit(n=1, epoch=1, turn="t", at=AT, entries=[entry])
    slot = SlotImage(tenant="t", key="k", state=raw)
    snapshot = Snapshot(entity="e", version=1, n=1, at=AT, slots=[slot])
    found = decode(Commit, encode(commit)).entries[0]
    yield from (found.base, found.events[0], found.reply)
    yield decode(Snapshot, encode(snapshot)).slots[0].state
    yield decode(
        CommandEnvelope, encode(CommandEnvelope(id="i", tenant="t", key="k", body=raw))
    ).body
    yield decode(Offer, encode(msgspec.structs.replace(OFFER, item=raw))).item


def demand_law(kind: type[msgspec.Struct], text: bytes) -> None:
    """Check that a text is refused, or read back equal from wherever it is stored."""
    try:
        value = accept(kind, text)
    except ProblemError as error:
        refused = error.problem
    else:
        data = encode(value)
        assert encode(decode(kind, data)) == data
        # The same bytes come out of whatever they were put into.
        assert [bytes(stored) for stored in wrapped(data)] == [data] * WRAPS
        return
    assert refused.code == "validation"
    assert len(encode(refused)) < MOST_REFUSAL_BYTES


PARTS = {encode(json.loads(encode(example(kind)))) for kind in KINDS}
"""What is a message of its own is tried by itself, not once more in each that it is a part of."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_with_a_hostile_value_is_refused_or_read_back_equal(kind: type[msgspec.Struct]):
    for _, text in hostile.texts(json.loads(encode(example(kind))), PARTS):
        demand_law(kind, text)


GENERATE: dict[str, Any] = {
    "id": "k",
    "provider": {"type": "openai", "model": "m", "base_url": "https://models.example.com/v1"},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "y"}]},
        {
            "role": "assistant",
            "content": "z",
            "tool_calls": [{"id": "c", "name": "n", "arguments": "{}"}],
            "blocks": [{"wire": "gemini", "raw": {"k": [1]}, "after_text": 1}],
        },
        {"role": "tool", "content": "1", "tool_call_id": "c"},
    ],
    "tools": [{"name": "n", "description": "d", "parameters": {"type": "object"}}],
    "config": {"temperature": 0.5, "seed": 3, "extra": {"k": 1}},
    "user": "u",
    "project": "p",
}

# A request all its way: accepted, decided, committed, recovered, snapshot, work and record

ENTITY = EXECUTION
ORIGIN = Origin(
    tenant="acme",
    execution_id="k",
    agent_id="llm",
    agent_version=1,
    task="x",
    digest="d",
    max_attempts=1,
)


def lived(request: GenerateRequest, origin: Origin = ORIGIN) -> tuple[ShardBook, Commit]:
    """Return the book of a shard that took the request in, and its commit as the journal has it."""
    book = ShardBook(ENTITY)
    wanted = Accept(origin=origin, request=request, timeout_seconds=9.0)
    outcome = take_turn(book, [PendingCommand(command("k", "acme", "k", wanted))], AT)
    assert outcome.crashed == []
    commit = Commit(n=1, epoch=1, turn="t", at=AT, entries=outcome.entries)
    return book, decode(Commit, encode(commit))


def demand_recovery(request: GenerateRequest, origin: Origin = ORIGIN) -> None:
    book, commit = lived(request, origin)
    recovered, loaded = ShardBook(ENTITY), ShardBook(ENTITY)
    recovered.replay(commit, commit.entries)
    loaded.load(decode(Snapshot, encode(book.image())))
    state = book.slots["acme", "k"].state
    for each in (recovered, loaded):
        assert each.corrupt == {}
        assert encode(each.slots["acme", "k"].state) == encode(state)
    assert ENTITY.record is not None
    kept = ENTITY.record(state)
    assert kept is not None
    record = kept.body
    assert decode(ExecutionRecord, encode(record)) == record
    items = [work.body for _, work in book.open_work()]
    assert [decode(type(item), encode(item)) for item in items] == items


def test_a_request_that_is_accepted_can_be_recovered_whatever_is_in_it():
    seen = 0
    for _, text in hostile.texts(GENERATE):
        try:
            wanted = accept(Generate, text)
        except ProblemError:
            continue
        request = at_once(plain_request(wanted, AT))
        if not isinstance(request, Problem):
            demand_recovery(request)
            seen += 1
    assert seen > len(hostile.FRAGMENTS)


def test_labels_of_strange_characters_can_be_recovered():
    request = GenerateRequest(provider=example(Generate).provider, messages=[])
    strange = "a\x00\x1b\x9b\u202e\u2028\ufffe😀"
    demand_recovery(
        request, msgspec.structs.replace(ORIGIN, user=strange, project=strange, task=strange)
    )


@pytest.mark.parametrize("depth", [1, 40, MAX_DEPTH - 5, MAX_DEPTH - 4, MAX_DEPTH, 972])
def test_blocks_are_nested_to_the_bound_and_no_deeper(depth: int):
    message = b'{"role":"assistant","content":"x","blocks":[{"wire":"gemini","raw":{"x":%b}}]}'
    text = (
        b'{"id":"k","provider":{"type":"scripted","responses":["x"]},"messages":['
        + message % hostile.nested(depth)
        + b"]}"
    )
    # The request, its messages, one of those, its blocks, one of those, and what it holds.
    if depth + 6 > MAX_DEPTH:
        with pytest.raises(ProblemError, match=f"deeper than {MAX_DEPTH}") as refused:
            accept(Generate, text)
        # What the decoder cannot read at all on Python 3.11, it cannot take apart there either.
        assert refused.value.problem.field in ({"messages", None} if depth > 500 else {"messages"})
        return
    request = at_once(plain_request(accept(Generate, text), AT))
    assert isinstance(request, GenerateRequest)
    demand_recovery(request)


# Bounds, by the field where it can be known


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (hostile.nested(MAX_DEPTH), "nested deeper"),
        (b"[%b{}]" % (b"{}," * MAX_CONTAINERS), "arrays and objects"),
        (b"%d" % (MAX_INTEGER + 1), "out of range"),
        (b"1e400", "out of range"),
    ],
)
def test_a_bound_names_the_field_that_exceeds_it(metadata: bytes, reason: str):
    with pytest.raises(ProblemError, match=reason) as refused:
        accept(ApplyAgent, b'{"id":"a","metadata":{"k":%b}}' % metadata)
    assert (refused.value.problem.field or "metadata").startswith("metadata")


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"k": float("nan")}, "metadata.k"),
        ({"k": [1, float("inf")]}, "metadata.k[1]"),
        ({"k": 2**63}, "metadata.k"),
        ({"k": "\ud800"}, "metadata.k"),
        ({(1, 2): 3}, "metadata"),
        ({True: 3}, "metadata"),
        ({"k": object()}, "metadata.k"),
    ],
)
def test_a_plain_object_is_held_to_the_same_bounds(value: object, field: str):
    with pytest.raises(ProblemError) as refused:
        convert(ApplyAgent, {"id": "a", "metadata": value})
    assert (refused.value.problem.code, refused.value.problem.field) == ("validation", field)


def test_a_plain_object_may_be_nested_to_the_bound():
    value: Any = 1
    for _ in range(MAX_DEPTH - 1):
        value = {"k": value}
    assert convert(ApplyAgent, {"id": "a", "metadata": value}).metadata == value
    with pytest.raises(ProblemError, match="deeper"):
        convert(ApplyAgent, {"id": "a", "metadata": {"k": value}})


def test_every_public_request_is_decoded_within_the_bounds():
    requests = [kind for kind in KINDS if issubclass(kind, Request)]
    assert requests
    for kind in requests:
        with pytest.raises(ProblemError, match="nested deeper"):
            accept(kind, hostile.nested(MAX_DEPTH + 1, b'{"k":', b"}", b"1"))
