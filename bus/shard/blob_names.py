"""How the blobs of a shard are named: what they are, and of which commit. Pure.

The name says when a blob is needed no more, so that what an owner left behind that died before its
commit is found like everything else, by whoever owns the shard then.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["entry", "snapshot", "part"]


class BlobName(NamedTuple):
    """``n`` is the commit that was to refer to an entry, or after which a snapshot was taken.

    A part of a state has that of the first snapshot that needed it.
    """

    kind: str
    n: int
    name: str


def shard_blobs(subject: str) -> str:
    """Return what all blobs of a shard lie under, by its subject in the journal."""
    return ".".join(subject.split(".")[-2:])


def blobs_under(subject: str, kind: Kind, n: int) -> str:
    """Return what the blobs of one commit of a shard lie under."""
    return f"{shard_blobs(subject)}.{kind}.{n}"


def parsed(names: Iterable[str]) -> list[BlobName]:
    """Return what the names of a shard's blobs say; what has no such name is left out."""
    found: list[BlobName] = []
    for name in names:
        match name.split("."):
            case [_, _, kind, n, _] if n.isdecimal():
                found.append(BlobName(kind, int(n), name))
            case _:
                pass
    return found


def outdated(names: Iterable[str], *, first: int, snapshot: int) -> list[str]:
    """Return what nothing refers to any more, the oldest first.

    ``first`` is the oldest commit of the journal, ``snapshot`` the one that commits name. Above
    these nothing goes: an entry may be about to be committed, a snapshot about to be named.
    """
    least = {"entry": first, "snapshot": snapshot}
    return [each.name for each in sorted(parsed(names)) if each.n < least.get(each.kind, 0)]


def stored_snapshots(names: Iterable[str], *, first: int) -> list[BlobName]:
    """Return the snapshots to which a journal that begins with ``first`` follows, oldest first."""
    return sorted(each for each in parsed(names) if each.kind == "snapshot" and each.n >= first - 1)
