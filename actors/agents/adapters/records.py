"""Following stored records: first what is stored, and always what is published."""

from collections.abc import Callable

import anyio
import structlog

from actors.agents.adapters.conversations import ReadSubject
from bus.errors import ProblemError, UnavailableError
from bus.ports import Delivery, Transport
from bus.subjects import filter_for

log = structlog.get_logger()

STREAM = "EXECUTIONS"
PAGE = 1000
RETRY_SECONDS = 0.5


class RecordFollower:
    """Shows the records of a subject to whoever observes them, in any order and repeatedly."""

    def __init__(
        self,
        template: str,
        observe: Callable[[bytes], None],
        transport: Transport,
        read_subject: ReadSubject,
    ) -> None:
        self._subject = filter_for(template)
        self._observe = observe
        self._transport = transport
        self._read_subject = read_subject
        self._reload = anyio.Event()
        self._loaded = anyio.Event()

    async def run(self) -> None:
        """Follow until cancelled; read the store again each time the bus was away."""
        forget = self._transport.on_reconnect(self._came_back)
        try:
            async with self._transport.subscription(self._subject, self._heard):
                while True:
                    self._reload = anyio.Event()
                    await self._load()
                    await self._reload.wait()
        finally:
            forget()

    def missing(self) -> str | None:
        """Say what is lacking until the store has been read once."""
        return None if self._loaded.is_set() else "the stored records are being read"

    async def loaded(self) -> None:
        """Return once the store has been read."""
        if not self._loaded.is_set():
            await self._loaded.wait()

    async def _came_back(self) -> None:
        self._reload.set()

    async def _load(self) -> None:
        start = 1
        while True:
            try:
                page = await self._read_subject(STREAM, self._subject, start=start, limit=PAGE)
            except UnavailableError:
                await anyio.sleep(RETRY_SECONDS)
                continue
            if not page:
                self._loaded.set()
                return
            for stored in page:
                self._show(stored.data)
            start = page[-1].sequence + 1

    async def _heard(self, delivery: Delivery) -> None:
        self._show(delivery.data)

    def _show(self, data: bytes) -> None:
        try:
            self._observe(data)
        except ProblemError as error:
            log.warning("records.unreadable", subject=self._subject, error=str(error))
