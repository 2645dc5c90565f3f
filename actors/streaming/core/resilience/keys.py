"""A pool of keys for one provider: the least loaded one is taken, one that was refused rests.

What is the key's own, such as an empty wallet, rests it for all models of the server; what is
refused to it for one model, or limited there, rests it for that model alone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from actors.streaming.core.resilience.scope import scope_of
from schemas.problems import Problem

REFUSED_REST = 60.0
"""Seconds a key rests that the provider does not accept, or whose quota is used up.

Twice as long each time that it is refused again, up to ``LONGEST_REST``: it is tried with a call
that somebody waits for.
"""

LONGEST_REST = 900.0
"""Seconds after which any key is tried again, whatever the provider said."""

LIMITED_REST = 5.0
"""Seconds a key rests after a 429 that does not say how long."""

RESTING = "resting_seconds"
"""The detail of a problem that says: nobody was asked, because the key rests here."""

_AT_THE_KEY = frozenset({"key", "model"})

MOST_KEYS = 256
"""Keys of one endpoint that are kept in mind; a definition may name any."""


class KeyRest(NamedTuple):
    """A key is not used before ``until``; ``problem`` is why."""

    until: float
    problem: Problem


def concerns_the_key(problem: Problem) -> bool:
    """Say whether another key may do better at the same provider."""
    return scope_of(problem) in _AT_THE_KEY


def is_of_this_process(problem: Problem) -> bool:
    """Say whether another process may do better at once: it has the secret, or its key is fresh.

    What a provider itself has refused just now, which names no field, it would refuse to another
    process as well.
    """
    is_asked = problem.field is None and RESTING not in problem.details
    return problem.code == "unauthorized" and not is_asked


def is_worn_out(name: str | None, problem: Problem) -> bool:
    """Say whether a key is to rest, for all who use it.

    Only where the provider itself has spoken: a secret that one tenant must not use is no worse for
    another (such a problem names the field). And a call without a key has none to be refused.
    """
    if problem.field is not None or not concerns_the_key(problem):
        return False
    return name is not None or problem.code == "rate_limited"


def rest_of(problem: Problem, refusals: int = 0) -> float:
    """Return the seconds a key rests after a problem of its own.

    ``refusals`` counts those that nothing but more money or another key would cure and that came
    one after another before this one.
    """
    if problem.retry_after is not None:
        return min(problem.retry_after, LONGEST_REST)
    if problem.retryable:
        return LIMITED_REST
    return min(REFUSED_REST * 2 ** min(refusals, 8), LONGEST_REST)


class Rests:
    """Which keys rest, why and until when. Times are seconds, passed in."""

    def __init__(self) -> None:
        self._rests: dict[str | None, KeyRest] = {}
        self._refusals: dict[str | None, int] = {}

    def add(self, name: str | None, problem: Problem, now: float) -> None:
        """Leave a key alone. Refusals of calls that ran at the same time count as one."""
        if problem.retryable:
            rest = KeyRest(now + rest_of(problem), problem)
            self._rests[name] = max(rest, self.of(name, now) or rest, key=lambda one: one.until)
        elif (resting := self.of(name, now)) is None or resting.problem.retryable:
            before = self._refusals.pop(name, 0)
            self._refusals[name] = before + 1
            self._rests[name] = KeyRest(now + rest_of(problem, before), problem)
        for known in (self._rests, self._refusals):
            if len(known) > MOST_KEYS:
                known.pop(next(iter(known)))

    def names(self) -> set[str | None]:
        """Return the keys of which something is known."""
        return self._rests.keys() | self._refusals.keys()

    def clear(self, name: str | None) -> None:
        """The key was answered: earlier refusals count no longer."""
        self._refusals.pop(name, None)

    def of(self, name: str | None, now: float) -> KeyRest | None:
        """Return the rest of a key, None if it has none."""
        rest = self._rests.get(name)
        if rest is not None and now >= rest.until:
            del self._rests[name]
            return None
        return rest


class KeyPool:
    """Which keys of one endpoint are in use, and which rest. Knows their names only.

    ``None`` stands for a call without a key. Times are seconds, passed in. ``account`` has the
    rests that hold for all models of the server, shared by the pools of these.
    """

    def __init__(self, account: Rests | None = None) -> None:
        self._in_use: dict[str | None, int] = {}
        self._taken: dict[str | None, int] = {}
        self._account = account or Rests()
        self._rests = Rests()

    def order(
        self, names: Iterable[str | None], now: float, wait: Callable[[str | None], float]
    ) -> list[str | None]:
        """Return the keys that may be tried, the best first.

        The best need not wait for their rate limit, then serve the fewest calls, then were taken
        least often. ``wait`` is the seconds a key's rate limit makes a call wait.
        """
        free = [name for name in names if self._rest(name, now) is None]
        return sorted(
            free,
            key=lambda name: (wait(name), self._in_use.get(name, 0), self._taken.get(name, 0)),
        )

    def refusal(self, names: Sequence[str | None], now: float) -> Problem | None:
        """Return why none of the keys may be tried: what the one said that rests shortest.

        A key that is only limited comes before those that are refused for good.
        None if one may be. ``retry_after`` is the time until it may be tried again.
        """
        rests = {name: self._rest(name, now) for name in names}
        found = [(name, rest) for name, rest in rests.items() if rest is not None]
        if not found or len(found) < len(rests):
            return None
        name, rest = min(found, key=lambda one: (not one[1].problem.retryable, one[1].until))
        problem, left = rest.problem, rest.until - now
        who = f"The key {name} rests" if name else "Calls without a key rest"
        return Problem(
            code=problem.code,
            message=f"{who} for {left:.0f} s after a refusal: {problem.message}",
            retryable=problem.retryable,
            retry_after=left if problem.retryable else None,
            details=problem.details | {RESTING: round(left, 1)},
        )

    def take(self, name: str | None) -> None:
        """A call begins with this key."""
        self._in_use[name] = self._in_use.get(name, 0) + 1
        # Put at the end: the first are those that were not taken for longest.
        self._taken[name] = self._taken.pop(name, 0) + 1
        if len(self._taken) > MOST_KEYS:
            self._forget()

    def give_back(self, name: str | None) -> None:
        """The call has ended."""
        left = self._in_use.get(name, 0) - 1
        if left > 0:
            self._in_use[name] = left
        else:
            self._in_use.pop(name, None)

    def rest(self, name: str | None, problem: Problem, now: float) -> None:
        """Leave a key alone that was refused for a reason of its own."""
        rests = self._account if scope_of(problem) == "key" else self._rests
        rests.add(name, problem, now)

    def answered(self, name: str | None) -> None:
        """A call with this key was answered."""
        self._account.clear(name)
        self._rests.clear(name)

    def names(self) -> list[str | None]:
        """Return the keys that have been taken."""
        return list(self._taken)

    def in_use(self, name: str | None) -> int:
        """Count the calls that run with this key."""
        return self._in_use.get(name, 0)

    def resting(self, name: str | None, now: float) -> float:
        """Return the seconds a key still rests, 0 if it does not."""
        rest = self._rest(name, now)
        return rest.until - now if rest else 0.0

    def _forget(self) -> None:
        """Forget the key that was not taken for longest, of those of which nothing is known."""
        known = {*self._in_use, *self._account.names(), *self._rests.names()}
        idle = next((name for name in self._taken if name not in known), None)
        self._taken.pop(idle, None)

    def _rest(self, name: str | None, now: float) -> KeyRest | None:
        """Return the longer of the key's two rests."""
        one, other = self._account.of(name, now), self._rests.of(name, now)
        if one is None or other is None:
            return one or other
        return max(one, other, key=lambda rest: rest.until)
