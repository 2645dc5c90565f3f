"""The blocks of a Messages answer while they grow."""

from typing import Any

import msgspec

from actors.streaming.core.reader import Place
from actors.streaming.core.wires.anthropic.events import DeltaPart
from schemas import bounds

_WHOLE = ("signature", "content", "encrypted_content")
"""What comes in one piece: a signature of thinking, and what a compaction has made."""


class GrowingBlock:
    """A block that goes back to the provider as it came, once it is complete."""

    def __init__(self, start: dict[str, Any], place: Place) -> None:
        self.place = place
        self._raw = dict(start)
        self._json: list[str] = []

    def grow(self, delta: DeltaPart) -> int:
        """Take in a delta; return how many characters it had."""
        if delta.partial_json:
            self._json.append(delta.partial_json)
            return len(delta.partial_json)
        for name in ("thinking", "text"):
            if piece := getattr(delta, name):
                self._raw[name] = (self._raw.get(name) or "") + piece
                return len(piece)
        return sum(self._set(name, getattr(delta, name)) for name in _WHOLE)

    def _set(self, name: str, told: Any) -> int:
        if not isinstance(told, str):
            return 0
        self._raw[name] = told
        return len(told)

    def finished(self) -> dict[str, Any]:
        """Return the block whole. Input that is no JSON stays as the text it is."""
        if not self._json:
            return self._raw
        text = "".join(self._json)
        try:
            return self._raw | {"input": bounds.decode(text)}
        except (msgspec.DecodeError, RecursionError):
            return self._raw | {"input": text}
