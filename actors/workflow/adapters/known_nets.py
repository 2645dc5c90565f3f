"""What all definitions listen to, as a follower of their store knows it."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import anyio

from actors.workflow.core.event_triggers import NetListening, OutsideEvent, listening_of, waits_for
from actors.workflow.core.outward_subjects import is_stored
from bus.kv.bucket import BucketEntry
from schemas.nets import CronTrigger, EventTrigger
from schemas.workflows import WorkflowDefinition

Name = tuple[str, str]
"""A tenant and the id of its workflow."""


class KnownVersion(NamedTuple):
    """What one version of a definition listens to, and since when it stands."""

    at: datetime
    listening: NetListening


class DueCrons(NamedTuple):
    """The crons of the newest version, none where it is deleted."""

    version: int
    crons: list[CronTrigger]


class HeardTrigger(NamedTuple):
    """A trigger that hears of an event."""

    workflow_id: str
    trigger: EventTrigger


class KnownNets:
    """Is told of all versions of all definitions; of each it keeps what it listens to.

    Instances keep the version that they began with, so what they wait for is that of any version.
    ``news`` is set at each change, and then replaced.
    """

    def __init__(self) -> None:
        self._versions: dict[Name, dict[int, KnownVersion]] = {}
        self._heads: dict[Name, int] = {}
        self._crons: dict[Name, DueCrons] = {}
        self._of_tenants: dict[str, set[Name]] = {}
        self.news = anyio.Event()

    # What the store tells

    def changed(self, entry: BucketEntry[WorkflowDefinition]) -> None:
        """Take note of a version, which may be the newest one."""
        tenant, workflow_id, *archived = entry.key.split(".")
        name, definition = (tenant, workflow_id), entry.value
        is_deleted = definition.deleted_at is not None
        listening = listening_of(definition.net)
        known = self._versions.setdefault(name, {})
        if not listening.is_empty:
            known[definition.version] = KnownVersion(definition.updated_at, listening)
            self._of_tenants.setdefault(tenant, set()).add(name)
        if not archived:
            self._heads[name] = 0 if is_deleted else definition.version
            self._note_crons(name, definition, is_deleted=is_deleted)
        self._tell()

    def removed(self, key: str, revision: int) -> None:
        """Forget a version, or with the newest one all of them."""
        del revision
        tenant, workflow_id, *archived = key.split(".")
        name = (tenant, workflow_id)
        if archived:
            self._versions.get(name, {}).pop(int(archived[0][1:]), None)
        else:
            self._heads.pop(name, None)
            self._versions.pop(name, None)
            self._of_tenants.get(tenant, set()).discard(name)
        self._tell()

    def cleared(self) -> None:
        """Forget everything."""
        self._versions.clear()
        self._heads.clear()
        self._of_tenants.clear()

    def _note_crons(self, name: Name, definition: WorkflowDefinition, *, is_deleted: bool) -> None:
        crons = [each for each in definition.net.triggers if isinstance(each, CronTrigger)]
        if crons or definition.version > 1:
            # One that has none may have had some in its version before.
            self._crons[name] = DueCrons(definition.version, [] if is_deleted else crons)

    def _tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()

    # What is asked of it

    def due_crons(self) -> list[tuple[Name, DueCrons]]:
        """Return the crons that are to be armed or disarmed; each change once."""
        found, self._crons = self._crons, {}
        return list(found.items())

    def crons_again(self, name: Name, crons: DueCrons) -> None:
        """Take note that arming has failed, unless a newer version is known."""
        self._crons.setdefault(name, crons)

    def triggers(self, event: OutsideEvent) -> list[HeardTrigger]:
        """Return the triggers of newest versions that stood before an event, of any subject."""
        return [
            HeardTrigger(name[1], trigger)
            for name, trigger, since in self._all_triggers(event.tenant)
            if since <= event.time
        ]

    def waiting(self, event: OutsideEvent) -> list[str]:
        """Return the workflows whose instances may wait for an event."""
        return [
            name[1]
            for name in sorted(self._of_tenants.get(event.tenant, ()))
            if any(
                waits_for(each.listening.waits, event)
                for each in self._versions.get(name, {}).values()
            )
        ]

    def stored_since(self, word: str) -> datetime | None:
        """Return since when stored facts below ``word`` are listened to; None if none are."""
        found = (since for pattern, since in self._patterns() if pattern[1].split(".")[0] == word)
        return min(found, default=None)

    def passing(self) -> set[Name]:
        """Return tenants and patterns of what no stream keeps."""
        return {pattern for pattern, _ in self._patterns() if not is_stored(pattern[1])}

    def _patterns(self) -> Iterator[tuple[Name, datetime]]:
        for tenant, names in self._of_tenants.items():
            for _, trigger, since in self._all_triggers(tenant):
                yield (tenant, trigger.subject), since
            for name in names:
                for version in self._versions.get(name, {}).values():
                    for wait in version.listening.waits:
                        yield (tenant, wait), version.at

    def _all_triggers(self, tenant: str) -> Iterator[tuple[Name, EventTrigger, datetime]]:
        for name in sorted(self._of_tenants.get(tenant, ())):
            head, versions = self._heads.get(name, 0), self._versions.get(name, {})
            if head in versions:
                for trigger in versions[head].listening.triggers:
                    yield name, trigger, _since(versions, head, trigger.id)


def _since(versions: dict[int, KnownVersion], head: int, trigger: str) -> datetime:
    """Return since when a trigger stands: the oldest version up to the head that has had it."""
    since = versions[head].at
    while (older := versions.get(head - 1)) is not None and any(
        each.id == trigger for each in older.listening.triggers
    ):
        head, since = head - 1, older.at
    return since
