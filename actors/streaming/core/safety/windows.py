"""Cutting an answer into windows that are judged one after another before they go out.

A window is full after so many characters, and ends early only where reasoning turns into text or a
tool is called: where it begins and ends depends on what the model writes, never on how the stream
was cut.
"""

from collections.abc import Iterable
from typing import NamedTuple

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from schemas.llm import ToolCall


class TextWindow(NamedTuple):
    """A piece of an answer, to be judged behind the ``context`` that went before it."""

    deltas: list[Delta]
    text: str
    context: str


class Windows:
    """Holds back what is not judged yet: less than ``size`` characters."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kind: type[TextDelta | ReasoningDelta] = TextDelta
        self._held = ""
        self._context = ""

    def feed(self, deltas: Iterable[Delta]) -> list[TextWindow]:
        """Take in deltas and return the windows that are full."""
        windows: list[TextWindow] = []
        for delta in deltas:
            if isinstance(delta, ToolCall):
                windows += self.finish()
                windows.append(TextWindow([delta], delta.arguments, ""))
                continue
            if type(delta) is not self._kind:
                windows += self.finish()
                self._kind, self._context = type(delta), ""
            self._held += delta.text
            while len(self._held) >= self._size:
                windows.append(self._cut(self._size))
        return windows

    def finish(self) -> list[TextWindow]:
        """Return what is left."""
        return [self._cut(len(self._held))] if self._held else []

    def _cut(self, length: int) -> TextWindow:
        text, self._held = self._held[:length], self._held[length:]
        window = TextWindow([self._kind(text)], text, self._context)
        self._context = (self._context + text)[-self._size :]
        return window
