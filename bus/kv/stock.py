"""What each tenant's values take in their bucket, by id and version. Pure."""

from typing import NamedTuple

from bus.kv.bucket import BucketEntry


class StockPlan(NamedTuple):
    """The versions to drop once a new one is stored, and how many bytes there are then."""

    drop: list[int]
    used: int


class Stock:
    """Sizes of what is stored, in bytes. Keys are those of the store of versions."""

    def __init__(self) -> None:
        self._sizes: dict[str, dict[str, dict[int, int]]] = {}
        self._totals: dict[str, int] = {}

    @property
    def tenants(self) -> list[str]:
        """Those of whom something is stored."""
        return list(self._totals)

    def bytes_of(self, tenant: str) -> int:
        """Return what all versions of a tenant's values take."""
        return self._totals.get(tenant, 0)

    def note(self, key: str, size: int) -> None:
        """Note that a key holds so many bytes; 0 where it holds nothing any more."""
        tenant, name, version = parts_of(key)
        values = self._sizes.setdefault(tenant, {})
        sizes = values.setdefault(name, {})
        self._totals[tenant] = self._totals.get(tenant, 0) + size - sizes.pop(version, 0)
        if size:
            sizes[version] = size
        elif not sizes:
            del values[name]
        if not values:
            del self._sizes[tenant], self._totals[tenant]

    def changed(self, entry: BucketEntry[int]) -> None:
        """See ``Watcher.changed``: the entry tells a size."""
        self.note(entry.key, entry.value)

    def removed(self, key: str, revision: int) -> None:
        """See ``Watcher.removed``."""
        del revision
        self.note(key, 0)

    def cleared(self) -> None:
        """Forget everything."""
        self._sizes.clear()
        self._totals.clear()

    def plan(
        self, tenant: str, name: str, size: int, *, versions: int, most_bytes: int
    ) -> StockPlan:
        """Say what becomes of a tenant's stock when one more version of ``size`` bytes is stored.

        Of this value at most ``versions`` remain, the new one included. The oldest go first, and
        more of them where the tenant would have above ``most_bytes``.
        """
        sizes = self._sizes.get(tenant, {}).get(name, {})
        # The newest version lies under 0, until the new one takes its place.
        archived = sorted(version for version in sizes if version)
        used, kept = self.bytes_of(tenant) + size, len(sizes) + 1
        drop: list[int] = []
        for version in archived:
            if kept <= versions and used <= most_bytes:
                break
            drop.append(version)
            used, kept = used - sizes[version], kept - 1
        return StockPlan(drop, used)


def parts_of(key: str) -> tuple[str, str, int]:
    """Return tenant, id and version of a key; the version is 0 for the newest one."""
    tenant, name, *version = key.split(".")
    return tenant, name, int(version[0].removeprefix("v")) if version else 0
