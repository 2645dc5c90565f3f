"""A stored command in the hands of a process: what JetStream knows of it, and how to end it."""

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

_OLD_FORM = 9
"""Tokens of a reply subject without domain and account: ``$JS.ACK.<stream>.<consumer>.…``."""


class TicketOrigin(NamedTuple):
    """Where a delivery comes from. ``stored_at`` is in nanoseconds since 1970."""

    deliveries: int
    stored_at: int
    sequence: int


def origin_of(reply: str) -> TicketOrigin:
    """Read the reply subject of a delivery (ADR-15): deliveries, sequences, time, pending."""
    tokens = reply.split(".")
    first = 4 if len(tokens) == _OLD_FORM else 6
    return TicketOrigin(int(tokens[first]), int(tokens[first + 3]), int(tokens[first + 1]))


class JetStreamTicket:
    """A command that was handed out. A sign that gets lost leads to another delivery."""

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
        """The encoded command."""
        return self._message.data

    @property
    def deliveries(self) -> int:
        """How often it was handed out, this time included."""
        return self._origin.deliveries

    @property
    def sequence(self) -> int:
        """The number under which the item is stored."""
        return self._origin.sequence

    @property
    def age(self) -> float:
        """Seconds since it was stored, which is slightly off where two clocks differ."""
        return max(0.0, self._now() - self._origin.stored_at / NANOSECONDS)

    async def ack(self) -> None:
        """It is done; it disappears."""
        await self._answer(b"+ACK")
        self._finished()

    async def nak(self, delay: float) -> None:
        """Hand it out again after ``delay`` seconds."""
        options = msgspec.json.encode({"delay": round(delay * NANOSECONDS)})
        await self._answer(b"-NAK " + options if delay > 0 else b"-NAK")
        self._finished()

    async def drop(self, reason: str) -> None:
        """Never hand it out again."""
        await self._answer(b"+TERM " + " ".join(reason.split())[:MAX_REASON].encode())
        self._finished()

    async def _answer(self, word: bytes) -> None:
        try:
            await self._transport.publish(self._message.reply, word)
        except UnavailableError as error:
            log.warning("ticket.sign_lost", error=error.reason)
