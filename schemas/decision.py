"""What an entity's pure core returns: a decision, and the effects that its state calls for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from schemas.base import Internal
from schemas.bodies import BodyReference
from schemas.problems import Problem
from schemas.work import WorkItem


class Decision(msgspec.Struct, frozen=True):
    """The answer to one command: the events to journal and the reply to send once they are stored.

    A decision without events stores nothing; its reply is sent all the same. A ``Problem`` as
    reply refuses the command.
    """

    events: tuple[Any, ...] = ()
    reply: msgspec.Struct | None = None


def refuse(problem: Problem) -> Decision:
    """A decision that stores nothing and answers with the problem."""
    return Decision(reply=problem)


class Ask(Internal):
    """A command to another entity, sent again and again until it has answered.

    ``id`` is the command's id there, so that a repeat is known. ``since`` is when it was decided.
    One that is not ``urgent`` waits for a moment, to travel with others to the same entity.
    """

    id: str
    entity: str
    tenant: str
    key: str
    since: datetime
    command: Any
    urgent: bool = True


Effect = WorkItem[Any] | Ask
"""What is outstanding in a state, until a journalled answer closes it."""


class Changes(NamedTuple):
    """What a command does to the effects of an entity: those it opens, the ids of those it closes.

    What is closed is closed first. An effect that is opened under an id that is open takes its
    place, and is not sent again.
    """

    opened: Sequence[Effect] = ()
    closed: Sequence[str] = ()


UNCHANGED = Changes()


def by_id(effects: Iterable[Effect]) -> dict[str, Effect]:
    """Return a listing of effects by their ids."""
    return {effect.id: effect for effect in effects}


def differences(was: Mapping[str, Effect], now: Mapping[str, Effect]) -> Changes:
    """Return what leads from one listing of effects to another: slow where many are open."""
    opened = [effect for name, effect in now.items() if was.get(name) != effect]
    return Changes(opened, [name for name in was if name not in now])


class Publish(Internal):
    """A message for everyone who listens, sent at least once after its commit.

    Sent again it is byte-identical, so readers can drop the repeat. ``stored`` is False for a
    notice that only those who listen now can use. What has an ``id`` is not stored again within two
    minutes; those who listen can tell its repeat by that id. What an entity announces is given its
    id by the entry that it follows from, the same at every repeat. What ``lacks`` something that is
    stored apart is sent when it has that: see ``Entity.filled``. What has a ``ttl`` is stored for
    so many seconds, where its stream lets messages expire.
    """

    subject: str
    body: msgspec.Struct
    stored: bool = True
    id: str | None = None
    ttl: int | None = None
    lacks: BodyReference | None = None


class Left(NamedTuple):
    """What a deleted entity has left on a subject of a stream: the messages that ``is_its`` knows.

    Where that is None the subject is the entity's alone, and all of it goes.
    """

    subject: str
    is_its: Callable[[bytes], bool] | None = None
