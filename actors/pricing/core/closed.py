"""What is over and must not come again: bounded, and exact as far back as it reaches. Pure.

Entries lie in layers by the order of their coming. The newest layer takes a few; neighbours of like
size are joined until they are full, so that adding is cheap and nothing is ever changed. Full
layers are dropped, the oldest first, once all in them is older than must be remembered and more
than ``ROOM`` others are left. From then on what is not newer is too old to be judged.

In all but the newest layers what was plainly settled is packed, which is nearly all: two million
take 40 MB in memory and 53 in a snapshot.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from actors.pricing.core import settled
from schemas.base import Internal

YOUNG = 32
"""Entries of a layer that is copied with one more; beyond, joining copies each less often."""

FULL = 16_384
PACKED_FROM = 1024
"""Entries of a layer from which on those that are plainly settled are packed: a millisecond."""

ROOM = 100_000
"""So many are remembered however old they are: a fleet that slept for a year forgets nothing."""


PART_BYTES = 64 * 1024
"""Packed layers from this size on are stored apart from the rest of a state: they seldom change."""


class Closed(Internal, array_like=True):
    """How something has ended; ``booked_pico`` is what a lapse has booked on ``accounts``.

    ``lent_pico`` is that of the platform's money. ``bound_pico`` is what was held for it, and a
    chunk: a late bill of foreign charges is bounded by it; None where nothing was held. ``digest``
    tells an entry by hand from another of its id.
    """

    how: Literal["settled", "voided", "lapsed", "entered"]
    booked_pico: int = 0
    accounts: tuple[str, ...] = ()
    lent_pico: int = 0
    bound_pico: int | None = None
    digest: str = ""


SETTLED = Closed(how="settled")
VOIDED = Closed(how="voided")


class Layer(Internal):
    """Entries; ``until`` is the newest time in them. ``packed`` are keys of what is ``SETTLED``.

    They reach from ``least`` to ``most``. A key may also be among the entries: then it was settled
    after what its entry says.
    """

    until: datetime
    entries: dict[str, Closed] = {}
    packed: bytes = b""
    least: bytes = b""
    most: bytes = b""

    @property
    def size(self) -> int:
        """How much is in it."""
        return len(self.entries) + settled.size(self.packed)


class ClosedMemory(Internal):
    """All that is remembered, and up to when something may have been forgotten."""

    layers: tuple[Layer, ...] = ()
    forgotten: datetime | None = None


def recall(memory: ClosedMemory, key: str) -> Closed | None:
    """Return how something has ended; None if it has not, or is too old to be known."""
    packed = settled.packed(key)
    for layer in reversed(memory.layers):
        # UUIDs of version 7 grow with the time: most layers are left after one comparison.
        if (
            packed is not None
            and layer.least <= packed <= layer.most
            and settled.holds(layer.packed, packed)
        ):
            return SETTLED
        if not layer.entries:
            continue
        found = layer.entries.get(key)
        if found is not None:
            return found
    return None


def is_too_old(memory: ClosedMemory, at: datetime) -> bool:
    """Say whether what is of this time could have been forgotten."""
    return memory.forgotten is not None and at <= memory.forgotten


def remember(memory: ClosedMemory, key: str, closed: Closed, at: datetime) -> ClosedMemory:
    """Return the memory with one more; ``at`` is the time by which it is forgotten."""
    layers = memory.layers
    newest = layers[-1] if layers else None
    if newest is not None and newest.size < min(YOUNG, FULL):
        entries = {**newest.entries, key: closed}
        layers = (*layers[:-1], Layer(until=max(newest.until, at), entries=entries))
    else:
        layers = (*layers, Layer(until=at, entries={key: closed}))
    while len(layers) > 1 and _are_alike(layers[-2], layers[-1]):
        layers = (*layers[:-2], _joined(layers[-2], layers[-1]))
    return ClosedMemory(layers=layers, forgotten=memory.forgotten)


def forget(memory: ClosedMemory, now: datetime, days: float) -> ClosedMemory:
    """Return the memory without layers that need not be remembered any more."""
    oldest = now - timedelta(days=days)
    layers, forgotten = memory.layers, memory.forgotten
    if not layers or layers[0].until >= oldest:
        return memory
    left = sum(layer.size for layer in layers)
    while layers and layers[0].until < oldest and left - layers[0].size >= ROOM:
        left -= layers[0].size
        forgotten = max(forgotten or layers[0].until, layers[0].until)
        layers = layers[1:]
    return memory if layers is memory.layers else ClosedMemory(layers=layers, forgotten=forgotten)


def split(memory: ClosedMemory) -> tuple[ClosedMemory, list[bytes]]:
    """Return the memory without its large packed layers, and these, the oldest first."""
    parts = [layer.packed for layer in memory.layers if len(layer.packed) >= PART_BYTES]
    layers = tuple(
        msgspec.structs.replace(layer, packed=b"") if len(layer.packed) >= PART_BYTES else layer
        for layer in memory.layers
    )
    return msgspec.structs.replace(memory, layers=layers) if parts else memory, parts


def joined(memory: ClosedMemory, parts: Sequence[bytes]) -> ClosedMemory:
    """Return a memory that was split, whole again: a layer that lacks its keys has ``least``."""
    left = iter(parts)
    layers = tuple(
        msgspec.structs.replace(layer, packed=next(left))
        if layer.least and not layer.packed
        else layer
        for layer in memory.layers
    )
    return msgspec.structs.replace(memory, layers=layers)


def _are_alike(older: Layer, newer: Layer) -> bool:
    one, other = older.size, newer.size
    return one <= 2 * other and one + other <= FULL


def _joined(older: Layer, newer: Layer) -> Layer:
    entries, until = {**older.entries, **newer.entries}, max(older.until, newer.until)
    packed = settled.joined(older.packed, newer.packed)
    if len(entries) < PACKED_FROM:
        return _layer(until, entries, packed)
    keys = {key: settled.packed(key) for key, how in entries.items() if how == SETTLED}
    fit = {key: each for key, each in keys.items() if each is not None}
    others = {key: how for key, how in entries.items() if key not in fit}
    return _layer(until, others, settled.added(packed, fit.values()))


def _layer(until: datetime, entries: dict[str, Closed], packed: bytes) -> Layer:
    least, most = packed[: settled.WIDTH], packed[-settled.WIDTH :]
    return Layer(until=until, entries=entries, packed=packed, least=least, most=most)
