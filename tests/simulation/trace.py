"""What happened in a history, line by line, and a hash of it."""

from collections.abc import Callable, MutableMapping
from hashlib import sha256
from typing import Any, NoReturn

import structlog


class Trace:
    """Notes what happens, with the virtual second at which it does."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._lines: list[tuple[float, str, str]] = []

    def note(self, who: str, what: str) -> None:
        """Add a line."""
        self._lines.append((self._time(), who, what))

    def log(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        """Take what the mechanisms log: a processor of structlog."""
        del logger, method
        text = event.pop("event")
        self.note("log", " ".join([text, *(f"{name}={event[name]}" for name in sorted(event))]))
        raise structlog.DropEvent

    @property
    def digest(self) -> str:
        """The hash of all that happened."""
        return sha256(str(self).encode()).hexdigest()

    def __str__(self) -> str:
        return "\n".join(f"{at:9.4f}  {who:<8} {what}" for at, who, what in self._lines)
