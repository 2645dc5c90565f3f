"""When an answer is settled by the word for its end, so that silence behind it is an end too.

A word settles where something has been said after which it makes sense, and where the server has
not given one before: some send it with every chunk, some with each turn of tools of their own.
Where the format has a mark of its own for the end of the stream, that mark ends the answer whatever
was said, and nothing else does behind a word that settles nothing.
"""

import re
from typing import NamedTuple

from actors.streaming.core.reading.finish_words import Ending, normal
from schemas.llm import AnswerWarning
from schemas.problems import Problem

_IDENTIFIER = re.compile(r"[a-z][a-z_]{0,63}")
_SHOWN = 64


class SettlingProgress(NamedTuple):
    """How far an answer has come: pieces of text and reasoning, calls, bytes of arguments."""

    texts: int = 0
    thoughts: int = 0
    calls: int = 0
    arguments: int = 0


class Settling:
    """Follows the words for the end of one answer.

    With ``may_repeat`` the format allows a word with every chunk, and its stream just ends; then
    it only counts that the last word is behind all content.
    """

    def __init__(self, *, may_repeat: bool = False) -> None:
        self.ending: Ending | None = None
        self.word: str | None = None
        self._may_repeat = may_repeat
        self._at: SettlingProgress | None = None
        self._contradicted = False
        self._accounted = False
        self._sealed = False

    def tell(self, ending: Ending, word: str | None, at: SettlingProgress) -> None:
        """Take a word, given when the answer had come so far.

        A failure stays one where the server adds another word to it but says no more.
        """
        if self._at is not None:
            self._contradicted = not self._may_repeat
        if at != self._at:
            self.ending = None
        self._at, self._accounted = at, False
        if self.ending is None or self.ending.failure is None:
            self.ending, self.word = ending, word

    def account(self) -> None:
        """Take accounts that come alone: they follow the end, also of a server that repeats."""
        self._accounted = True

    def seal(self) -> None:
        """Take the format's own mark of the end."""
        self._sealed = True

    def settled(self, at: SettlingProgress) -> bool:
        """Say whether the word can be relied on, now that the answer has come so far."""
        if self.ending is None or at != self._at:
            return False
        if self._may_repeat:
            return True
        return (self._accounted or not self._contradicted) and _makes_sense(self.ending, at)

    def whole(self, at: SettlingProgress) -> bool:
        """Say whether the answer has ended."""
        return self.ending is not None and (self._sealed or self.settled(at))

    def problem(self, at: SettlingProgress) -> Problem | None:
        """Return the failure that the word is, or what is wrong with it behind such an answer."""
        if self.ending is None:
            return None
        details = {"finish_reason": plain} if (plain := self._plain()) else {}
        if (failure := self.ending.failure) is not None:
            return Problem(
                code=failure.code,
                message=failure.message,
                retryable=failure.retryable,
                details=details,
            )
        is_empty = not (at.texts or at.calls)
        senseless = not self._sealed and not _makes_sense(self.ending, at)
        # Where the stream just ends, a word for tools that none is called with is a stop.
        senseless = senseless and not (self._may_repeat and at.texts)
        if senseless or (is_empty and not self.ending.sure):
            message = "The provider ended without an answer."
            return Problem(code="provider_error", message=message, retryable=True, details=details)
        return None

    def warnings(self) -> list[AnswerWarning]:
        """Return what is to be said of an answer that ended with a word nobody knows."""
        if self.ending is None or self.ending.sure:
            return []
        word = repr(self.word[:_SHOWN]) if self.word else "no reason"
        message = f"the provider ended the answer with {word}: it may not be whole"
        return [AnswerWarning(field="finish_reason", message=message)]

    def _plain(self) -> str | None:
        plain = normal(self.word or "")
        return plain if _IDENTIFIER.fullmatch(plain) else None


def _makes_sense(ending: Ending, at: SettlingProgress) -> bool:
    """Say whether a model can have ended so after what was said: not after thoughts alone.

    A limit, a filter and a failure may strike at any time; thinking may use up all there is.
    """
    if ending.reason == "tool_calls":
        return at.calls > 0
    if ending.failure is not None or ending.reason not in {"stop", "other"}:
        return True
    return bool(at.texts or at.calls)
