"""The leak ledger: all that upstreams have opened and closed, those that are gone included."""

from collections import Counter
from collections.abc import Callable

from actors.mcp_pool.core.upstream import LeakCounters
from bus.tasks import loop_time
from schemas.tool_servers import LeakLedger

Source = Callable[[], tuple[int, int]]
"""Returns how many were opened, and how many closed."""

SETTLE_SECONDS = 10.0
"""For so long after an upstream was closed its tasks may still be ending."""


class UpstreamLedger:
    """Sums the counters of all upstreams of a process; ``sockets`` tells of those they share."""

    def __init__(self, sockets: Source = lambda: (0, 0)) -> None:
        self._sockets = sockets
        self._live: dict[int, LeakCounters] = {}
        self._ending: list[tuple[float, LeakCounters]] = []
        self._opened: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()

    def add(self, counters: LeakCounters) -> None:
        """Count an upstream."""
        self._live[id(counters)] = counters

    def retire(self, counters: LeakCounters) -> None:
        """Expect of an upstream that was closed that soon it has closed all it opened."""
        if self._live.pop(id(counters), None) is not None:
            self._ending.append((loop_time() + SETTLE_SECONDS, counters))

    def totals(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many of each kind were opened, and closed."""
        self._settle()
        opened, closed = Counter(self._opened), Counter(self._closed)
        for each in (*self._live.values(), *(ending for _, ending in self._ending)):
            opened.update(each.opened)
            closed.update(each.closed)
        shared = self._sockets()
        opened["sockets"] += shared[0]
        closed["sockets"] += shared[1]
        return dict(opened), dict(closed)

    def state(self) -> LeakLedger:
        """Return what is open, and what was left open by upstreams that were closed."""
        opened, closed = self.totals()
        return LeakLedger(
            open={kind: count - closed.get(kind, 0) for kind, count in opened.items()},
            leaked={kind: count - self._closed[kind] for kind, count in self._opened.items()},
        )

    def _settle(self) -> None:
        """Close the books of upstreams that have nothing open, or were given the time for it."""
        now, ending = loop_time(), self._ending
        self._ending = []
        for until, each in ending:
            if until > now and any(each.open().values()):
                self._ending.append((until, each))
            else:
                self._opened.update(each.opened)
                self._closed.update(each.closed)
