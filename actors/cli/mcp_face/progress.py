"""The events of a stream as notifications of progress, not more than ten in a second. Pure."""

from typing import NamedTuple

from schemas.streams import (
    AttemptRestarted,
    ContentChunk,
    LogLevel,
    StreamEvent,
    Thinking,
    ToolCalled,
    ToolProgressed,
)

PAUSE_SECONDS = 0.1
"""Texts that come within this time are told together."""


class Notice(NamedTuple):
    """One notification: which one it is, from 1, and what it says.

    With a ``level`` it is what a server has logged.
    """

    number: int
    message: str
    level: LogLevel | None = None


class Progress:
    """Gathers what a stream says until it is time to tell it.

    A text is told in pieces whose concatenation is the answer, unless the stream begins again,
    which is said. The model's reasoning is not told.
    """

    def __init__(self) -> None:
        self._count = 0
        self._text: list[str] = []
        self._told_at: float | None = None

    def take(self, event: StreamEvent, now: float) -> list[Notice]:
        """Take in an event at ``now``, in seconds; return what is to be told."""
        match event:
            case ContentChunk(content=content):
                self._text.append(content)
                early = self._told_at is not None and now - self._told_at < PAUSE_SECONDS
                return [] if early else self._told(now)
            case Thinking(status=status):
                return self._told(now, status)
            case ToolCalled(tool_name=name):
                return self._told(now, f"calls the tool {name}")
            case ToolProgressed(level=level) if level is not None:
                return [*self._told(now), self._noticed(event.message, level)]
            case ToolProgressed():
                return self._told(now, event.message or _share(event))
            case AttemptRestarted(reason=reason):
                self._text.clear()
                return self._told(now, f"begins again: {reason}")
            case _:
                return self._told(now)

    def _told(self, now: float, message: str = "") -> list[Notice]:
        texts = [text for text in ("".join(self._text), message) if text]
        self._text.clear()
        if texts:
            self._told_at = now
        return [self._noticed(text) for text in texts]

    def _noticed(self, text: str, level: LogLevel | None = None) -> Notice:
        self._count += 1
        return Notice(self._count, text, level)


def _share(event: ToolProgressed) -> str:
    of = f" of {event.total:g}" if event.total is not None else ""
    return f"{event.tool_name}: {event.progress:g}{of}"
