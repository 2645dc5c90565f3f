"""Keeping each tenant to its share of the streams that all tenants have in common.

A full stream loses its oldest messages, whoever wrote them: a tenant that writes much would push
out those of all others. Therefore each process counts what it stores of each tenant. Once a stream
is crowded, a tenant with more than its quota loses its own oldest messages first.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import anyio
import structlog

from bus.config import Timing
from bus.errors import UnavailableError
from bus.fairness import Quotas, Share
from bus.jetstream.outbox import JetStreamOutbox
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import LIVE_MARK, StreamSpec, shared_specs
from bus.tasks import loop_time
from schemas.fleet import QuotaUse

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often it is counted what was stored. Nothing is asked of the bus where that was little."""

CROWDED = 0.75
"""Up to this share of its bytes a stream is left alone: a tenant that is alone may use it. The rest
is more than a fleet stores between two looks."""


class _Kind(NamedTuple):
    """How the subjects of a stream are told from others, by their tokens, and whose they are."""

    stream: str
    fixed: tuple[str, ...]
    of: Callable[[Sequence[str]], tuple[str, ...]]
    tenant: int


def _kind(spec: StreamSpec) -> _Kind:
    wanted = spec.tenants.split(".")
    fixed = [place for place, token in enumerate(wanted) if token not in ("{tenant}", "*", ">")]
    of = itemgetter(*fixed)
    return _Kind(spec.name, of(wanted), of, wanted.index("{tenant}"))


class Shares:
    """The shares of all tenants, as far as this process has filled them."""

    def __init__(
        self, jetstream: JetStream, outbox: JetStreamOutbox, quotas: Quotas, timing: Timing
    ) -> None:
        self._jetstream = jetstream
        self._outbox = outbox
        self._quotas = quotas
        self._seen = outbox.posted
        self._specs = shared_specs(timing)
        self._kinds = [_kind(spec) for spec in self._specs]
        self._shares: dict[str, dict[str, Share]] = {spec.name: {} for spec in self._specs}

    async def run(self) -> None:
        """Count what this process stores, and keep the tenants to their shares, until cancelled."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Count what was stored since the last look; remove what is too much."""
        now, since = loop_time(), self._seen
        self._seen = self._outbox.posted
        for subject, size in self._outbox.sizes(since).items():
            # Tokens 0 to 2 are looked at.
            if subject != LIVE_MARK and subject.count(".") > 1:
                self._count(subject.split("."), size, now)
        for spec in self._specs:
            try:
                await self._keep(spec, now)
            except (JetStreamError, UnavailableError) as error:
                log.warning("shares.not_kept", stream=spec.name, error=str(error))

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use of their shares here."""
        for spec in self._specs:
            for tenant, share in self._shares[spec.name].items():
                yield self._quotas.use(tenant, spec.quota, share.size)

    def _count(self, tokens: Sequence[str], size: int, now: float) -> None:
        for stream, kind, of, tenant in self._kinds:
            if of(tokens) == kind:
                self._shares[stream].setdefault(tokens[tenant], Share()).add(size, now)
                break

    async def _keep(self, spec: StreamSpec, now: float) -> None:
        self._expire(spec, now)
        of_stream = self._shares[spec.name].items()
        shares = {tenant: (share, self._allowed(spec, tenant)) for tenant, share in of_stream}
        full = [share for share, allowed in shares.values() if share.is_full(allowed)]
        if not full:
            return
        info = await self._jetstream.stream_info(spec.name)
        for share in full:
            share.begin(info["state"]["last_seq"])
        if info["state"]["bytes"] < CROWDED * info["config"]["max_bytes"]:
            return
        for tenant, (share, allowed) in shares.items():
            if (below := share.excess(allowed)) is not None:
                await self._remove(spec, tenant, below)
                log.warning(
                    "shares.cut", stream=spec.name, tenant=tenant, used=share.size, allowed=allowed
                )
                share.cut(below)

    def _expire(self, spec: StreamSpec, now: float) -> None:
        shares = self._shares[spec.name]
        for tenant, share in list(shares.items()):
            share.expire(now - spec.max_age, spec.max_bytes)
            if not share.size:
                del shares[tenant]

    def _allowed(self, spec: StreamSpec, tenant: str) -> int:
        return self._quotas.use(tenant, spec.quota, 0).allowed

    async def _remove(self, spec: StreamSpec, tenant: str, below: int) -> None:
        wanted: dict[str, Any] = {"filter": spec.tenants.format(tenant=tenant), "seq": below}
        await self._jetstream.call(f"STREAM.PURGE.{spec.name}", wanted)
