"""Storing the vectors of embeddings, so that they travel by reference."""

from actors.streaming.flow.embedding import Vectors
from bus.bodies import Bodies, holder_of
from bus.errors import TransientError, problem
from bus.ports import Blobs
from schemas.embeddings import RETENTION_SECONDS
from schemas.lifecycle import EXECUTION_ENTITY, EmbedWork
from schemas.llm import StoredVectors
from schemas.vectors import parts


class VectorStore:
    """Stores vectors for executions, of which there are so many ``shards``. They expire."""

    def __init__(self, blobs: Blobs, shards: int) -> None:
        self._bodies = Bodies(blobs)
        self._shards = shards

    async def put(self, work: EmbedWork, found: Vectors) -> StoredVectors:
        """Store the vectors of an attempt.

        Raises:
            ProblemError: ``unavailable``, there is no room, or they are not known to be stored.
        """
        holder = holder_of(EXECUTION_ENTITY, self._shards, work.tenant, work.execution_id)
        put = self._bodies.put
        try:
            stored = [await put(part, holder, ttl=RETENTION_SECONDS) for part in parts(found.rows)]
        except TransientError as error:
            raise problem("unavailable", str(error), retryable=True) from None
        return StoredVectors(parts=stored, count=len(found.rows), dimensions=found.dimensions)
