"""Which commits of a shard are archived together, and when. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bus.archive.packing import PackedBatch, checksum_of, packed
from schemas.archive import Archived, ArchivedEntry, TenantArchive
from schemas.ids import PLATFORM
from schemas.journal import Commit, Entry

MOST_TENANTS = 2000
"""In a batch: what ``Archived`` says of each fits into one message."""

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When a shard's first owner commits, before its clock was compared."""


class TakenCommit(NamedTuple):
    """A commit to archive: ``entries`` are whole; None where ``data`` cannot be read whole."""

    commit: Commit
    entries: list[Entry] | None
    sequence: int
    data: bytes


@dataclass(slots=True)
class ArchiveBatch:
    """Commits of one shard from number ``first`` on, without gaps, all of one month.

    ``until`` is the newest time that is known: commits that cannot be read are of that month too.
    Those before the shard's first turn have no time, and go with whatever month follows.
    """

    entity: str
    shard: int
    first: int
    most_bytes: int
    through: int = 0
    sequence: int = 0
    until: datetime = NEVER
    size: int = 0
    is_full: bool = False
    by_tenant: dict[str, list[ArchivedEntry]] = field(
        default_factory=dict[str, list[ArchivedEntry]]
    )

    @property
    def next(self) -> int:
        """The number of the commit that would follow."""
        return self.through + 1 if self.through else self.first

    @property
    def period(self) -> str:
        """The month of the commits, in UTC."""
        return f"{self.until:%Y-%m}"

    def take(self, taken: TakenCommit) -> bool:
        """Add the next commit; False if it belongs into another batch, and this one is full."""
        if self.through and not self._has_room(taken):
            self.is_full = True
            return False
        commit = taken.commit
        for tenant, entry in _kept(taken):
            self.by_tenant.setdefault(tenant, []).append(entry)
        self.through, self.sequence = commit.n, taken.sequence
        self.until, self.size = max(self.until, commit.at), self.size + len(taken.data)
        return True

    def is_over(self, now: datetime, grace: timedelta) -> bool:
        """Say whether the month of the commits has ended, and the grace after it."""
        if self.until == NEVER:
            return self.is_full
        return bool(self.through) and now >= end_of_month(self.until) + grace

    def pack(self) -> dict[str, PackedBatch]:
        """Return the parts of each tenant: some ten milliseconds of work a megabyte."""
        return {tenant: packed(entries) for tenant, entries in self.by_tenant.items()}

    def archived(self, packs: dict[str, PackedBatch]) -> Archived:
        """Return what is to be said when all parts are stored."""
        tenants = [
            TenantArchive(
                tenant=tenant,
                entries=len(self.by_tenant[tenant]),
                parts=len(pack.parts),
                checksum=pack.checksum,
            )
            for tenant, pack in packs.items()
        ]
        return Archived(
            entity=self.entity,
            shard=self.shard,
            period=self.period,
            first=self.first,
            through=self.through,
            sequence=self.sequence,
            until=self.until,
            entries=sum(one.entries for one in tenants),
            checksum=total_checksum(tenants),
            tenants=tenants,
        )

    def _has_room(self, taken: TakenCommit) -> bool:
        at = taken.commit.at
        same_month = NEVER in (at, self.until) or f"{at:%Y-%m}" == self.period
        few = len(self.by_tenant) < MOST_TENANTS
        return same_month and few and self.size + len(taken.data) <= self.most_bytes


def total_checksum(tenants: list[TenantArchive]) -> str:
    """Return the checksum over those of all tenants, in their order."""
    return checksum_of("".join(one.checksum for one in tenants).encode())


def end_of_month(at: datetime) -> datetime:
    """Return the first moment of the next month, in UTC."""
    return datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)


def _kept(taken: TakenCommit) -> Iterator[tuple[str, ArchivedEntry]]:
    """Yield the entries of a commit with their tenants; one that is damaged is the platform's."""
    commit, sequence = taken.commit, taken.sequence
    n, epoch, at, version = commit.n, commit.epoch, commit.at, commit.version
    if taken.entries is None:
        yield (
            PLATFORM,
            ArchivedEntry(
                n=n, sequence=sequence, epoch=epoch, at=at, version=version, commit=taken.data
            ),
        )
        return
    for place, entry in enumerate(taken.entries):
        yield (
            entry.tenant,
            ArchivedEntry(
                n=n,
                sequence=sequence,
                epoch=epoch,
                at=at,
                version=version,
                place=place,
                entry=entry,
            ),
        )
