"""Following the stored records of executions, to know what every agent is doing."""

import anyio

from actors.agents.adapters.conversations import ReadSubject
from actors.agents.core.index import ExecutionIndex
from bus.codec import decode
from bus.errors import ProblemError, UnavailableError
from bus.ports import Delivery, Stored, Transport
from bus.subjects import filter_for, parse
from schemas.executions import RECORD_SUBJECT, ExecutionRecord

STREAM = "EXECUTIONS"
PAGE = 1000
RETRY_SECONDS = 0.5


class RecordFollower:
    """Feeds an index: first from what is stored, and always from what is published."""

    def __init__(
        self, index: ExecutionIndex, transport: Transport, read_subject: ReadSubject
    ) -> None:
        self._index = index
        self._transport = transport
        self._read_subject = read_subject
        self._reload = anyio.Event()
        self._loaded = False

    async def run(self) -> None:
        """Follow until cancelled; read the store again each time the bus was away."""
        forget = self._transport.on_reconnect(self._came_back)
        try:
            async with self._transport.subscription(filter_for(RECORD_SUBJECT), self._heard):
                while True:
                    self._reload = anyio.Event()
                    await self._load()
                    await self._reload.wait()
        finally:
            forget()

    def missing(self) -> str | None:
        """Say what is lacking until the store has been read once."""
        return None if self._loaded else "the stored executions are being read"

    async def _came_back(self) -> None:
        self._reload.set()

    async def _load(self) -> None:
        start = 1
        while True:
            try:
                page = await self._read_subject(
                    STREAM, filter_for(RECORD_SUBJECT), start=start, limit=PAGE
                )
            except UnavailableError:
                await anyio.sleep(RETRY_SECONDS)
                continue
            if not page:
                self._loaded = True
                return
            for stored in page:
                self._observe(stored)
            start = page[-1].sequence + 1

    def _observe(self, stored: Stored) -> None:
        record = decode(ExecutionRecord, stored.data)
        _, tenant, _ = record.stream.split(".", 2)
        self._index.observe(tenant, record)

    async def _heard(self, delivery: Delivery) -> None:
        tokens = parse(RECORD_SUBJECT, delivery.subject)
        if tokens is None:
            return
        try:
            self._index.observe(tokens["tenant"], decode(ExecutionRecord, delivery.data))
        except ProblemError:
            return
