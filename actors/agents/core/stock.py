"""What each tenant's definitions take in the store, by agent and version. Pure."""

from typing import NamedTuple


class Plan(NamedTuple):
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
        """Return what all versions of a tenant's agents take."""
        return self._totals.get(tenant, 0)

    def note(self, key: str, size: int) -> None:
        """Note that a key holds so many bytes; 0 where it holds nothing any more."""
        tenant, agent_id, version = parts_of(key)
        agents = self._sizes.setdefault(tenant, {})
        sizes = agents.setdefault(agent_id, {})
        self._totals[tenant] = self._totals.get(tenant, 0) + size - sizes.pop(version, 0)
        if size:
            sizes[version] = size
        elif not sizes:
            del agents[agent_id]
        if not agents:
            del self._sizes[tenant], self._totals[tenant]

    def clear(self) -> None:
        """Forget everything."""
        self._sizes.clear()
        self._totals.clear()

    def plan(
        self, tenant: str, agent_id: str, size: int, *, versions: int, most_bytes: int
    ) -> Plan:
        """Say what becomes of a tenant's stock when one more version of ``size`` bytes is stored.

        Of this agent at most ``versions`` remain, the new one included. The oldest go first, and
        more of them where the tenant would have above ``most_bytes``.
        """
        sizes = self._sizes.get(tenant, {}).get(agent_id, {})
        # The newest version lies under 0, until the new one takes its place.
        archived = sorted(version for version in sizes if version)
        used, kept = self.bytes_of(tenant) + size, len(sizes) + 1
        drop: list[int] = []
        for version in archived:
            if kept <= versions and used <= most_bytes:
                break
            drop.append(version)
            used, kept = used - sizes[version], kept - 1
        return Plan(drop, used)


def parts_of(key: str) -> tuple[str, str, int]:
    """Return tenant, agent and version of a key; the version is 0 for the newest one."""
    tenant, agent_id, *version = key.split(".")
    return tenant, agent_id, int(version[0].removeprefix("v")) if version else 0
