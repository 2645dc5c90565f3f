"""What a server says besides answers: progress, log, changed lists, questions."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import msgspec

from actors.mcp_pool.core import wire
from actors.mcp_pool.core.upstream import Log, Progress
from actors.mcp_pool.core.wire_questions import Person, nobody, reply
from schemas import bounds
from schemas.base import Value
from schemas.printable import printable

MAX_UNASKED = 10_000
"""Messages besides the answer, of one request."""

MAX_WORDS = 1000
"""Characters of a message of progress, or of a log."""

_CHANGED = {
    "notifications/tools/list_changed": "tools",
    "notifications/resources/list_changed": "resources",
    "notifications/prompts/list_changed": "prompts",
}


class FloodError(ValueError):
    """A server says too much besides the answer."""


class ProgressTold(Value):
    """The parameters of ``notifications/progress``."""

    token: int | str = msgspec.field(name="progressToken")
    progress: float
    total: float | None = None
    message: str | None = None


class LogTold(Value):
    """The parameters of ``notifications/message``."""

    data: Any
    level: str = "info"


class Heard:
    """Who listens to what belongs to one request."""

    __slots__ = ("count", "log", "progress")

    def __init__(self, progress: Progress | None = None, log: Log | None = None) -> None:
        self.progress = progress
        self.log = log
        self.count = 0


class Hearing:
    """Takes what a server says besides answers, for all requests that are under way.

    ``changed`` is told which list has changed, while somebody listens.
    """

    def __init__(self, person: Person = nobody) -> None:
        self.under_way: dict[int, Heard] = {}
        self.changed: Callable[[str], None] | None = None
        self._person = person

    def take(self, frame: wire.RpcFrame, number: int | None = None) -> bytes | None:
        """Take a frame that is no answer; return what answers it, if it is a question.

        ``number`` is that of the request in whose stream it came, None where all come in one.

        Raises:
            FloodError: it came after too many others in the stream of the request.
        """
        if number is not None and (heard := self.under_way.get(number)) is not None:
            heard.count += 1
            if heard.count > MAX_UNASKED:
                raise FloodError(f"the server says over {MAX_UNASKED} things before it answers")
        if frame.method is None:
            return None
        if frame.id is not None:
            return wire.answer(frame.id, reply(frame, self._person))
        self._note(frame.method, frame.params, number)
        return None

    def _note(self, method: str, params: msgspec.Raw, number: int | None) -> None:
        if method == "notifications/progress":
            self._progress(params, number)
        elif method == "notifications/message":
            self._log(params, number)
        elif (kind := _CHANGED.get(method)) is not None and self.changed is not None:
            self.changed(kind)

    def _progress(self, params: msgspec.Raw, number: int | None) -> None:
        told = _read(params, ProgressTold)
        # In the stream of a request only its own progress counts.
        if told is None or (number is not None and told.token != number):
            return
        heard = self.under_way.get(told.token) if isinstance(told.token, int) else None
        if heard is None or heard.progress is None or not isfinite(told.progress):
            return
        heard.progress(told.progress, told.total, _words(told.message or ""))

    def _log(self, params: msgspec.Raw, number: int | None) -> None:
        # A log names no request: without a stream of its own it belongs to the only one there is.
        if number is None and len(self.under_way) == 1:
            (number,) = self.under_way
        heard = None if number is None else self.under_way.get(number)
        if heard is None or heard.log is None or (told := _read(params, LogTold)) is None:
            return
        words = told.data if isinstance(told.data, str) else msgspec.json.encode(told.data).decode()
        heard.log(_words(told.level)[:20], _words(words))


def asking(params: Mapping[str, Any], number: int, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters that ask for progress under the request's own number."""
    return {**params, "_meta": {**meta, "progressToken": number}}


def _words(text: str) -> str:
    return printable(text[:MAX_WORDS])


def _read(params: msgspec.Raw, kind: Any) -> Any:
    try:
        return bounds.decode(params, type=kind)
    except msgspec.DecodeError:
        return None
