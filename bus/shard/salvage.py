"""Reading what a journal or snapshot holds where part of it cannot be read. Pure.

Journals are written by ourselves, so nothing here is expected to happen; but a shard holds the
entities of all tenants, and must not end with the first of them that is damaged. What can be told
is which entities are concerned: those are to be quarantined, and all others go on.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.shard.quarantine import reason_of
from schemas.base import Value
from schemas.entity import EntityAddress
from schemas.journal import Commit, Entry, SlotImage, Snapshot

P = TypeVar("P", Entry, SlotImage)

MAX_DEPTH = 256
"""A text nested deeper than this is cut. The codec lets in 64, and entries wrap some ten around."""

UNREADABLE = b"1e999"
"""What stands for the parts that were cut off: a number that no decoder takes for any type, but
that may stand in what is passed over."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_ADDRESS = re.compile(rb'\{"tenant":"([^"\\]+)","key":"([^"\\]+)","command":')


class _Addressed(Value):
    tenant: str
    key: str


class Salvaged(NamedTuple):
    """A commit without the entries that cannot be read, and the entities that these are of.

    ``commit`` is None where not even its number can be told. ``nameless`` counts entries of which
    not even the entity can be told.
    """

    commit: Commit | None
    damaged: dict[EntityAddress, str]
    nameless: int = 0


class SalvagedSnapshot(NamedTuple):
    """A snapshot without the slots that cannot be read, and the entities that these are of."""

    snapshot: Snapshot
    damaged: dict[EntityAddress, str]


def read_commit(data: bytes) -> Salvaged:
    """Return what can be read of a commit. A sound one costs nothing more than to decode it."""
    try:
        return Salvaged(decode(Commit, data), {})
    except ProblemError as error:
        return _salvaged(data, reason_of(error))


def commit_of(data: bytes) -> Commit | None:
    """Return what can be read of a commit, None where that is nothing."""
    return read_commit(data).commit


def read_snapshot(data: bytes) -> SalvagedSnapshot:
    """Return what can be read of a snapshot.

    Raises:
        ProblemError: ``validation``: that is nothing, or not even the entities can be told of what
            is damaged.
    """
    try:
        return SalvagedSnapshot(decode(Snapshot, data), {})
    except ProblemError:
        fields = decode(dict[str, msgspec.Raw], cut(data))
        slots, damaged, nameless = _parts(fields.get("slots"), SlotImage)
        if nameless:
            raise
        whole = decode(Snapshot, encode({**fields, "slots": []}))
        return SalvagedSnapshot(msgspec.structs.replace(whole, slots=slots), damaged)


def cut(data: bytes) -> bytes:
    """Return a text with all that is nested too deep replaced by what no decoder takes."""
    pieces: list[bytes] = []
    depth = kept = 0
    for match in _TOKEN.finditer(data):
        if match[0] in (b"[", b"{"):
            depth += 1
            if depth == MAX_DEPTH:
                pieces += data[kept : match.start()], UNREADABLE
        elif match[0] in (b"]", b"}"):
            if depth == MAX_DEPTH:
                kept = match.end()
            depth -= 1
    return b"".join((*pieces, data[kept:])) if depth < MAX_DEPTH else b"".join(pieces)


def _salvaged(data: bytes, reason: str) -> Salvaged:
    try:
        fields = decode(dict[str, msgspec.Raw], cut(data))
        entries, damaged, nameless = _parts(fields.get("entries"), Entry)
        commit = decode(Commit, encode({**fields, "entries": []}))
    except ProblemError:
        named = {(tenant.decode(), key.decode()): reason for tenant, key in _named(data)}
        return Salvaged(None, named)
    return Salvaged(msgspec.structs.replace(commit, entries=entries), damaged, nameless)


def _named(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entities that a garbled commit seems to name."""
    for tenant, key in _ADDRESS.findall(data):
        if tenant.isascii() and key.isascii():
            yield tenant, key


def _parts(raw: msgspec.Raw | None, kind: type[P]) -> tuple[list[P], dict[EntityAddress, str], int]:
    """Return the parts that can be read, the entities of the others, and how many are of none."""
    sound: list[P] = []
    damaged: dict[EntityAddress, str] = {}
    nameless = 0
    for part in decode(list[msgspec.Raw], raw) if raw is not None else ():
        try:
            sound.append(decode(kind, part))
        except ProblemError as error:
            address = _address(part)
            if address is None:
                nameless += 1
            else:
                damaged[address] = reason_of(error)
    return sound, damaged, nameless


def _address(part: msgspec.Raw) -> EntityAddress | None:
    try:
        found = decode(_Addressed, part)
    except ProblemError:
        return None
    return found.tenant, found.key
