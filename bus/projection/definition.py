"""What a projection is, apart from how it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol


class Rows(Protocol):
    """The tables of a projection, within the transaction of a batch."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Any:
        """Run one SQL statement."""
        ...


def nothing(_: Rows) -> None:
    """Leave the rows as they are."""


class Fact(NamedTuple):
    """An event of a journal, and where it stands there: the ``place`` within commit ``n``.

    ``at`` is the commit's time.
    """

    tenant: str
    key: str
    subject: str
    n: int
    place: int
    at: datetime
    event: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Tables made from the journal of an entity type.

    ``tables`` is the SQL that creates them, and a new ``version`` throws away what an older one has
    made. ``event_type`` is the union of events that count; all others are passed over. ``apply``
    changes the rows as an event wants it, by nothing but the event and the rows. Where the owners
    of a journal purge it, ``whole`` is False and a shard may begin with any commit. ``settle`` is
    called behind the newest event, and every few thousand: for what costs less for many together.
    """

    name: str
    entity: str
    version: int
    tables: str
    event_type: Any
    apply: Callable[[Rows, Fact], None]
    whole: bool = True
    settle: Callable[[Rows], None] = nothing
