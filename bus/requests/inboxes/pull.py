"""Takes commands out of one inbox until it is empty.

One request at a time stands at the server, for as many commands as there is room for. It ends with
a word of the server's, so nothing is on its way to somebody who has gone.
"""

from collections import deque
from typing import NamedTuple

import msgspec
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from bus.config import Timing
from bus.connection.transport import status_of
from bus.errors import UnavailableError
from bus.jetstream import NatsBus
from bus.jetstream.ticket import NANOSECONDS, JetStreamTicket
from bus.ports import Delivery
from bus.requests.inboxes.rules import given_id, submission_id
from bus.streams.spec import inbox_stream
from bus.tasks import Wakeup, loop_time

CONSUMER = "commands"
"""One reads a whole inbox, so that nothing can lie in it that nobody looks at."""

AT_ONCE = 128
"""Commands of one tenant in the hands of one process."""

ROOM = AT_ONCE // 2
"""What a request is for at least: one command for each request would double the traffic."""

HEARTBEAT = "100"
EXPIRED = "408"
MOST_PATIENCE_SECONDS = 30.0
"""A request stands at the server for so long at most, while all that lies there is for later."""

GRACE_SECONDS = 5.0
"""How long the server may be silent after a request should have expired."""


class PulledCommand(NamedTuple):
    """A command in hand. ``id`` is for where its body names none."""

    tenant: str
    subject: str
    id: str
    ticket: JetStreamTicket


class Pull:
    """Asks an inbox for commands and hands each out once; the reader says when it is done."""

    def __init__(self, tenant: str, bus: NatsBus, timing: Timing) -> None:
        self.tenant = tenant
        self.running = 0
        self._stream = inbox_stream(tenant)
        self._bus = bus
        self._timing = timing
        self._arrived: deque[Delivery] = deque()
        self._wake = Wakeup()
        self._asked = 0
        self._overdue_at = 0.0
        self._patience = timing.inbox_wait_seconds
        self._refused: str | None = None
        self._subscription: Subscription | None = None
        self._prefix = ""

    async def open(self) -> None:
        """Be ready to receive."""
        client = self._bus.public.client
        self._prefix = client.new_inbox()
        self._subscription = await client.receive(self._prefix, self._take)

    async def make_consumer(self) -> None:
        """Make the inbox's consumer, unless it is there.

        Raises:
            JetStreamError: there is no such inbox, or the server can make no consumer.
            UnavailableError: no answer.
        """
        config = {
            "name": CONSUMER,
            "durable_name": CONSUMER,
            "ack_policy": "explicit",
            "ack_wait": round(self._timing.submit_ack_seconds * NANOSECONDS),
            # A refused command that waits for its next try counts: no number of these may stop
            # the others. The size of the stream bounds them.
            "max_ack_pending": -1,
        }
        request = f"CONSUMER.CREATE.{self._stream}.{CONSUMER}"
        body = {"stream_name": self._stream, "config": config, "action": ""}
        await self._bus.jetstream.call(request, body)

    async def close(self) -> None:
        """Ask for no more; what has arrived and was not handed out goes back at once."""
        client, subscription = self._bus.public.client, self._subscription
        if subscription is None:
            return
        try:
            await client.retire(subscription)
        except NatsError:
            if not client.is_closed:
                await subscription.unsubscribe()
        while self._arrived:
            await self._ticket(self._arrived.popleft()).nak(0)

    def stir(self) -> None:
        """Have whoever waits for commands look up."""
        self._wake.set()

    def done(self) -> None:
        """Note that one command that was handed out is dealt with."""
        self.running -= 1
        self._wake.set()

    async def commands(self) -> list[PulledCommand]:
        """Return what has come; empty if nothing came for a while, or when stirred.

        Raises:
            UnavailableError: the server does not answer, or has lost the consumer.
        """
        if not self._arrived and not self._asked and self.running <= AT_ONCE - ROOM:
            await self._ask(AT_ONCE - self.running)
        if not self._arrived:
            await self._wake.wait(self._patience + GRACE_SECONDS)
        if self._asked and loop_time() >= self._overdue_at:
            self._refused = "the server says nothing about a request"
        if self._refused is not None and not self._arrived:
            raise UnavailableError(self._stream, self._refused)
        return self._handed_out()

    def wait_longer(self) -> None:
        """Note that what lies in the inbox is for later, so that it is asked for less often."""
        self._patience = min(2 * self._patience, MOST_PATIENCE_SECONDS)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked for, on its way or in hand."""
        return not (self._asked or self._arrived or self.running)

    def _handed_out(self) -> list[PulledCommand]:
        commands = [self._command(delivery) for delivery in self._arrived]
        self._arrived.clear()
        if commands:
            self._patience = self._timing.inbox_wait_seconds
        self.running += len(commands)
        return commands

    async def _ask(self, count: int) -> None:
        body = {"batch": count, "expires": round(self._patience * NANOSECONDS)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{CONSUMER}"
        self._asked, self._overdue_at = count, loop_time() + self._patience + GRACE_SECONDS
        data = msgspec.json.encode(body)
        await self._bus.public.publish(subject, data, reply=self._prefix)

    def _take(self, delivery: Delivery) -> None:
        status = status_of(delivery)
        if status is None:
            self._asked = max(0, self._asked - 1)
            self._overdue_at = loop_time() + self._patience + GRACE_SECONDS
            self._arrived.append(delivery)
        elif status != HEARTBEAT:
            self._asked = 0
            if status != EXPIRED:
                # The consumer or its leader has gone; to ask again at once would be a busy loop.
                self._refused = f"the server answers {status}"
        self._wake.set()

    def _command(self, delivery: Delivery) -> PulledCommand:
        ticket = self._ticket(delivery)
        name = submission_id(self._stream, ticket.sequence, given_id(delivery.headers))
        return PulledCommand(self.tenant, delivery.subject, name, ticket)

    def _ticket(self, delivery: Delivery) -> JetStreamTicket:
        return JetStreamTicket(self._bus.public, delivery, self._now, self.stir)

    def _now(self) -> float:
        return self._bus.clock().timestamp()
