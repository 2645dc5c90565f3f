"""The leak ledger: all that upstreams have opened and closed, those that are gone included."""

from collections import Counter

from actors.mcp_pool.core.upstream import LeakCounters
from schemas.tool_servers import LeakLedger


class Ledger:
    """Sums the counters of all upstreams of a process."""

    def __init__(self) -> None:
        self._live: dict[int, LeakCounters] = {}
        self._opened: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()

    def add(self, counters: LeakCounters) -> None:
        """Count an upstream."""
        self._live[id(counters)] = counters

    def retire(self, counters: LeakCounters) -> None:
        """Keep the figures of an upstream that was closed: by now it has closed all it opened."""
        if self._live.pop(id(counters), None) is not None:
            self._opened.update(counters.opened)
            self._closed.update(counters.closed)

    def totals(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many of each kind were opened, and closed."""
        opened, closed = Counter(self._opened), Counter(self._closed)
        for each in self._live.values():
            opened.update(each.opened)
            closed.update(each.closed)
        return dict(opened), dict(closed)

    def state(self) -> LeakLedger:
        """Return what is open, and what was left open by upstreams that were closed."""
        opened, closed = self.totals()
        return LeakLedger(
            open={kind: count - closed.get(kind, 0) for kind, count in opened.items()},
            leaked={kind: count - self._closed[kind] for kind, count in self._opened.items()},
        )
