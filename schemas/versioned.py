"""What a user defines and changes: numbered versions, of which a deletion is one. Pure.

Every function returns the new version, or the ``Problem``. A change that changes nothing returns
the value as it stands, with its version: a command that is sent again has no further effect.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from schemas.base import Message
from schemas.problems import Problem


class Versioned(Message):
    """A stored definition. ``version`` grows by one with each change; a deletion is soft."""

    id: str
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


V = TypeVar("V", bound=Versioned)


def following(value: V, now: datetime, **changes: Any) -> V:
    """Return the next version; its time is never before the last one, which another clock gave."""
    return msgspec.structs.replace(
        value,
        version=value.version + 1,
        updated_at=max(now, value.updated_at),
        **changes,
    )


def changed(value: V, now: datetime, **changes: Any) -> V:
    """Return the next version, or the value itself where it has all these fields already."""
    if msgspec.structs.replace(value, **changes) == value:
        return value
    return following(value, now, **changes)


def deleted(value: V, now: datetime) -> V:
    """Mark a value as deleted; its versions stay readable. Deleting again changes nothing."""
    return value if value.deleted_at is not None else following(value, now, deleted_at=now)


def applied(
    standing: V | None,
    make: Callable[[int], V | Problem],
    change: Callable[[V], V | Problem],
) -> V | Problem:
    """Return what ``make`` returns for a version number, or ``change`` for a value that stands.

    A deleted value is made anew from the input alone, as the version after its deletion: nothing of
    it is inherited, but its versions remain readable under their numbers.
    """
    if standing is None:
        return make(1)
    return make(standing.version + 1) if standing.deleted_at is not None else change(standing)
