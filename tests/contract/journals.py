"""Golden journals: the stored bytes of a shard's life, and the state they lead to.

Each ``golden_journals/<entity>.v<n>.json`` holds the commits of one shard as they were written by
some version of this program, and the snapshot that lies among them; these bytes never change, and
what is written today is the newest. The file ``….states.json`` beside it holds all entities as they
stand in the end, however the shard is recovered. It may gain a field that ``evolve`` now fills.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bus.codec import decode, encode
from bus.shard.book import ShardBook
from schemas.entity import Entity
from schemas.journal import Commit, SlotImage, Snapshot
from tests.contract import account_life, execution_life, workflow_life
from tests.contract.recorder import GoldenJournal, Recorder

FOLDER = Path(__file__).parent / "golden_journals"
_JOURNAL = re.compile(r"\.v\d+\.json$")


class Life(NamedTuple):
    """What becomes of the entities of one kind: all that can."""

    entity: Entity[Any, Any, Any]
    live: Callable[[Recorder], None]

    def recorded(self) -> GoldenJournal:
        """Live through it, as it is written today."""
        recorder = Recorder(self.entity)
        self.live(recorder)
        return recorder.golden()


LIVES = {
    life.entity.name: life
    for life in (
        Life(execution_life.ENTITY, execution_life.live),
        Life(account_life.ENTITY, account_life.live),
        Life(workflow_life.ENTITY, workflow_life.live),
    )
}


def states(book: ShardBook) -> list[SlotImage]:
    """Return the entities of a book in an order that does not depend on how it came to be."""
    image = decode(Snapshot, encode(book.image()))
    return sorted(image.slots, key=lambda slot: (slot.tenant, slot.key))


def replayed(path: Path) -> bytes:
    """Return the entities that all commits of a file lead to, as they are stored today."""
    book: ShardBook = ShardBook(entity_of(path))
    for commit in (decode(Commit, raw) for raw in read(path).commits):
        book.replay(commit, commit.entries)
    return encode(states(book))


def entity_of(path: Path) -> Entity[Any, Any, Any]:
    """Return the entity whose journal a file holds."""
    return LIVES[path.name.partition(".")[0]].entity


def paths(name: str | None = None) -> list[Path]:
    """Return the golden journals of an entity, oldest first; or those of all."""
    if name is None:
        return [path for each in LIVES for path in paths(each)]
    found = (path for path in FOLDER.glob(f"{name}.v*") if _JOURNAL.search(path.name))
    return sorted(found, key=lambda path: int(path.suffixes[0][2:]))


def states_of(path: Path) -> Path:
    """Return where the states that a golden journal leads to stand."""
    return path.with_suffix(".states.json")


def read(path: Path) -> GoldenJournal:
    """Return what a file holds."""
    return decode(GoldenJournal, path.read_bytes())


def wanted() -> dict[Path, bytes]:
    """Return the newest journal of each entity and the states of all, and what they should hold."""
    return dict(_newest()) | {states_of(path): replayed(path) for path in paths()}


def _newest() -> Iterator[tuple[Path, bytes]]:
    for name, life in LIVES.items():
        newest = (paths(name) or [FOLDER / f"{name}.v1.json"])[-1]
        yield newest, encode(life.recorded())
