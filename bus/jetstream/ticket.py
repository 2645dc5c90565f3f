"""A work item in a worker's hands: what JetStream knows of it, and the ways to give it back."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog

from bus.connection import NatsTransport
from bus.errors import UnavailableError
from bus.ports import Delivery

log = structlog.get_logger()

NANOSECONDS = 1_000_000_000
MAX_REASON = 200

LIFE = "Callboard-Life"
"""Names the generation of the queue in which the item may have been stored before."""

_OLD_FORM = 9
"""Tokens of a reply subject without domain and account: ``$JS.ACK.<stream>.<consumer>.…``."""


class Origin(NamedTuple):
    """Where a delivery comes from. ``stored_at`` is in nanoseconds since 1970."""

    deliveries: int
    stored_at: int
    sequence: int


def origin_of(reply: str) -> Origin:
    """Read the reply subject of a delivery (ADR-15): deliveries, sequences, time, pending."""
    tokens = reply.split(".")
    first = 4 if len(tokens) == _OLD_FORM else 6
    return Origin(int(tokens[first]), int(tokens[first + 3]), int(tokens[first + 1]))


class JetStreamTicket:
    """See ``Ticket``. A sign that gets lost leads to another delivery, which must be claimed."""

    __slots__ = ("_finished", "_message", "_now", "_origin", "_transport")

    def __init__(
        self,
        transport: NatsTransport,
        message: Delivery,
        now: Callable[[], float],
        finished: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._message = message
        self._origin = origin_of(message.reply)
        self._now = now
        self._finished = finished

    @property
    def data(self) -> bytes:
        """See ``Ticket.data``."""
        return self._message.data

    @property
    def deliveries(self) -> int:
        """See ``Ticket.deliveries``."""
        return self._origin.deliveries

    @property
    def sequence(self) -> int:
        """The number under which the item is stored."""
        return self._origin.sequence

    @property
    def life(self) -> str | None:
        """See ``Ticket.life``."""
        return (self._message.headers or {}).get(LIFE)

    @property
    def age(self) -> float:
        """See ``Ticket.age``. Two machines' clocks may differ, so it can be slightly off."""
        return max(0.0, self._now() - self._origin.stored_at / NANOSECONDS)

    async def ack(self) -> None:
        """See ``Ticket.ack``."""
        await self._answer(b"+ACK")
        self._finished()

    async def nak(self, delay: float) -> None:
        """See ``Ticket.nak``."""
        options = msgspec.json.encode({"delay": round(delay * NANOSECONDS)})
        await self._answer(b"-NAK " + options if delay > 0 else b"-NAK")
        self._finished()

    async def drop(self, reason: str) -> None:
        """See ``Ticket.drop``."""
        await self._answer(b"+TERM " + " ".join(reason.split())[:MAX_REASON].encode())
        self._finished()

    async def in_progress(self) -> None:
        """See ``Ticket.in_progress``."""
        await self._answer(b"+WPI")

    async def _answer(self, word: bytes) -> None:
        try:
            await self._transport.publish(self._message.reply, word)
        except UnavailableError as error:
            log.warning("work.sign_lost", error=error.reason)
