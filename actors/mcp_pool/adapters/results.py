"""Results of tools: small ones travel in messages, large ones are stored and named."""

import msgspec

from bus.bodies import Bodies, holder_of
from bus.codec import encode
from bus.errors import ProblemError, TransientError
from bus.ports import Blobs
from schemas.lifecycle import EXECUTION_ENTITY
from schemas.tools import ToolResult, ToolText, ToolWork

MOST_INLINE_BYTES = 64 * 1024
"""Above it a result never enters a journal."""

SHOWN = 2000
"""Characters of a stored result that are told where it is only shown."""


class ResultStore:
    """Stores results for executions, of which there are so many ``shards``."""

    def __init__(self, blobs: Blobs, shards: int) -> None:
        self._bodies = Bodies(blobs)
        self._shards = shards

    async def kept(self, work: ToolWork, result: ToolResult) -> ToolResult:
        """Return a result as it is reported; a large one lies under its ``reference``.

        The call was made, so a result that cannot be stored is cut off rather than lost.
        """
        data = encode(result)
        if len(data) <= MOST_INLINE_BYTES:
            return result
        beginning = _shown(result)
        holder = holder_of(EXECUTION_ENTITY, self._shards, work.tenant, work.execution_id)
        try:
            reference = await self._bodies.put(data, holder)
        except (ProblemError, TransientError):
            return msgspec.structs.replace(beginning, truncated=True)
        return msgspec.structs.replace(beginning, reference=reference)


def _shown(result: ToolResult) -> ToolResult:
    """Return the beginning of a result's texts in place of all that it holds."""
    texts = (each.text for each in result.content if isinstance(each, ToolText))
    first = next(texts, "")[:SHOWN]
    content = [ToolText(text=first)] if first else []
    return msgspec.structs.replace(result, content=content, structured=None)
