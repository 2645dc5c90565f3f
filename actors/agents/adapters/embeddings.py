"""Answers requests for embeddings: waits for the end of their executions, and reads the vectors.

Whoever has accepted a request answers it. Who gets no answer asks again under the same id, and any
process answers.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import msgspec

from actors.agents.adapters.admission import Admission
from bus.bodies import Bodies
from bus.errors import ProblemError, problem
from bus.fairness import InFlight, Quotas
from bus.fairness.slices import Slices
from bus.ports import Bus
from bus.requests.caller import Caller
from bus.requests.service import answered, reply
from bus.subjects import fill
from bus.tasks import TaskPool, Wakeup, loop_time
from schemas.base import Message
from schemas.embeddings import Embed, EncodedEmbeddings
from schemas.executions import ENDED, ExecutionRecord
from schemas.llm import StoredVectors
from schemas.problems import Problem
from schemas.streams import STREAM_SUBJECT
from schemas.usage import Usage
from schemas.vectors import as_json, ranges

MOST_WAITING = 4096
"""Requests that one process waits for."""

LOOK_SECONDS = 2.0
"""How often an execution is looked at whose end is not heard of: that may be lost."""

LATE_SECONDS = 10.0
"""How long after its deadline the end of an execution is waited for: it may change its owner."""

DRAIN_SECONDS = 5.0
"""A process that leaves waits so long for the ends; half of all its time to leave."""

LARGE_BYTES = 1024**2
"""Vectors above this are read and written by few at a time: they take ten times as much memory."""

LARGE_AT_ONCE = 2

HEAD_BYTES = 16 * 1024
"""Of an answer, besides its vectors."""

Look = Callable[[Caller, str], Awaitable[ExecutionRecord]]
"""Reads an execution of a caller's tenant as its owner knows it."""

_NOT_YET = Problem(
    code="unavailable", message="Embeddings are not answered here yet.", retryable=True
)
_LEFT = Problem(
    code="unavailable",
    message="This process leaves; ask again with the same id for the vectors.",
    retryable=True,
    retry_after=1.0,
)
_LATE = Problem(
    code="timeout",
    message="The embedding has not ended in time; ask again with the same id for the vectors.",
    retryable=True,
)


class WaitingRequest(NamedTuple):
    """Somebody who waits for the vectors of an execution, ``seconds`` long at most."""

    caller: Caller
    wanted: Embed
    execution_id: str
    seconds: float


class EmbeddingAnswers:
    """Answers those who wait for embeddings, each tenant within its quota of requests.

    While somebody waits for one, it counts as an open execution.
    """

    def __init__(self, bus: Bus, look: Look, quotas: Quotas, admission: Admission) -> None:
        self._bus = bus
        self._admission = admission
        self._look = look
        self._bodies = Bodies(bus.blobs)
        self._slices = Slices()
        self._large = anyio.CapacityLimiter(LARGE_AT_ONCE)
        self._load = InFlight(quotas)
        self._pool: TaskPool[WaitingRequest] | None = None
        self._is_leaving = False
        self._told = set[Wakeup]()
        self._idle = Wakeup()

    async def run(self) -> None:
        """Answer until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._pool = TaskPool(tasks, self._serve, most=MOST_WAITING)
            await anyio.sleep_forever()

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until requests are answered."""
        return "embeddings are not answered" if self._pool is None else None

    async def drain(self) -> None:
        """Wait for a while for the ends that are waited for; then tell who is left to ask again."""
        with anyio.move_on_after(DRAIN_SECONDS):
            while self._load.requests:
                await self._idle.wait()
        self._is_leaving = True
        for told in self._told:
            told.set()
        while self._load.requests:
            await self._idle.wait()

    def expect(self, tenant: str) -> None:
        """Say whether one more may wait, before there is anything to wait for.

        Raises:
            ProblemError: ``rate_limited`` or ``unavailable``, there are too many.
        """
        refused = self._load.refusal(tenant, 0)
        if refused is not None:
            raise ProblemError(refused)

    def give(self, waiting: WaitingRequest) -> None:
        """Answer somebody when the execution has ended.

        Raises:
            ProblemError: as ``expect``.
        """
        refused = _NOT_YET if self._pool is None else self._load.take(waiting.caller.tenant, 0)
        if refused is not None or self._pool is None:
            raise ProblemError(refused or _NOT_YET)
        self._admission.hold(waiting.caller.tenant, waiting.execution_id)
        self._pool.give(waiting)

    async def _serve(self, waiting: WaitingRequest) -> None:
        try:
            answer = await answered("llm-embed", self._answer(waiting))
            caller = waiting.caller
            await reply(self._bus.transport, caller.reply, answer, caller.positions)
        finally:
            self._load.release(waiting.caller.tenant, 0)
            self._admission.release(waiting.caller.tenant, waiting.execution_id)
            if not self._load.requests:
                self._idle.set()

    async def _answer(self, waiting: WaitingRequest) -> Message:
        record = await self._ended(waiting)
        if record.kind != "embed":
            raise problem("conflict", "this execution is no embedding", field="id")
        if record.vectors is None:
            return record.error or Problem(code="internal", message="it ended without vectors")
        if sum(part.bytes for part in record.vectors.parts) <= LARGE_BYTES:
            return await self._read(waiting, record, record.vectors)
        async with self._large:
            return await self._read(waiting, record, record.vectors)

    async def _ended(self, waiting: WaitingRequest) -> ExecutionRecord:
        """Return the record of the execution when it has ended.

        Raises:
            ProblemError: it has not ended in time.
        """
        tenant, name = waiting.caller.tenant, waiting.execution_id
        subject = fill(STREAM_SUBJECT, tenant=tenant, execution_id=name)
        until, told = loop_time() + waiting.seconds + LATE_SECONDS, Wakeup()
        self._told.add(told)
        try:
            async with self._bus.transport.reception(subject, lambda _: told.set()):
                while loop_time() < until:
                    record = await self._look(waiting.caller, name)
                    if record.status in ENDED:
                        return record
                    if self._is_leaving:
                        raise ProblemError(_LEFT)
                    await told.wait(LOOK_SECONDS)
        finally:
            self._told.discard(told)
        raise ProblemError(_LATE)

    async def _read(
        self, waiting: WaitingRequest, record: ExecutionRecord, stored: StoredVectors
    ) -> EncodedEmbeddings:
        """Read as many of the vectors as are wanted and fit into a message."""
        wanted, most = waiting.wanted, self._bus.outbox.max_payload - HEAD_BYTES
        if wanted.offset >= stored.count:
            raise problem("validation", f"there are {stored.count} vectors", field="offset")
        stop = min(stored.count, wanted.offset + (wanted.limit or stored.count))
        rows: list[bytes] = []
        size = 0
        for part in ranges(stored.dimensions, wanted.offset, stop):
            data = await self._part(stored, part.part)
            written = await self._slices.run(
                as_json(data, stored.dimensions, part), waiting.caller.tenant
            )
            for row in written:
                size += len(row) + 1
                if rows and size > most:
                    return _told(record, stored, wanted, rows)
                rows.append(row)
        return _told(record, stored, wanted, rows)

    async def _part(self, stored: StoredVectors, part: int) -> bytes:
        try:
            return await self._bodies.get(stored.parts[part])
        except ProblemError:
            message = "its vectors are no longer kept: ask under another id"
            raise problem("not_found", message, field="id") from None


def _told(
    record: ExecutionRecord, stored: StoredVectors, wanted: Embed, rows: list[bytes]
) -> EncodedEmbeddings:
    following = wanted.offset + len(rows)
    return EncodedEmbeddings(
        vectors=[msgspec.Raw(row) for row in rows],
        dimensions=stored.dimensions,
        model_served=record.model_served,
        usage=record.usage or Usage(),
        warnings=record.warnings,
        execution_id=record.execution_id,
        next=following if following < stored.count else None,
    )
