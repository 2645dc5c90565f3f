"""A kind of entity, as the pure functions that define it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from schemas.decision import Decision, Publish, Work

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity(Generic[S, C, E]):
    """Everything the shard runtime needs to know of an entity. All functions are pure.

    ``decide`` answers a command, ``evolve`` applies an event, ``effects`` lists the work
    outstanding in a state, ``announce`` the publications of an event, ``due`` the moment at which
    ``tick`` is to be decided, ``ended`` whether the entity may leave memory, ``record`` its stored
    record, ``restore`` the state from such a record (None where it is not of an ended entity),
    ``redispatch`` the command that begins lost work anew. ``observe`` is told of each publication
    when its commit is stored, for metrics.
    ``version`` names the shape of ``state_type`` in snapshots.
    """

    name: str
    version: int
    state_type: type[S]
    command_type: Any
    event_type: Any
    decide: Callable[[S | None, C, datetime], Decision]
    evolve: Callable[[S | None, E], S]
    effects: Callable[[S], Sequence[Work]]
    announce: Callable[[S | None, E, S], Iterable[Publish]]
    due: Callable[[S], datetime | None]
    ended: Callable[[S], bool]
    record: Callable[[S], Publish]
    record_subject: Callable[[str, str], str]
    restore: Callable[[str, bytes], S | None]
    redispatch: Callable[[Work], C]
    tick: C
    observe: Callable[[Publish], None] = lambda _: None
