"""What went wrong at a provider, as one Problem, whichever way the provider said it.

The provider's own sentence is never passed on: it quotes prompts, completions and parts of keys.
What passes is the status, and the provider's error code and type where they have the look of
identifiers.
"""

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard

import msgspec

from actors.streaming.core.decoding.counts import items, members
from actors.streaming.core.errors import sentences, under_success
from actors.streaming.core.errors.failures import (
    BY_STATUS,
    BY_TOKEN,
    FAILED,
    LIMITING,
    OVERRULING,
    REFUSED,
    FailureKind,
)
from schemas import bounds
from schemas.ids import whole
from schemas.problems import Problem, ProblemCode


class ProviderFaultError(Exception):
    """A provider failed or broke its protocol in the way that ``problem`` says."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


# An identifier of the provider's: words, or a short number. Keys mix letters and digits.
_TOKEN = re.compile(r"[A-Za-z]{1,32}(?:[_.-][A-Za-z]{1,32}){0,7}|[0-9]{1,5}")

_DURATION = re.compile(
    r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII
)

_FIRST_ERROR_STATUS = 400

_UNAUTHENTICATED = 401
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500
_TOO_LARGE = 413
_LAST_STATUS = 999
_LAST_NUMBER = 99_999

LONGEST_WAIT = 86_400.0
"""A provider's wish to wait longer than a day, in seconds, is cut to it."""


def fault(code: ProblemCode, message: str, *, retryable: bool = True) -> ProviderFaultError:
    """Build the error of a provider that broke off, fell silent or spoke nonsense."""
    return ProviderFaultError(Problem(code=code, message=message, retryable=retryable))


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """Classify an HTTP answer that is no success. ``headers`` has lower-case names.

    x-should-retry wins over the status, but not over a spent quota, which no waiting cures.
    ``retry_after`` is in seconds: from retry-after-ms, retry-after (as seconds, or as a date less
    the answer's own date), from Google's RetryInfo, else from the rate-limit headers of what is
    exhausted. ``details.quota`` says of a spent quota whether it is the "key"'s or the "model"'s.
    """
    error = error_in(body)
    tokens = _tokens(error) | _tokens(named(headers.get("x-amzn-errortype", "")))
    wait = _retry_after(status, headers, error)
    kind = _kind_of_refusal(status, tokens, error, wait)
    retryable = kind.retryable
    if headers.get("x-should-retry") in {"true", "false"} and kind.quota is None:
        retryable = headers["x-should-retry"] == "true"
    return _problem(kind, {"status": status, **tokens}, wait, retryable=retryable)


def _kind_of_refusal(
    status: int, tokens: dict[str, str | int], error: object, wait: float | None
) -> FailureKind:
    """Weigh the status against the words: those of wallets, quotas and keys overrule it."""
    kind = _by_status(status)
    for token in map(str, tokens.values()):
        if token in OVERRULING or (token in LIMITING and status != _TOO_LARGE):
            kind = BY_TOKEN[token]
    return _refined(kind, sentences.meant(error, status, wait))


def _refined(kind: FailureKind, meant: FailureKind | None) -> FailureKind:
    """Take the sentence's word; but that a quota is spent, only a sentence about it refines."""
    return meant if meant is not None and (kind.quota is None or meant.quota) else kind


def _problem(
    kind: FailureKind, details: dict[str, Any], wait: float | None, *, retryable: bool
) -> Problem:
    return Problem(
        code=kind.code,
        message=kind.message,
        retryable=retryable,
        retry_after=wait if retryable else None,
        details=details | ({"quota": kind.quota} if kind.quota else {}),
    )


def is_unauthenticated(problem: Problem) -> bool:
    """Whether a refusal is of the credentials themselves, and not of what they allow."""
    return problem.details.get("status") == _UNAUTHENTICATED


def failure_in_stream(error: Any) -> Problem:
    """Classify an error that came inside a stream, after its status had promised success.

    Unless its code, type or sentence says otherwise, the provider failed and may be asked again.
    """
    tokens = _tokens(error)
    kind, wait = _kind_in_stream(tokens), _bounded(_retry_info(error))
    kind = _refined(kind, sentences.meant(error, None, wait))
    return _problem(kind, dict(tokens), wait, retryable=kind.retryable)


def fail_on(event: str | bytes, *, named: bool = False) -> None:
    """Fail where an event, or a body, reports an error under success; see ``under_success``.

    Readers ask of events that bring nothing of an answer, or have an error's fields. ``named`` says
    that the event calls itself an error, whatever it holds.

    Raises:
        ProviderFaultError: there is an error.
    """
    error = under_success.told(event)
    if error is not None or named:
        raise ProviderFaultError(failure_in_stream(error or error_in(event)))


def named(exception: str) -> dict[str, str]:
    """Return an error object of an AWS exception's name, which is written in three ways.

    A stream says ``throttlingException``, a header ``ThrottlingException:http://…``, and a body
    ``com.amazon.coral.service#ThrottlingException``.
    """
    name = exception.partition(":")[0].rpartition("#")[2]
    return {"code": name[:1].upper() + name[1:]}


def _kind_in_stream(tokens: dict[str, str | int]) -> FailureKind:
    known = [str(token) for token in tokens.values() if str(token) in BY_TOKEN]
    if known:
        return BY_TOKEN[next((token for token in known if token in OVERRULING), known[0])]
    for token in tokens.values():
        # Azure writes the status as a text.
        number = whole(str(token)) or 0
        if _FIRST_ERROR_STATUS <= number <= _LAST_STATUS:
            return _by_status(number)
    return FAILED


def _by_status(status: int) -> FailureKind:
    return BY_STATUS.get(status, FAILED if status >= _FIRST_SERVER_ERROR else REFUSED)


def error_in(body: bytes | str) -> Any:
    """Return the error object that a JSON body holds or is; None if it is no JSON.

    Google's may be the only item of a list. Beside a mere sentence the body itself has the codes.
    """
    try:
        decoded: Any = bounds.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    first = next(iter(items(decoded)), decoded)
    return under_success.error_of(first) or members(members(first).get("error")) or first


def _tokens(error: object) -> dict[str, str | int]:
    """Pick what tells the kind of an error object, where it looks like an identifier."""
    found: dict[str, str | int] = {}
    told = members(error)
    told = told | {"reason": _reason(told.get("details"))}
    if "__type" in told:
        told |= named(str(told["__type"]))
    for name in ("code", "type", "status", "reason"):
        token = told.get(name)
        if _is_identifier(token):
            found[f"provider_{name}"] = token
    return found


def _reason(details: object) -> Any:
    """Return what details say: Google's are a list, and Anthropic's one object with a code."""
    reasons = (members(detail).get("reason") for detail in items(details))
    return next(filter(None, reasons), members(details).get("error_code"))


def _is_identifier(token: Any) -> TypeGuard[str | int]:
    if isinstance(token, str):
        return _TOKEN.fullmatch(token) is not None
    return isinstance(token, int) and 0 <= token <= _LAST_NUMBER


def _retry_after(status: int, headers: Mapping[str, str], error: object) -> float | None:
    wait = _number(headers.get("retry-after-ms"))
    if wait is not None:
        wait /= 1000
    else:
        wait = _number(headers.get("retry-after"))
    if wait is None:
        wait = _until(headers.get("retry-after"), headers.get("date"))
    if wait is None:
        wait = _retry_info(error)
    if wait is None and status == _TOO_MANY_REQUESTS:
        wait = _exhausted(headers)
    return _bounded(wait)


def _bounded(wait: float | None) -> float | None:
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT)


def _retry_info(error: object) -> float | None:
    """The delay that Google's error details ask for."""
    delays = (members(each).get("retryDelay") for each in items(members(error).get("details")))
    return next((_duration(delay) for delay in delays if isinstance(delay, str)), None)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _until(moment: str | None, now: str | None) -> float | None:
    """The seconds from one HTTP date to another: both by the provider's clock."""
    try:
        wait = parsedate_to_datetime(moment or "") - parsedate_to_datetime(now or "")
    except (ValueError, TypeError):
        return None
    return wait / timedelta(seconds=1)


def _exhausted(headers: Mapping[str, str]) -> float | None:
    waits = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _duration(text: str) -> float | None:
    """Read a duration such as 1m30s or 2ms, in seconds."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
