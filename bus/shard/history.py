"""The history of one entity, read back from the commits of its shard. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from bus.codec import decode
from bus.errors import problem
from bus.ports import Resting
from bus.shard.book import START
from bus.shard.entity import Entity
from bus.shard.quarantine import reason_of
from schemas.base import Value
from schemas.decision import Effect
from schemas.journal import NOTHING, AtRest, Commit, Entry, Sleeper, SlotImage
from schemas.work import WorkItem


class Outstanding(Value):
    """An effect by its id, and where it goes: a queue of work, or the entity that is asked."""

    id: str
    to: str


class Moment(Value):
    """One command of a commit, and what it came to.

    ``sequence`` is the commit's place in the stream, ``n`` its number in the shard. ``kind`` and
    ``command`` are the tag and id of the command; a timer has no id. ``opened`` and ``closed`` are
    effects; both are empty while the state before is not known. ``corrupt`` says why the entry
    cannot be read, or put the entity into quarantine; empty, it ended that. ``by``, ``cause``,
    ``trace`` and ``seal`` are those of the command.
    """

    sequence: int
    n: int
    epoch: int
    at: datetime
    command: str
    kind: str
    events: list[msgspec.Raw]
    opened: list[Outstanding] = []
    closed: list[Outstanding] = []
    reply: msgspec.Raw = NOTHING
    corrupt: str | None = None
    by: str = ""
    cause: str = ""
    trace: str | None = None
    seal: str = ""


class History:
    """Follows one entity through the commits that are given to it.

    ``state`` is what the entity begins with until its first event. ``is_whole`` says that this is
    among the commits. Where they begin in the middle of its life, its state is not known until a
    snapshot tells it.
    """

    is_whole = False
    is_known = False

    def __init__(self, entity: Entity[Any, Any, Any], tenant: str, key: str) -> None:
        self.state: Any = entity.initial(tenant, key)
        self._entity = entity
        self._address = (tenant, key)

    def concerns(self, of: Entry | SlotImage) -> bool:
        """Say whether an entry, or a place in a snapshot, is of this entity."""
        return (of.tenant, of.key) == self._address

    def adopt(self, slot: SlotImage, version: int, parts: Mapping[str, bytes]) -> None:
        """Take the state from its place in a snapshot, which names ``parts``.

        Raises:
            ProblemError: ``validation``: it cannot be read; ``corrupt``: a part is gone.
        """
        if (gone := set(slot.parts) - set(parts)) != set():
            raise problem("corrupt", f"{len(gone)} parts of the state are gone")
        if slot.state != NOTHING:
            state = self._entity.state(slot.state, version)
            self.state = self._entity.joined(state, [parts[name] for name in slot.parts])
            self.is_known = True

    def lies_in(self, sleepers: Sequence[Sleeper]) -> bool:
        """Say whether a snapshot names the entity as one at rest."""
        return self._address in ((each.tenant, each.key) for each in sleepers)

    def wake(self, resting: Resting, n: int) -> None:
        """Take the state from the one at rest, unless that holds more than commit ``n`` led to.

        Raises:
            ProblemError: ``validation``: it cannot be read.
        """
        image = decode(AtRest, resting.data)
        if image.last <= n and image.state != NOTHING:
            self.state = self._entity.state(image.state, image.version)
            self.is_known = True

    def add(self, sequence: int, commit: Commit, entry: Entry) -> Moment:
        """Apply an entry of this entity, with its events in place, and tell what it came to.

        What cannot be read is told with the reason, and leaves the state as it was.
        """
        known, before = self.state, self._effects()
        if entry.n > 1 and not self.is_known:
            self.state = None
        self.is_whole = self.is_whole or entry.n == 1
        self.is_known = self.is_known or entry.n <= 1 or entry.base is not NOTHING
        try:
            if entry.base is not NOTHING:
                self.state = self._entity.state(entry.base, commit.version)
            before = self._effects()
            for raw in entry.events if self.is_known else ():
                self._apply(raw)
            after = self._effects()
        except Exception as error:  # noqa: BLE001  whatever a core raises: the rest is to be shown
            self.state = known
            moment = self.unreadable(sequence, commit, reason_of(error))
            return msgspec.structs.replace(moment, command=entry.command, kind=entry.kind)
        return Moment(
            sequence=sequence,
            n=commit.n,
            epoch=commit.epoch,
            at=commit.at,
            command=entry.command,
            kind=entry.kind,
            events=entry.events,
            opened=[_shown(effect) for name, effect in after.items() if name not in before],
            closed=[_shown(effect) for name, effect in before.items() if name not in after],
            reply=entry.reply,
            corrupt=entry.corrupt,
            by=entry.by,
            cause=entry.cause,
            trace=entry.trace,
            seal=entry.seal,
        )

    def unreadable(self, sequence: int, commit: Commit | None, reason: str) -> Moment:
        """Tell of an entry that cannot be read, of a commit that perhaps cannot either."""
        n, epoch, at = (commit.n, commit.epoch, commit.at) if commit else (0, 0, START)
        return Moment(
            sequence=sequence,
            n=n,
            epoch=epoch,
            at=at,
            command="",
            kind="unreadable",
            events=[],
            corrupt=reason,
        )

    def _apply(self, raw: msgspec.Raw) -> None:
        event = self._entity.event(raw)
        try:
            self.state = self._entity.evolve(self.state, event)
        except ValueError:
            # What the event follows is older than the journal.
            self.state = None

    def _effects(self) -> dict[str, Effect]:
        outstanding = () if self.state is None else self._entity.effects(self.state)
        return {effect.id: effect for effect in outstanding}


def _shown(effect: Effect) -> Outstanding:
    return Outstanding(
        id=effect.id, to=effect.queue if isinstance(effect, WorkItem) else effect.entity
    )
