"""What must hold of the codec, whatever the bytes: the laws that are fuzzed.

Only the typed error comes out; and what is accepted can be read again from the journal, from a
snapshot and from the mail that leads there, by whoever takes the shard over.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from bus.codec import accept, decode, encode
from bus.errors import ProblemError
from bus.shard.salvage import cut, read_commit
from schemas import bounds
from schemas.agents import ApplyAgent
from schemas.embeddings import Embed
from schemas.executions import ExecuteAgent, Generate
from schemas.journal import CommandEnvelope, Commit, Entry, SlotImage, Snapshot

KINDS: tuple[Any, ...] = (Generate, ExecuteAgent, ApplyAgent, Embed, dict[str, Any], Any)
"""The requests that hold the most, and what may hold anything."""

_AT = datetime(2026, 1, 2, tzinfo=UTC)


def demand_border(data: bytes) -> bool:
    """Check that bytes are refused typed, or read back equal; say whether any kind took them."""
    return sum(_demand(kind, data) for kind in KINDS) > 0


def demand_salvage(data: bytes) -> None:
    """Check that a journal may hold anything at all: a commit is read as far as it can be."""
    found = read_commit(data)
    if found.commit is not None:
        assert isinstance(found.commit.n, int)
    cut(data)


def _demand(kind: Any, data: bytes) -> bool:
    try:
        value: Any = accept(kind, data)
    except ProblemError as error:
        if error.problem.code != "validation":
            raise
        return False
    stored = encode(value)
    for raw in _read_back(stored):
        assert encode(decode(kind, raw)) == stored
    bounds.check_value(msgspec.to_builtins(value))
    return True


def _read_back(stored: bytes) -> list[msgspec.Raw]:
    raw = msgspec.Raw(stored)
    entry = Entry(tenant="t", key="k", command="c", base=raw, events=[raw], reply=raw)
    commit = Commit(n=1, epoch=1, turn="t", at=_AT, entries=[entry])
    slot = SlotImage(tenant="t", key="k", state=raw)
    snapshot = Snapshot(entity="e", version=1, n=1, at=_AT, slots=[slot])
    found = decode(Commit, encode(commit)).entries[0]
    envelope = decode(
        CommandEnvelope, encode(CommandEnvelope(id="i", tenant="t", key="k", body=raw))
    )
    return [
        found.base,
        found.events[0],
        found.reply,
        decode(Snapshot, encode(snapshot)).slots[0].state,
        envelope.body,
    ]
