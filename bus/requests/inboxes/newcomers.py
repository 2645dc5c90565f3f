"""The first commands of tenants that have no inbox: heard, and stored for their senders.

JetStream stores what is sent while a stream stands. A sender that comes before is heard here, by
one process of all. Whether the inbox holds a command of its own accord can be known only sometimes,
because another process may make it at the same moment:

- The inbox was asked for after the command was heard, and did not stand: it has no copy.
- It stands since a moment ago: it may have one. A command with a ``Nats-Msg-Id`` is stored under
  that id, since the server drops a second copy. Without one, the sender is told to repeat it; that
  answer comes so late that the receipt of a copy, where there is one, is there first.

So none is stored twice, and none is acknowledged that is not stored.
"""

from collections import deque
from math import inf
from typing import NamedTuple

import anyio
import structlog
from anyio.abc import TaskGroup

from bus.config import Timing
from bus.connection import NatsTransport
from bus.errors import CallboardError, ProblemError, TransientError
from bus.ids import new_id
from bus.ports import Delivery
from bus.requests.inboxes.directory import Directory
from bus.requests.inboxes.rules import (
    GIVEN,
    MADE,
    MESSAGE_ID,
    RELAYED,
    TOO_MANY_TENANTS,
    TRY_AGAIN,
    InboxStanding,
    Treatment,
    refusal,
    standing,
    tenant_of,
    treatment,
    try_again,
)
from bus.requests.service import ANSWERABLE
from bus.streams.spec import inbox_stream
from bus.tasks import loop_time
from schemas.problems import Problem

log = structlog.get_logger()

MOST_HEARD = 1024
MOST_HEARD_BYTES = 64 * 1024 * 1024
"""Commands of newcomers in the hands of one process; beyond that they get no answer."""

STORE_SECONDS = 0.5
"""One try to store a command; an inbox that was made a moment ago may not listen yet."""


class HeardCommand(NamedTuple):
    """A command and when it was heard."""

    delivery: Delivery
    at: float


class Newcomers:
    """Stores the commands of tenants whose inboxes did not stand when these were sent."""

    def __init__(self, directory: Directory, transport: NatsTransport, timing: Timing) -> None:
        self._directory = directory
        self._transport = transport
        self._timing = timing
        self._heard: dict[str, deque[HeardCommand]] = {}
        self._count = 0
        self._bytes = 0

    def hear(self, delivery: Delivery, tasks: TaskGroup) -> None:
        """Take a command that nothing else may have stored; see ``Receiver``."""
        if delivery.headers is not None and RELAYED in delivery.headers:
            return
        if self._count >= MOST_HEARD or self._bytes + len(delivery.data) > MOST_HEARD_BYTES:
            log.warning("inboxes.too_many_newcomers")
            return
        self._count += 1
        self._bytes += len(delivery.data)
        tenant = tenant_of(delivery.subject)
        if tenant in self._heard:
            self._heard[tenant].append(HeardCommand(delivery, loop_time()))
        else:
            self._heard[tenant] = deque([HeardCommand(delivery, loop_time())])
            tasks.start_soon(self._serve, tenant, tasks)

    async def _serve(self, tenant: str, tasks: TaskGroup) -> None:
        """Deal with all that was heard of a tenant; one question stands for what came before it."""
        while self._heard[tenant]:
            batch, self._heard[tenant] = self._heard[tenant], deque()
            settles_at, refused = await self._prepared(tenant)
            for delivery, heard_at in batch:
                tasks.start_soon(self._treat, delivery, standing(heard_at, settles_at), refused)
        del self._heard[tenant]

    async def _prepared(self, tenant: str) -> tuple[float | None, bytes | None]:
        """Return when the inbox settles, None if it is made only now; or with what to refuse."""
        stream, settles_at = inbox_stream(tenant), inf
        try:
            settles_at = await self._directory.look(tenant)
            if settles_at is None:
                await self._directory.make(tenant)
        except ProblemError as error:
            log.warning("inboxes.refused", tenant=tenant, error=str(error))
            return settles_at, refusal(error.problem, stream, TOO_MANY_TENANTS)
        except CallboardError as error:
            log.warning("inboxes.not_made", tenant=tenant, error=str(error))
            return settles_at, refusal(try_again("no inbox can be made"), stream, TRY_AGAIN)
        return settles_at, None

    async def _treat(self, delivery: Delivery, how: InboxStanding, refused: bytes | None) -> None:
        try:
            if refused is not None:
                await self._refuse(delivery, how, refused)
            else:
                await self._follow(treatment(how, delivery.headers), delivery, how)
        except CallboardError as error:
            log.warning("inboxes.answer_lost", error=str(error))
        finally:
            self._count -= 1
            self._bytes -= len(delivery.data)

    async def _follow(self, what: Treatment, delivery: Delivery, how: InboxStanding) -> None:
        if what == "store":
            await self._answer(delivery, await self._stored(delivery))
        elif what == "repeat":
            await self._refuse(delivery, how, _told(delivery, "the inbox is being made"))

    async def _refuse(self, delivery: Delivery, how: InboxStanding, answer: bytes) -> None:
        if how is not InboxStanding.MISSING:
            await anyio.sleep(self._timing.inbox_answer_seconds)
        await self._answer(delivery, answer)

    async def _stored(self, delivery: Delivery) -> bytes:
        """Put a command into its inbox and return the inbox's own answer."""
        given = (delivery.headers or {}).get(MESSAGE_ID)
        headers = {MESSAGE_ID: given or new_id(), RELAYED: GIVEN if given else MADE}
        request = self._transport.request
        with anyio.move_on_after(self._timing.answer_seconds):
            while True:
                try:
                    answer = await request(
                        delivery.subject, delivery.data, timeout=STORE_SECONDS, headers=headers
                    )
                except TransientError:
                    await anyio.sleep(self._timing.work_resend_seconds)
                except ProblemError as error:
                    return refusal(
                        error.problem, inbox_stream(tenant_of(delivery.subject)), TRY_AGAIN
                    )
                else:
                    return answer.data
        return _told(delivery, "the inbox does not answer")

    async def _answer(self, delivery: Delivery, answer: bytes) -> None:
        # Anything else could be a subject that the sender itself may not publish on.
        if delivery.reply.startswith(ANSWERABLE):
            await self._transport.publish(delivery.reply, answer)


def _told(delivery: Delivery, why: str) -> bytes:
    problem: Problem = try_again(why)
    return refusal(problem, inbox_stream(tenant_of(delivery.subject)), TRY_AGAIN)
