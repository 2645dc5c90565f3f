"""Telling an event of an unknown type, whose fields may mean anything, from a garbled one."""

from collections.abc import Collection
from typing import Any, cast

import msgspec

from actors.streaming.core.decoding import counts
from actors.streaming.core.decoding.surrogates import EventDecoder

_any: EventDecoder[Any] = EventDecoder(cast("type[Any]", Any))


def is_foreign(data: str, known: Collection[str], deltas: Collection[str] = ()) -> bool:
    """Say whether an event has a type, and none of those known, or grows by an unknown delta.

    Providers invent events; who cannot read them passes them over, whatever is in them.
    """
    try:
        read = counts.members(_any.decode(data))
    except (msgspec.DecodeError, RecursionError):
        return False
    kind, delta = read.get("type"), counts.members(read.get("delta")).get("type")
    if not isinstance(kind, str) or not kind:
        return False
    return kind not in known or (bool(deltas) and isinstance(delta, str) and delta not in deltas)
