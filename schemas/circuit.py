"""A circuit breaker: who keeps failing is left alone for a while, then asked once.

::

    closed ──many of the recent calls failed──▶ open ──its time is over──▶ half-open
       ▲                                         ▲                           │
       │                                         └────────the probe failed───┤
       └──────────────────────────────────the probe was answered─────────────┘

Times are seconds on any clock that never goes back; the caller passes them in. Pure.
"""

from collections import deque
from typing import Literal, NamedTuple

State = Literal["closed", "open", "half_open"]

_REMEMBERED_CALLS = 64


class Trip(NamedTuple):
    """When a circuit opens, and for how long.

    It opens when ``failures`` calls of the last ``window`` seconds have failed and they are at
    least ``share`` of those that ended. It stays open for ``pause`` seconds, and twice as long
    after each probe that fails, up to ``longest_pause``.
    """

    failures: int = 5
    share: float = 0.5
    window: float = 30.0
    pause: float = 10.0
    longest_pause: float = 300.0


class Pass:
    """Lets one call through a circuit; it names the call when that has ended."""

    __slots__ = ()


class Circuit:
    """The circuit of one endpoint. Whoever is let in must say how it went, or ``release``."""

    def __init__(self, trip: Trip | None = None) -> None:
        self._trip = trip or Trip()
        self._calls: deque[tuple[float, bool]] = deque(maxlen=_REMEMBERED_CALLS)
        self._pause = self._trip.pause
        self._open_until: float | None = None
        self._probe: Pass | None = None

    def state(self, now: float) -> State:
        """Return what the circuit would do with a call."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half_open"

    def admit(self, now: float) -> Pass | None:
        """Let a call in: always if closed, one at a time if half-open, never if open."""
        state = self.state(now)
        if state == "closed":
            return Pass()
        if state == "open" or self._probe is not None:
            return None
        self._probe = Pass()
        return self._probe

    def wait(self, now: float) -> float:
        """Return the seconds until a call may be let in; a running probe is given some time."""
        if self._open_until is None:
            return 0.0
        return max(self._open_until - now, self._trip.pause if self._probe else 0.0)

    def failures(self, now: float) -> int:
        """Count the calls that failed within the window."""
        return [good for at, good in self._calls if at > now - self._trip.window].count(False)

    def answered(self, call: Pass) -> None:
        """The endpoint has begun to answer: a probe that gets so far closes the circuit."""
        if call is self._probe:
            self._probe = None
            self._open_until = None
            self._pause = self._trip.pause
            self._calls.clear()

    def succeeded(self, call: Pass, now: float) -> None:
        """A call went well to its end."""
        self.answered(call)
        self._calls.append((now, True))

    def failed(self, call: Pass, now: float) -> None:
        """A call showed that the endpoint is ill."""
        self._calls.append((now, False))
        if call is self._probe:
            self._probe = None
            self._pause = min(2 * self._pause, self._trip.longest_pause)
            self._open_until = now + self._pause
        elif self._open_until is None and self._is_too_much(now):
            self._open_until = now + self._pause

    def release(self, call: Pass) -> None:
        """A call ended without saying anything about the endpoint: another may be the probe."""
        if call is self._probe:
            self._probe = None

    def _is_too_much(self, now: float) -> bool:
        recent = [good for at, good in self._calls if at > now - self._trip.window]
        failures = recent.count(False)
        return failures >= self._trip.failures and failures >= self._trip.share * len(recent)
