"""Knowing all values of a store: the newest of each, of all tenants, in memory."""

from collections.abc import Iterator
from typing import Generic

from bus.kv.bucket import BucketEntry
from schemas.versioned import V


class Heads(Generic[V]):
    """The newest value under each ``<tenant>.<id>``. A watcher of a store of versions.

    Whether all are known that are stored is said by who follows the bucket.
    """

    def __init__(self) -> None:
        self._values: dict[str, BucketEntry[V]] = {}
        self._tenants: dict[str, str] = {}

    def of(self, tenant: str, name: str) -> V | None:
        """Return a value, deleted or not; None if there is none."""
        entry = self._values.get(f"{tenant}.{name}")
        return entry.value if entry is not None else None

    def tenant_of(self, name: str) -> str | None:
        """Return whose value has this id, where ids are unique over all tenants."""
        return self._tenants.get(name)

    def values(self) -> Iterator[V]:
        """Yield all that is not deleted."""
        for entry in self._values.values():
            if entry.value.deleted_at is None:
                yield entry.value

    def changed(self, entry: BucketEntry[V]) -> None:
        """See ``Watcher.changed``."""
        self._values[entry.key] = entry
        tenant, _, name = entry.key.partition(".")
        self._tenants[name] = tenant

    def removed(self, key: str, revision: int) -> None:
        """See ``Watcher.removed``."""
        known = self._values.get(key)
        if known is not None and known.revision < revision:
            del self._values[key]
            self._tenants.pop(key.partition(".")[2], None)

    def cleared(self) -> None:
        """See ``Watcher.cleared``."""
        self._values.clear()
        self._tenants.clear()
