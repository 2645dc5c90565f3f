"""The values a process knows of: a row of each for lists, and those in use as a whole. Pure."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from bus.kv.bucket import BucketEntry
from schemas.bounded import Bounded
from schemas.versioned import V

R = TypeVar("R")

CAPACITY_BYTES = 32 * 1024 * 1024
"""Whole values in memory, as JSON. A row costs about 1 KB and is kept for every value."""


class _Row(NamedTuple, Generic[R]):
    revision: int
    row: R | None


class Roster(Generic[V, R]):
    """Values by tenant and id, each with the revision that stored it.

    An older revision never replaces a newer one, so readings and notices may come in any order.
    Whole values leave memory, the least used first, when they exceed ``capacity`` bytes.
    """

    def __init__(self, row: Callable[[V], R], capacity: int = CAPACITY_BYTES) -> None:
        self._row = row
        self._rows: dict[str, dict[str, _Row[R]]] = {}
        self._kept: Bounded[tuple[str, str], V] = Bounded(
            capacity, lambda value: len(msgspec.json.encode(value))
        )

    def keep(self, tenant: str, value: V, revision: int) -> None:
        """Remember a value."""
        row = None if value.deleted_at else self._row(value)
        if self._note(tenant, value.id, _Row(revision, row)):
            self._kept.put((tenant, value.id), value)

    def changed(self, entry: BucketEntry[V]) -> None:
        """See ``Watcher.changed``."""
        tenant, _ = entry.key.split(".")
        self.keep(tenant, entry.value, entry.revision)

    def removed(self, key: str, revision: int) -> None:
        """Remember that there is nothing under this key."""
        tenant, name = key.split(".")
        if self._note(tenant, name, _Row[R](revision, None)):
            self._kept.drop((tenant, name))

    def cleared(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._kept.clear()

    def find(self, tenant: str, name: str) -> V | None:
        """Return the newest known value, deleted or not; None if it is not in memory."""
        return self._kept.get((tenant, name))

    def rows(self, tenant: str) -> list[R]:
        """Return a row for each value of a tenant that is not deleted."""
        rows = self._rows.get(tenant, {}).values()
        return [each.row for each in rows if each.row is not None]

    def _note(self, tenant: str, name: str, row: _Row[R]) -> bool:
        rows = self._rows.setdefault(tenant, {})
        known = rows.get(name)
        if known is not None and known.revision > row.revision:
            return False
        rows[name] = row
        return True
