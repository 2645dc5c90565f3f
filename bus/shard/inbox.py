"""The mailbox of a shard: what arrives waits here until the owner takes a turn."""

from collections.abc import Sequence
from functools import partial

import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.fairness import Line
from bus.ports import Delivery, Transport
from bus.shard.turn import Letter
from bus.tasks import Wakeup
from schemas.journal import Mail

MAX_WAITING = 20_000
MAX_WAITING_BYTES = 64 * 1024**2
"""Letters above these are dropped unanswered; their senders ask again."""

MAX_OF_ONE = 10_000
MAX_BYTES_OF_ONE = 32 * 1024**2
"""The same for those of one tenant, so that there is room for others."""


class Answers:
    """The answers to mails that came together, until the last of them is there."""

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
    """A bounded queue of letters, taken in batches. The tenants take turns."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._letters = Line[tuple[Letter, int]]()
        self._bytes = 0
        self._bytes_of: dict[str, int] = {}
        self._arrived = Wakeup()

    def __len__(self) -> int:
        return len(self._letters)

    def deliver(self, delivery: Delivery) -> None:
        """Take a message from the bus; one that is no mail is answered with the problem.

        Mails that came together are answered together.
        """
        together = delivery.data.startswith(b"[")
        try:
            mails = decode(list[Mail], delivery.data) if together else ()
            mail = None if together else decode(Mail, delivery.data)
        except ProblemError as refused:
            if delivery.reply:
                self._transport.tell(delivery.reply, encode(refused.problem))
            return
        if mail is not None:
            self.offer(Letter(mail, delivery.reply), len(delivery.data))
        elif mails:
            self._offer_all(mails, delivery)

    def _offer_all(self, mails: Sequence[Mail], delivery: Delivery) -> None:
        shared = Answers(delivery.reply, len(mails))
        size = len(delivery.data) // len(mails)
        for place, mail in enumerate(mails):
            self.offer(Letter(mail, partial(shared.take, place)), size)

    def offer(self, letter: Letter, size: int) -> None:
        """Add a letter if there is room; who sent it asks again if there is none."""
        # Where all that waits is within the bounds of one tenant, nobody is above them.
        is_quiet = len(self._letters) < MAX_OF_ONE and self._bytes + size <= MAX_BYTES_OF_ONE
        if is_quiet or self._has_room(letter.mail.tenant, size):
            self.put(letter, size)

    def _has_room(self, tenant: str, size: int) -> bool:
        """Say whether a letter fits. Where none of its tenant waits, its size does not matter."""
        mine, bytes_of = self._letters.count(tenant), self._bytes_of.get(tenant, 0)
        return (
            len(self._letters) < MAX_WAITING
            and mine < MAX_OF_ONE
            and (not mine or bytes_of + size <= MAX_BYTES_OF_ONE)
            and (not self._bytes or self._bytes + size <= MAX_WAITING_BYTES)
        )

    def put(self, letter: Letter, size: int = 0) -> None:
        """Add a letter, one of the owner's own too: those are as bounded as its open work."""
        tenant = letter.mail.tenant
        self._letters.add(tenant, (letter, size))
        self._bytes += size
        self._bytes_of[tenant] = self._bytes_of.get(tenant, 0) + size
        self._arrived.set()

    async def wait(self, seconds: float) -> None:
        """Return when a letter is there, or after ``seconds``."""
        if not len(self._letters):
            await self._arrived.wait(seconds)

    def wake(self) -> None:
        """End the wait that goes on."""
        self._arrived.set()

    def take(self, count: int, size: int) -> list[Letter]:
        """Remove and return the letters of a turn: at most ``count``, about ``size`` bytes."""
        taken: list[Letter] = []
        while len(self._letters) and len(taken) < count and size > 0:
            letter, length = self._letters.take_next()
            taken.append(letter)
            size -= length
            self._forget(letter.mail.tenant, length)
        return taken

    def _forget(self, tenant: str, size: int) -> None:
        self._bytes -= size
        self._bytes_of[tenant] -= size
        if not self._letters.count(tenant):
            del self._bytes_of[tenant]
