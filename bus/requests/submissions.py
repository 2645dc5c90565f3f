"""Submitted commands: durable, answered by nobody, handled once or dead-lettered with the reason.

Every process that offers commands takes part. What it cannot carry out itself it requests from the
service that can, so that no command lies in an inbox for want of a reader of its kind.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from random import random

import anyio
import structlog
from anyio.abc import TaskGroup

from bus.config import Timing
from bus.errors import CallboardError
from bus.jetstream import NatsBus
from bus.ports import Delivery
from bus.requests.inboxes.carrying import Carrier
from bus.requests.inboxes.directory import Directory
from bus.requests.inboxes.newcomers import Newcomers
from bus.requests.inboxes.readers import Readers
from bus.requests.inboxes.rules import EVERY_SUBMISSION, InboxRules, command_name, tenant_of
from bus.requests.service import ServiceEndpoint
from bus.subjects import filter_for
from bus.tasks import Wakeup
from schemas.base import SUBMIT, Command
from schemas.catalog import is_command

log = structlog.get_logger()

NEWCOMERS_QUEUE = "inboxes"


class Submissions:
    """Takes submitted commands of all tenants out of their inboxes, and sees them carried out."""

    def __init__(
        self,
        service: str,
        endpoints: Sequence[ServiceEndpoint],
        bus: NatsBus,
        timing: Timing,
        rules: InboxRules | None = None,
        *,
        shards: int = 16,
    ) -> None:
        self._service = service
        self._bus = bus
        self._timing = timing
        self._rules = rules or InboxRules()
        self._shards = shards
        self._endpoints = {
            endpoint.request.SUBJECT: endpoint
            for endpoint in endpoints
            if issubclass(endpoint.request, Command)
        }
        self._look_now = Wakeup()
        self._lost_sight = False
        self._draining = False
        self._running = False
        self._stopped = anyio.Event()
        self._lack: str | None = "the inboxes are not known"

    # Life

    async def run(self) -> None:
        """Read inboxes until drained.

        Raises:
            CallboardError: the inboxes of the settings cannot be made.
        """
        self._running, self._stopped = True, anyio.Event()
        try:
            directory = Directory(self._bus, self._timing, self._rules)
            holding = await directory.open()
            async with anyio.create_task_group() as tasks:
                await self._serve(directory, holding, tasks)
        finally:
            self._running, self._lack = False, "the inboxes are not read"
            self._stopped.set()

    async def drain(self) -> None:
        """Take no more commands, and deal with those in hand."""
        self._draining = True
        self._look_now.set()
        if self._running:
            await self._stopped.wait()

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until submitted commands are taken."""
        return self._lack

    async def _serve(self, directory: Directory, holding: dict[str, int], tasks: TaskGroup) -> None:
        carrier = Carrier(self._endpoints, self._bus, self._timing, self._rules, self._shards)
        readers = Readers(carrier.handle, self._bus, self._timing, tasks)
        newcomers = Newcomers(directory, self._bus.nats, self._timing)
        forget = self._bus.public.on_reconnect(self._found)
        try:
            async with AsyncExitStack() as stack:
                await self._listen(directory, newcomers, readers, tasks, stack)
                for tenant in holding:
                    readers.wake(tenant)
                self._lack = None
                await self._keep_looking(directory, readers, holding)
        finally:
            forget()
        readers.drain()

    async def _found(self) -> None:
        self._lost_sight = True
        self._look_now.set()

    async def _keep_looking(
        self, directory: Directory, readers: Readers, seen: dict[str, int]
    ) -> None:
        """Look for commands that nobody reads: whoever heard or had them may have died.

        Where an inbox's oldest command is another one than before, somebody reads there.
        """
        seconds = self._timing.inbox_look_seconds
        while True:
            await self._look_now.wait(seconds * (0.75 + random() / 2))  # noqa: S311  spreads load
            if self._draining:
                return
            try:
                holding = await directory.look_through()
            except CallboardError as error:
                log.warning("submissions.not_looked_through", error=str(error))
                continue
            for tenant, oldest in holding.items():
                if self._lost_sight or seen.get(tenant) == oldest:
                    readers.wake(tenant)
            seen, self._lost_sight = holding, False

    # Listening: a message that is heard here says that a command is in an inbox, or in none yet

    async def _listen(
        self,
        directory: Directory,
        newcomers: Newcomers,
        readers: Readers,
        tasks: TaskGroup,
        stack: AsyncExitStack,
    ) -> None:
        def heard(delivery: Delivery) -> None:
            if not directory.is_settled(tenant_of(delivery.subject)):
                newcomers.hear(delivery, tasks)
            elif not is_command(command_name(delivery.subject)):
                readers.wake(tenant_of(delivery.subject))

        def wake(delivery: Delivery) -> None:
            readers.wake(tenant_of(delivery.subject))

        reception = self._bus.public.reception
        await stack.enter_async_context(reception(EVERY_SUBMISSION, heard, queue=NEWCOMERS_QUEUE))
        for name in self._endpoints:
            subject = filter_for(SUBMIT + name)
            await stack.enter_async_context(
                reception(subject, wake, queue=f"submit-{self._service}")
            )
