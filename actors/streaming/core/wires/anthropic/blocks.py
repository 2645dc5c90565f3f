"""The blocks of a Messages answer while they grow, and what their deltas mean."""

from typing import Any

import msgspec

from actors.streaming.core.decoding.arguments import text_of
from actors.streaming.core.reading.reader import StreamPlace
from actors.streaming.core.wires.anthropic.events import AnthropicDelta
from schemas import bounds

_WHOLE = ("signature", "content", "encrypted_content")
"""What comes in one piece: a signature of thinking, and what a compaction has made."""

_FIELDS = {"text": "text", "thinking": "thinking", "partial_json": "input_json"}

_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


def kind_of(delta: AnthropicDelta) -> str:
    """Return the type of a delta without its ending; if it says none, by what is in it."""
    if delta.type:
        return delta.type.removesuffix("_delta")
    return next((kind for name, kind in _FIELDS.items() if getattr(delta, name)), "signature")


def kind_of_block(block: dict[str, Any]) -> str:
    """Return the type of a block; of one that does not say it, by what is in it."""
    if kind := block.get("type"):
        return str(kind)
    if block.get("name"):
        return "tool_use"
    return "thinking" if block.get("thinking") or block.get("signature") else "text"


class GrowingBlock:
    """A block that goes back to the provider as it came, once it is complete.

    One whose beginning never came is ``implied``, and goes back only with a signature.
    """

    def __init__(self, start: dict[str, Any], place: StreamPlace, *, implied: bool = False) -> None:
        self.place = place
        self._raw = dict(start)
        self._json: list[str] = []
        self._implied = implied

    @property
    def is_thinking(self) -> bool:
        """Whether the block is one of reasoning."""
        return self._raw.get("type") == "thinking"

    @property
    def takes_input(self) -> bool:
        """Whether the input of a tool can belong to the block: to a tool of the provider's."""
        return str(self._raw.get("type")) not in _THOUGHTS

    @property
    def is_kept(self) -> bool:
        """Whether the block can go back."""
        return not self._implied or bool(self._raw.get("signature"))

    def grow(self, delta: AnthropicDelta) -> int:
        """Take in a delta that is no text of the answer; return how many characters it had."""
        if text := text_of(delta.partial_json):
            self._json.append(text)
            return len(text)
        if piece := delta.thinking:
            self._raw["thinking"] = (self._raw.get("thinking") or "") + piece
            return len(piece)
        return sum(self._set(name, getattr(delta, name)) for name in _WHOLE)

    def _set(self, name: str, told: Any) -> int:
        if not isinstance(told, str) or not told:
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
