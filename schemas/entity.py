"""A kind of entity, as the pure functions that define it: an actor declares it in its core."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from schemas.bodies import BodyReference
from schemas.decision import Ask, Changes, Decision, Effect, Left, Publish
from schemas.problems import Problem

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the plain object of a state of one version into that of the next."""

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E")


class Damage(NamedTuple):
    """What is known of an entity of which part cannot be read.

    ``state`` is the last one that can be read, ``record`` what is stored; None where there is none.
    """

    tenant: str
    key: str
    state: Any
    record: bytes | None
    problem: Problem
    at: datetime


def asks_nobody(ask: Ask, answer: bytes) -> Any:
    """Stand for ``answered`` in an entity whose effects are all work."""
    raise TypeError(f"nobody here has asked {ask.entity} for {ask.id}: {len(answer)} bytes")


def in_one(state: Any) -> tuple[Any, Sequence[bytes]]:
    """Stand for ``split`` in an entity whose states have no parts."""
    return state, ()


def as_it_is(state: Any, parts: Sequence[bytes]) -> Any:
    """Stand for ``joined`` in an entity whose states have no parts."""
    del parts
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity(Generic[S, C, E]):
    """Everything the shard runtime needs to know of an entity. All functions are pure.

    ``decide`` answers a command, ``evolve`` applies an event, ``effects`` lists all that is
    outstanding in a state, ``changes`` tells which of it the events of one command open and close,
    by the states before and after them, ``announce`` the publications of an event, ``due`` the
    moment at which ``tick`` is to be decided, ``ended`` whether it is over, so that its state at
    rest is kept for its ``retention`` from now on only, ``record`` what is stored of it for users
    (None for nothing), and ``record_subject`` where, for ``failing`` to look at. ``restore``
    returns the state that such a record tells, where the one at rest was forgotten for want of
    room; None if it is of a live entity. ``answered`` is the command that tells what another entity
    has answered to an ask: an encoded answer or ``Problem``. ``observe`` is told of each
    publication when its commit is stored, for metrics. An entity that has work as an effect takes
    the commands of ``schemas.work``.

    ``effects`` is called when an entity comes into memory, and ``changes`` for every command; all
    changes together must lead to what ``effects`` lists. An entity without ``changes`` has its
    effects listed after every command, so it may have but few.

    ``initial`` is the state before the first event, by tenant and key; most entities have none.
    An entity without ``record`` has nothing stored of it but its journal, and stays in memory.
    With ``keeps_replies`` a repeated command is known by its id and gets the stored answer, for
    ``reply_age`` where that is set: then only ids of UUID version 7 are taken, see
    ``schemas.replies``. An entity without knows repeats by its state. With ``archives``
    its whole history is kept: nothing is purged from its journal that its archive does not hold.
    Where a tenant has but one entity of the type, ``only_key`` is its key.
    ``split`` returns a state without its large parts that do not change, and these; ``joined`` puts
    them back. Snapshots store each such part once.

    ``failing`` says how an entity ends of which part cannot be read: in which state, by which
    events. From then on it takes commands as any that has ended, so that what it still owes is
    settled. Without it, such an entity takes no commands until an operator lets it go on.

    ``bodies`` names what is stored apart for a state, by whoever sent the command that refers to
    it: it is removed when the entity has ended. ``filled`` completes a publication that ``lacks``
    such a body. It is given the body or, where that is gone, what is stored on the publication's
    subject; it returns None for what is not to be sent again.

    ``deletes`` are the tags of the commands that delete an entity. What is left of its state, a
    tombstone, takes the place of the one at rest, and all is erased that ``left`` lists of a
    deleted state: nothing of a live one. The journal keeps no history of it beyond the snapshot.

    ``version`` counts the shapes that ``state_type`` has had, and ``upgrades`` leads from an older
    one to the next, each by its number. A new version is needed when stored states could no longer
    be read or would mean something else. Without an upgrade a shard is rebuilt from its events,
    which must stay readable for ever: they are only ever given new fields with defaults, or joined
    by new ones. A process that meets a newer version than its own leaves the shard to others.
    """

    name: str
    state_type: type[S]
    command_type: Any
    event_type: Any
    decide: Callable[[S | None, C, datetime], Decision]
    evolve: Callable[[S | None, E], S]
    effects: Callable[[S], Sequence[Effect]]
    tick: C
    version: int = 1
    announce: Callable[[S | None, E, S], Iterable[Publish]] = lambda _before, _event, _after: ()
    due: Callable[[S], datetime | None] = lambda _: None
    ended: Callable[[S], bool] = lambda _: False
    changes: Callable[[S | None, Sequence[E], S], Changes] | None = None
    record: Callable[[S], Publish | None] | None = None
    record_subject: Callable[[str, str], str] | None = None
    restore: Callable[[str, bytes], S | None] | None = None
    retention: Callable[[S, datetime], timedelta] = lambda _state, _now: timedelta(days=90)
    deletes: frozenset[str] = frozenset()
    left: Callable[[S], Sequence[Left]] = lambda _: ()
    answered: Callable[[Ask, bytes], C] = asks_nobody
    failing: Callable[[Damage], tuple[S, Sequence[E]]] | None = None
    observe: Callable[[Publish], None] = lambda _: None
    bodies: Callable[[S], Sequence[BodyReference]] | None = None
    filled: Callable[[msgspec.Struct, bytes | None, bytes | None], msgspec.Struct | None] | None = (
        None
    )
    initial: Callable[[str, str], S | None] = lambda _tenant, _key: None
    keeps_replies: bool = True
    reply_age: timedelta | None = None
    archives: bool = False
    only_key: str | None = None
    split: Callable[[S], tuple[S, Sequence[bytes]]] = in_one
    joined: Callable[[S, Sequence[bytes]], S] = as_it_is
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict[int, Upgrade])

    def can_read(self, version: int) -> bool:
        """Say whether a state of this version can be made one of the present version."""
        return all(older in self.upgrades for older in range(version, self.version))


EntityAddress = tuple[str, str]
"""Tenant and key of an entity."""
