"""Telling which item of the output an event is about.

Items have an index and ids, and neither is sure: gateways use an index twice, and some change an
item's id with each event. So an id that is known decides, and else the index with the kind of item:
the last one there.
"""

from typing import Any, NamedTuple

from actors.streaming.core.reading.fragments import Place, identifier, place_of
from actors.streaming.core.wires.openai_responses.events import Index, ResponsesEvent


class _Item(NamedTuple):
    serial: int
    kind: str
    call_id: str = ""


class Items:
    """The items of one answer, numbered as they began."""

    def __init__(self) -> None:
        self._count = 0
        self._by_id: dict[str, _Item] = {}
        self._by_index: dict[Place, _Item] = {}
        self._last: Place = None
        self._done: set[int] = set()

    def knows(self, item_id: object) -> bool:
        """Whether an item with this id has begun."""
        return identifier(item_id) in self._by_id

    def of(self, event: ResponsesEvent, kind: str) -> int:
        """Return the item of a kind that an event goes on with; if none has begun, it begins."""
        item_id = identifier(event.item_id)
        known = self._by_id.get(item_id) or self._at(event.output_index)
        if known is not None and (known.kind == kind or item_id in self._by_id):
            return known.serial
        return self._new(_Item(self._count, kind), event.output_index, [item_id] if item_id else [])

    def begin(self, index: Index, item: dict[str, Any], *, ends: bool = False) -> int:
        """Return the item that is told of, a new one unless it is known; ``ends`` says it is done.

        Only the end of an item may speak of it by another id than its beginning.
        """
        call_id = identifier(item.get("call_id"))
        told = _Item(self._count, str(item.get("type") or ""), call_id)
        ids = [one for one in (identifier(item.get("id")), call_id) if one]
        known = next((self._by_id[one] for one in ids if one in self._by_id), None)
        at = self._at(index)
        if known is None and at is not None and (ends or not ids) and self._may_be(at, told):
            known = at
        serial = self._new(known or told, index, ids)
        if ends:
            self._done.add(serial)
        return serial

    def _at(self, index: Index) -> _Item | None:
        place = place_of(index)
        return self._by_index.get(self._last if place is None else place)

    def _new(self, item: _Item, index: Index, ids: list[str]) -> int:
        self._count = max(self._count, item.serial + 1)
        self._by_id |= dict.fromkeys(ids, item)
        self._last = place_of(index)
        self._by_index[self._last] = item
        return item.serial

    def _may_be(self, known: _Item, told: _Item) -> bool:
        is_other = known.call_id and told.call_id and known.call_id != told.call_id
        return known.kind == told.kind and not is_other and known.serial not in self._done
