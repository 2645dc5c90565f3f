"""What a projection is, apart from how it is kept."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

EXPIRED_AT_ONCE = 1000
"""Some milliseconds of a thread, in which nothing else is applied."""


class Rows(Protocol):
    """The tables of a projection, within the transaction of a batch."""

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ..., /) -> Any:
        """Run one SQL statement."""
        ...

    def executemany(self, statement: str, values: Sequence[Sequence[Any]], /) -> Any:
        """Run one SQL statement for each of many values."""
        ...


def nothing(_: Rows) -> None:
    """Leave the rows as they are."""


class Fact(NamedTuple):
    """An event of a journal, and where it stands there: the ``place`` within commit ``n``.

    ``at`` is the commit's time, ``size`` the event's bytes in the journal.
    """

    tenant: str
    key: str
    subject: str
    n: int
    place: int
    at: datetime
    event: Any
    size: int = 0


LeaveOut = Callable[[Fact, Exception], None]
"""Told of facts of which no row can be made."""

UNFIT = (
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
)
"""What an event raises that a table cannot hold, such as an integer of more than 64 bits."""


class Views(NamedTuple):
    """The stored views of entities: rows of those whose history is purged are made from them.

    ``subject`` catches all of them in the stream of records. ``apply`` makes the row of one, before
    any event is applied. An owner purges a commit only when the views that it led to are stored, so
    views and the rest of a journal miss nothing.
    """

    subject: str
    apply: Callable[[Rows, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Tables made from the journal of an entity type.

    ``tables`` is the SQL that creates them, and a new ``version`` throws away what an older one has
    made. ``event_type`` is the union of events that count; all others are passed over. ``apply``
    changes the rows as an event wants it, by nothing but the event and the rows. Where entities
    have rows of their own, ``together`` takes the facts of a batch, those of each entity by
    themselves: see ``Fold``. Where the owners
    of a journal purge it, ``whole`` is False and a shard may begin with any commit. With ``views``
    the rows begin with these, and ``apply`` must bear events that they tell of already.

    ``base_type`` is what counts of an entity's state: where an entry starts from one, ``apply`` is
    given that first. ``expire`` removes rows of what ended before a moment (microseconds), at most
    ``EXPIRED_AT_ONCE``, and returns how many; it is called with the end of the retention of its
    projector, and with the present moment.

    ``settle`` is called behind the newest event, and every few thousand: for what costs less for
    many together.
    """

    name: str
    entity: str
    version: int
    tables: str
    event_type: Any
    apply: Callable[[Rows, Fact], None] | None = None
    together: Callable[[Rows, Iterable[Sequence[Fact]], LeaveOut], None] | None = None
    whole: bool = True
    views: Views | None = None
    base_type: Any = None
    expire: Callable[[Rows, int, int], int] | None = None
    settle: Callable[[Rows], None] = nothing
