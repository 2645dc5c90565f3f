"""The reasoning of other makers' models as OpenRouter tells it: in pieces that it wants back.

Beside the text that a reader sees, each piece has its kind, a place, and what the maker has signed
or sealed. Source: OpenRouter's guide on reasoning tokens, "Preserving reasoning".
"""

from typing import Any

from actors.streaming.core.decoding import counts

DETAILS = "reasoning_details"
"""Their name in a delta, and in the message that brings them back."""

_GROWING = frozenset({"text", "summary", "data"})
_FRAME = 32
"""Characters that a piece counts for at least, so that a flood of empty ones is not free."""


class ReasoningDetails:
    """The pieces of one answer; those of one kind and place are one."""

    def __init__(self) -> None:
        self._pieces: list[dict[str, Any]] = []
        self._texts: list[dict[str, list[str]]] = []
        self._places: dict[tuple[str, int], int] = {}

    def pieces(self) -> list[dict[str, Any]]:
        """Return the pieces, put together, in the order in which they began."""
        grown = ({name: "".join(text) for name, text in texts.items()} for texts in self._texts)
        return [piece | text for piece, text in zip(self._pieces, grown, strict=True)]

    def add(self, told: object) -> int:
        """Take those of one delta; return how many characters they had."""
        return sum(self._add(counts.members(piece)) for piece in counts.items(told))

    def _add(self, piece: dict[str, Any]) -> int:
        place = self._place(piece)
        held, texts = self._pieces[place], self._texts[place]
        for name, value in piece.items():
            if name in _GROWING and isinstance(value, str):
                texts.setdefault(name, []).append(value)
            elif value is not None or name not in held:
                held[name] = value
        return _FRAME + sum(len(value) for value in piece.values() if isinstance(value, str))

    def _place(self, piece: dict[str, Any]) -> int:
        """Return where a piece belongs; without an index it stands for itself."""
        new, index = len(self._pieces), piece.get("index")
        place = new
        if isinstance(index, int):
            place = self._places.setdefault((str(piece.get("type")), index), new)
        if place == new:
            self._pieces.append({})
            self._texts.append({})
        return place
