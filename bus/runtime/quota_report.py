"""How full each tenant's quotas are: told by every process, gathered by whoever asks."""

from collections.abc import Callable, Iterable, Sequence

import anyio

from bus.codec import encode
from bus.ports import Delivery, Transport
from bus.requests.ask_all import Patience, ask_all
from bus.telemetry import metrics
from schemas.fleet import QUOTAS_SUBJECT, QuotaReport, QuotaUse

MOST_TOLD = 1000
"""Rows that a process tells, the fullest first."""

MEASURE_SECONDS = 5.0

Source = Callable[[], Iterable[QuotaUse]]


def share(use: QuotaUse) -> float:
    """Return how much of what is allowed is used: 1 is all."""
    return use.used / use.allowed if use.allowed else float(use.used > 0)


class QuotaUsage:
    """Tells what the tenants use, as the parts of this process know it."""

    def __init__(self, process: str, transport: Transport) -> None:
        self._process = process
        self._transport = transport
        self._sources: list[Source] = []

    def add(self, source: Source) -> None:
        """Tell what a part of the process knows, too."""
        self._sources.append(source)

    async def run(self) -> None:
        """Answer whoever asks, and measure, until cancelled."""
        async with self._transport.subscription(QUOTAS_SUBJECT, self._tell):
            while True:
                self.measure()
                await anyio.sleep(MEASURE_SECONDS)

    def measure(self) -> None:
        """Show how full each quota is for the tenant of whom it is fullest."""
        fullest: dict[str, float] = {}
        for use in self._uses():
            fullest[use.quota] = max(fullest.get(use.quota, 0.0), share(use))
        for quota, most in fullest.items():
            metrics.QUOTA_SHARE.at(quota).set(most)

    def _uses(self) -> Iterable[QuotaUse]:
        return (use for source in self._sources for use in source())

    async def _tell(self, delivery: Delivery) -> None:
        rows = sorted(self._uses(), key=share, reverse=True)[:MOST_TOLD]
        answer = QuotaReport(process=self._process, rows=rows)
        await self._transport.publish(delivery.reply, encode(answer))


async def gathered(transport: Transport, *, seconds: float) -> list[QuotaUse]:
    """Ask all processes, and return what they told in so many seconds, the fullest first."""
    told = await ask_all(transport, QUOTAS_SUBJECT, b"", QuotaReport, Patience(seconds))
    return fullest_of([use for one in told for use in one.rows])


def fullest_of(told: Sequence[QuotaUse]) -> list[QuotaUse]:
    """Keep of each tenant's quota what the process told where it is fullest. Pure."""
    kept: dict[tuple[str, str], QuotaUse] = {}
    for use in told:
        known = kept.get((use.tenant, use.quota))
        if known is None or share(use) > share(known):
            kept[use.tenant, use.quota] = use
    return sorted(kept.values(), key=lambda use: (-share(use), use.tenant, use.quota))
