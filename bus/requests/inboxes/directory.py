"""Which tenants have an inbox, and making one."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import anyio
import structlog

from bus.config import Timing
from bus.errors import ProblemError, problem
from bus.jetstream import NatsBus
from bus.jetstream.bus import MICROSECONDS
from bus.requests.inboxes.rules import EVERY_SUBMISSION, InboxRules
from bus.streams.api import STREAM_NOT_FOUND, JetStream, JetStreamError
from bus.streams.provision import ESSENTIAL, differences, provision
from bus.streams.spec import INBOXES, inbox_spec, inbox_stream, inbox_tenant
from bus.subjects import token
from bus.tasks import loop_time
from schemas.ids import PLATFORM

log = structlog.get_logger()

BEYOND = 10**9
"""An offset behind all streams: such a listing holds only their number."""


class Directory:
    """The inboxes as one process knows them."""

    def __init__(self, bus: NatsBus, timing: Timing, rules: InboxRules) -> None:
        self._bus = bus
        self._timing = timing
        self._rules = rules
        self._settles_at: dict[str, float] = {}
        self._making = anyio.Lock()

    def is_settled(self, tenant: str) -> bool:
        """Say whether an inbox stood when what arrives now was sent."""
        settles_at = self._settles_at.get(tenant)
        return settles_at is not None and loop_time() >= settles_at

    async def open(self) -> dict[str, int]:
        """Make the inboxes of the settings and look which others stand: before any is listened to.

        Returns the oldest command's sequence by tenant, of inboxes that hold something. Raises as
        ``provision`` does.
        """
        await self._provide(self._rules.tenants)
        found = await listing(self._bus.jetstream)
        self._settles_at = {_tenant(info): 0 for info in found}
        self._report_drift(found)
        return _holding(found)

    async def look_through(self) -> dict[str, int]:
        """Look at all inboxes; return the oldest sequence of each that holds something."""
        found = await listing(self._bus.jetstream)
        known, self._settles_at = self._settles_at, {}
        for info in found:
            tenant = _tenant(info)
            self._settles_at[tenant] = known.get(tenant, self._settles(info))
        return _holding(found)

    async def look(self, tenant: str) -> float | None:
        """Return the time from which on all that is heard is stored by the inbox itself.

        None if the inbox does not stand now. Raises ``UnavailableError`` where nobody knows.
        """
        if tenant not in self._settles_at:
            try:
                info = await self._bus.jetstream.stream_info(inbox_stream(tenant))
            except JetStreamError as error:
                if error.code != STREAM_NOT_FOUND:
                    raise
                return None
            self._settles_at[tenant] = self._settles(info)
        return self._settles_at[tenant]

    async def make(self, tenant: str) -> None:
        """Make the inbox of a tenant.

        Processes that do so at once may each make one more than the bound.

        Raises:
            ProblemError: ``validation`` of the tenant, or ``rate_limited``: there are too many.
            CallboardError: as ``provision`` does.
        """
        if tenant != PLATFORM:
            token(tenant, "tenant")
        async with self._making:
            if tenant in self._settles_at:
                return
            if await _count(self._bus.jetstream) >= self._rules.most:
                raise self._too_many()
            await self._provide([tenant])
            self._settles_at[tenant] = loop_time() + self._timing.inbox_settle_seconds
        log.info("inboxes.made", tenant=tenant)

    async def _provide(self, tenants: Iterable[str]) -> None:
        await provision(
            self._bus.jetstream,
            [inbox_spec(tenant, self._timing) for tenant in tenants],
            self._bus.durability,
            first_sequence=round(self._bus.clock().timestamp() * MICROSECONDS),
        )

    def _settles(self, info: dict[str, Any]) -> float:
        """Return when an inbox was made, and a while more."""
        age = _moment(info["ts"]) - _moment(info["created"])
        return loop_time() - age.total_seconds() + self._timing.inbox_settle_seconds

    def _report_drift(self, found: list[dict[str, Any]]) -> None:
        for info in found:
            wanted = inbox_spec(_tenant(info), self._timing).settings(self._bus.durability)
            broken = differences(wanted, info["config"])
            if ESSENTIAL & broken.keys():
                log.error("inboxes.drift", stream=info["config"]["name"], differences=broken)

    def _too_many(self) -> ProblemError:
        most = f"the fleet has inboxes for {self._rules.most} tenants and makes no more"
        return problem("rate_limited", f"{most} (CALLBOARD_MAX_TENANTS)")


async def listing(jetstream: JetStream) -> list[dict[str, Any]]:
    """Return what JetStream says of each inbox. Raises as ``JetStream.call`` does."""
    found: list[dict[str, Any]] = []
    offset = 0
    while True:
        wanted = {"subject": EVERY_SUBMISSION, "offset": offset}
        answer = await jetstream.call("STREAM.LIST", wanted)
        page: list[dict[str, Any]] = answer.get("streams") or []
        found += [info for info in page if info["config"]["name"].startswith(INBOXES)]
        offset += len(page)
        if not page or offset >= answer["total"]:
            return found


async def _count(jetstream: JetStream) -> int:
    wanted = {"subject": EVERY_SUBMISSION, "offset": BEYOND}
    return int((await jetstream.call("STREAM.NAMES", wanted))["total"])


def _holding(found: list[dict[str, Any]]) -> dict[str, int]:
    states = {_tenant(info): info["state"] for info in found}
    return {tenant: state["first_seq"] for tenant, state in states.items() if state["messages"]}


def _tenant(info: dict[str, Any]) -> str:
    return inbox_tenant(info["config"]["name"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
