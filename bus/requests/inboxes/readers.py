"""One pull for each inbox that holds something; an idle inbox costs nothing."""

from collections.abc import Awaitable, Callable

import anyio
import structlog
from anyio.abc import TaskGroup
from nats.errors import Error as NatsError

from bus.config import Timing
from bus.errors import CallboardError
from bus.jetstream import NatsBus
from bus.requests.inboxes.pull import Pull, PulledCommand
from bus.streams.api import STREAM_NOT_FOUND, JetStreamError
from bus.streams.spec import inbox_stream
from bus.tasks import TaskPool

log = structlog.get_logger()

MOST_AT_ONCE = 512
"""Commands in the hands of one process, of all tenants together; others wait in line."""

Held = tuple[Pull, PulledCommand]


class Readers:
    """Reads the inboxes that it is told of, each until it is empty.

    ``handle`` deals with one command. Where it raises a ``CallboardError``, that comes again.
    """

    def __init__(
        self,
        handle: Callable[[PulledCommand], Awaitable[None]],
        bus: NatsBus,
        timing: Timing,
        tasks: TaskGroup,
    ) -> None:
        self._handle = handle
        self._bus = bus
        self._timing = timing
        self._tasks = tasks
        self._pool = TaskPool[Held](tasks, self._deal, most=MOST_AT_ONCE)
        self._pulls: dict[str, Pull] = {}
        self._woken: set[str] = set()
        self._made: set[str] = set()
        self._draining = False

    def wake(self, tenant: str) -> None:
        """Read an inbox, or go on reading it: something may have come."""
        if self._draining:
            return
        self._woken.add(tenant)
        if tenant not in self._pulls:
            self._pulls[tenant] = Pull(tenant, self._bus, self._timing)
            self._tasks.start_soon(self._read, tenant)

    def drain(self) -> None:
        """Take no more commands, and deal with those in hand."""
        self._draining = True
        for pull in self._pulls.values():
            pull.stir()
        self._pool.dismiss()

    async def _read(self, tenant: str) -> None:
        """Read an inbox until it is empty, whatever happens to the server."""
        try:
            while not self._draining:
                self._woken.discard(tenant)
                if not await self._is_read(self._pulls[tenant]):
                    await anyio.sleep(self._timing.request_try_seconds)
                elif tenant not in self._woken:
                    return
                self._pulls[tenant] = Pull(tenant, self._bus, self._timing)
        finally:
            del self._pulls[tenant]

    async def _is_read(self, pull: Pull) -> bool:
        """Read until the inbox is empty or not there; return False if that was interrupted."""
        try:
            if pull.tenant not in self._made:
                await pull.make_consumer()
                self._made.add(pull.tenant)
            await pull.open()
            await self._read_on(pull)
        except JetStreamError as error:
            if error.code == STREAM_NOT_FOUND:
                return True
            log.warning("inboxes.not_read", tenant=pull.tenant, error=str(error))
            return False
        except (CallboardError, NatsError) as error:
            self._made.discard(pull.tenant)
            log.info("inboxes.interrupted", tenant=pull.tenant, error=str(error))
            return False
        finally:
            with anyio.CancelScope(shield=True):
                await pull.close()
        return True

    async def _read_on(self, pull: Pull) -> None:
        while not self._draining:
            self._woken.discard(pull.tenant)
            commands = await pull.commands()
            for command in commands:
                self._pool.give((pull, command))
            if pull.is_idle:
                if await self._is_empty(pull.tenant):
                    return
                pull.wait_longer()

    async def _is_empty(self, tenant: str) -> bool:
        """Say whether nothing is stored: neither waiting for a next try nor in other hands."""
        info = await self._bus.jetstream.stream_info(inbox_stream(tenant))
        return not info["state"]["messages"] and tenant not in self._woken

    async def _deal(self, held: Held) -> None:
        pull, command = held
        try:
            await self._handle(command)
        except CallboardError as error:
            log.warning("inboxes.not_handled", tenant=pull.tenant, error=str(error))
        finally:
            pull.done()
