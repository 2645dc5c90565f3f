"""Large requests on their way to an owner and back: stored before, and read for who looks."""

from anyio.lowlevel import checkpoint

from actors.agents.core.prompts import filled, is_large, prompt_of, referring
from bus.bodies import Bodies, holder_of
from bus.codec import encode
from bus.errors import ProblemError
from bus.fairness.slices import Slices
from bus.ports import Bus
from bus.subjects import fill
from schemas.executions import RECORD_SUBJECT, ExecutionRecord
from schemas.lifecycle import EXECUTION_ENTITY, Accept, Looked


class PromptStore:
    """Stores and reads what is too large to travel. ``shards`` is the number of the executions'."""

    def __init__(self, bus: Bus, shards: int, slices: Slices) -> None:
        self._bodies = Bodies(bus.blobs)
        self._records = bus.records
        self._shards = shards
        self._slices = slices

    async def encoded(self, wanted: Accept) -> bytes:
        """Return the command as it travels; a large request is stored first, for its execution.

        Raises:
            ProblemError: ``unavailable``: there is no room for it. Small requests go on.
            UnavailableError: not known to be stored.
        """
        data = encode(wanted)
        if not is_large(wanted, len(data)):
            return data
        origin = wanted.origin
        # Each step with twelve megabytes takes 15 ms: others go on in between.
        await checkpoint()
        prompt = await self._slices.whole(lambda: encode(prompt_of(wanted)), origin.tenant)
        holder = holder_of(EXECUTION_ENTITY, self._shards, origin.tenant, origin.execution_id)
        return encode(referring(wanted, await self._bodies.put(prompt, holder)))

    async def shown(self, tenant: str, looked: Looked) -> ExecutionRecord:
        """Return a record with the task in its place, from wherever that is stored.

        Raises:
            UnavailableError: it cannot be read at present.
        """
        record = looked.record
        if looked.prompt is None:
            return record
        try:
            prompt, stored = await self._bodies.get(looked.prompt), None
        except ProblemError:
            # The execution has ended, or cannot go on: its stored record has the task as well.
            subject = fill(RECORD_SUBJECT, tenant=tenant, execution_id=record.execution_id)
            prompt, stored = None, await self._records.last(subject)
        whole = filled(record, prompt, stored.data if stored else None)
        return whole if isinstance(whole, ExecutionRecord) else record
