"""The mailbox of a shard: what arrives waits here until the owner takes a turn."""

from collections.abc import Sequence
from functools import partial

import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.fairness import TenantLine
from bus.ports import Delivery, Transport
from bus.shard.turn import PendingCommand
from bus.tasks import Wakeup
from schemas.journal import CommandEnvelope

MAX_WAITING = 20_000
MAX_WAITING_BYTES = 64 * 1024**2
"""Commands above these are dropped unanswered; their senders ask again."""

MAX_OF_ONE = 10_000
MAX_BYTES_OF_ONE = 32 * 1024**2
"""The same for those of one tenant, so that there is room for others."""


class GatheredAnswers:
    """The answers to envelopes that came together, until the last of them is there."""

    def __init__(self, reply: str, count: int) -> None:
        self._reply = reply
        self._answers: list[msgspec.Raw | None] = [None] * count
        self._missing = count

    def take(self, place: int, answer: bytes) -> tuple[str, bytes] | None:
        """Take one answer; the last one returns what is to be published, and where."""
        self._answers[place] = msgspec.Raw(answer)
        self._missing -= 1
        return None if self._missing else (self._reply, encode(self._answers))


class Inbox:
    """A bounded queue of commands, taken in batches. The tenants take turns."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._pending = TenantLine[tuple[PendingCommand, int]]()
        self._bytes = 0
        self._bytes_of: dict[str, int] = {}
        self._arrived = Wakeup()

    def __len__(self) -> int:
        return len(self._pending)

    def deliver(self, delivery: Delivery) -> None:
        """Take a message from the bus; one that is no envelope is answered with the problem.

        Envelopes that came together are answered together.
        """
        together = delivery.data.startswith(b"[")
        try:
            envelopes = decode(list[CommandEnvelope], delivery.data) if together else ()
            envelope = None if together else decode(CommandEnvelope, delivery.data)
        except ProblemError as refused:
            if delivery.reply:
                self._transport.tell(delivery.reply, encode(refused.problem))
            return
        if envelope is not None:
            self.offer(PendingCommand(envelope, delivery.reply), len(delivery.data))
        elif envelopes:
            self._offer_all(envelopes, delivery)

    def _offer_all(self, envelopes: Sequence[CommandEnvelope], delivery: Delivery) -> None:
        shared = GatheredAnswers(delivery.reply, len(envelopes))
        size = len(delivery.data) // len(envelopes)
        for place, envelope in enumerate(envelopes):
            self.offer(PendingCommand(envelope, partial(shared.take, place)), size)

    def offer(self, pending: PendingCommand, size: int) -> None:
        """Add a command if there is room; who sent it asks again if there is none."""
        # Where all that waits is within the bounds of one tenant, nobody is above them.
        is_quiet = len(self._pending) < MAX_OF_ONE and self._bytes + size <= MAX_BYTES_OF_ONE
        if is_quiet or self._has_room(pending.envelope.tenant, size):
            self.put(pending, size)

    def _has_room(self, tenant: str, size: int) -> bool:
        """Say whether a command fits. Where none of its tenant waits, its size does not matter."""
        mine, bytes_of = self._pending.count(tenant), self._bytes_of.get(tenant, 0)
        return (
            len(self._pending) < MAX_WAITING
            and mine < MAX_OF_ONE
            and (not mine or bytes_of + size <= MAX_BYTES_OF_ONE)
            and (not self._bytes or self._bytes + size <= MAX_WAITING_BYTES)
        )

    def put(self, pending: PendingCommand, size: int = 0) -> None:
        """Add a command, one of the owner's own too: those are as bounded as its open work."""
        tenant = pending.envelope.tenant
        self._pending.add(tenant, (pending, size))
        self._bytes += size
        self._bytes_of[tenant] = self._bytes_of.get(tenant, 0) + size
        self._arrived.set()

    async def wait(self, seconds: float) -> None:
        """Return when a command is there, or after ``seconds``."""
        if not len(self._pending):
            await self._arrived.wait(seconds)

    def wake(self) -> None:
        """End the wait that goes on."""
        self._arrived.set()

    def take(self, count: int, size: int) -> list[PendingCommand]:
        """Remove and return the commands of a turn: at most ``count``, about ``size`` bytes."""
        taken: list[PendingCommand] = []
        left, waiting, bytes_of = size, min(len(self._pending), count), self._bytes_of
        while waiting and left > 0:
            pending, length = self._pending.take_next()
            taken.append(pending)
            bytes_of[pending.envelope.tenant] -= length
            left -= length
            waiting -= 1
        self._bytes -= size - left
        if not len(self._pending):
            bytes_of.clear()
        elif taken:
            for tenant in {pending.envelope.tenant for pending in taken}:
                if not self._pending.count(tenant):
                    del bytes_of[tenant]
        return taken
