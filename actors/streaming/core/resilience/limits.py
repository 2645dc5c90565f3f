"""Rate limits as providers announce them in headers, and how long to wait not to run into them.

Two spellings: OpenAI's ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}`` with a duration as
reset ("1m30s"), Anthropic's ``anthropic-ratelimit-…`` with a point in time. Providers that announce
nothing are not limited here; a 429 of theirs rests the key instead (see ``keys``).

Times are seconds on a clock that never goes back, passed in; the reset time of a header is turned
into a duration by the answer's own ``date``.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

from schemas.ids import whole

What = Literal["requests", "tokens"]

_DURATION = re.compile(
    r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII
)
_LONGEST_RESET = 86_400.0

# Anthropic counts input and output apart; what a call needs of either is at most all it needs.
_FAMILIES: tuple[tuple[str, str, What], ...] = (
    ("x-ratelimit-{}-requests", "duration", "requests"),
    ("x-ratelimit-{}-tokens", "duration", "tokens"),
    ("anthropic-ratelimit-requests-{}", "moment", "requests"),
    ("anthropic-ratelimit-tokens-{}", "moment", "tokens"),
    ("anthropic-ratelimit-input-tokens-{}", "moment", "tokens"),
)


class Announced(NamedTuple):
    """What a provider said of one of its limits: what is left until ``reset`` seconds from then."""

    what: What
    remaining: int
    reset: float


def announced(headers: Mapping[str, str]) -> Iterator[Announced]:
    """Read the limits in an answer's headers, whose names are in lower case."""
    for template, form, what in _FAMILIES:
        remaining = headers.get(template.format("remaining"), "")
        reset = headers.get(template.format("reset"), "")
        seconds = duration(reset) if form == "duration" else _until(reset, headers.get("date"))
        left = whole(remaining)
        if left is not None and seconds is not None:
            yield Announced(what, left, min(max(seconds, 0.0), _LONGEST_RESET))


def duration(text: str) -> float | None:
    """Read a duration such as 1m30s or 2ms, in seconds; None if the text is none."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _until(moment: str, date: str | None) -> float | None:
    try:
        wait = datetime.fromisoformat(moment) - parsedate_to_datetime(date or "")
    except (ValueError, TypeError):
        return None
    return wait / timedelta(seconds=1)


class RateBudget(NamedTuple):
    """What is left of a limit until ``until``; after that nothing is known."""

    remaining: int
    until: float


class Limiter:
    """The limits of one key: fed by the headers of its answers, asked before its calls.

    What has been promised to calls since a header came is taken off what it said was left.
    """

    def __init__(self) -> None:
        self._budgets: dict[What, RateBudget] = {}

    def observe(self, headers: Mapping[str, str], now: float) -> None:
        """Take in an answer's headers. Of several limits of one kind the tightest counts."""
        fresh: dict[What, RateBudget] = {}
        for said in announced(headers):
            budget = RateBudget(said.remaining, now + said.reset)
            fresh[said.what] = min(fresh.get(said.what, budget), budget)
        self._budgets |= fresh

    def wait(self, tokens: int, now: float) -> float:
        """Return the seconds until a call of so many tokens fits, 0 if it does now.

        A call larger than the whole limit is let through when the limit is fresh: only the provider
        can say what becomes of it.
        """
        needs = {"requests": 1, "tokens": tokens}
        return max((self._wait(what, needs[what], now) for what in needs), default=0.0)

    def take(self, tokens: int, now: float) -> None:
        """Promise a call what it needs."""
        needs = {"requests": 1, "tokens": tokens}
        for what, budget in list(self._budgets.items()):
            if now >= budget.until:
                del self._budgets[what]
            else:
                self._budgets[what] = budget._replace(remaining=budget.remaining - needs[what])

    def remaining(self, now: float) -> dict[str, int]:
        """Say what is left of each known limit."""
        return {
            what: max(budget.remaining, 0)
            for what, budget in self._budgets.items()
            if now < budget.until
        }

    def _wait(self, what: str, need: int, now: float) -> float:
        budget = self._budgets.get("requests" if what == "requests" else "tokens")
        if budget is None or now >= budget.until or budget.remaining >= need:
            return 0.0
        return budget.until - now
