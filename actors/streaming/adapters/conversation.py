"""Conversations that have grown large with calls of tools, stored for the next step."""

import msgspec
import structlog

from bus.bodies import Bodies, holder_of
from bus.codec import decode, encode
from bus.errors import ProblemError, TransientError
from bus.fairness.slices import Slices
from bus.ports import Bus
from schemas.bodies import BodyReference, goes_by_reference
from schemas.lifecycle import EXECUTION_ENTITY, FinishGeneration, GenerateWork, Prompt
from schemas.llm import Answer, ChatMessage, GenerateRequest
from schemas.tool_turns import said

log = structlog.get_logger()


class ConversationStore:
    """Stores the prompts of next steps. ``shards`` is the number of those of executions."""

    def __init__(self, bus: Bus, shards: int, slices: Slices) -> None:
        self._bodies = Bodies(bus.blobs)
        self._shards = shards
        self._slices = slices

    async def kept(
        self, given: GenerateWork, whole: GenerateWork, finished: FinishGeneration
    ) -> FinishGeneration:
        """Return the report of an answer, with the conversation where that is stored.

        ``given`` is the work as it came, ``whole`` the same with its request in place. What cannot
        be stored at present travels with the execution as long as there is room.
        """
        answer = finished.answer
        if not given.tools or not answer.tool_calls:
            return finished
        try:
            stored = await self._store(given, whole, answer)
        except (ProblemError, TransientError) as error:
            log.warning("conversation.not_stored", execution=given.execution_id, why=str(error))
            return finished
        return msgspec.structs.replace(finished, prompt=stored) if stored else finished

    async def _store(
        self, given: GenerateWork, whole: GenerateWork, answer: Answer
    ) -> BodyReference | None:
        messages = [*whole.request.messages, said(answer)]
        size = await self._slices.whole(lambda: len(msgspec.json.encode(messages)), given.tenant)
        if given.prompt is None and not goes_by_reference(size):
            return None
        before = Prompt(request=given.request, policy=given.policy)
        if given.prompt is not None:
            before = decode(Prompt, await self._bodies.get(given.prompt))
        data = await self._slices.whole(lambda: encode(_grown(before, messages)), given.tenant)
        holder = holder_of(EXECUTION_ENTITY, self._shards, given.tenant, given.execution_id)
        return await self._bodies.put(data, holder)


def _grown(before: Prompt, messages: list[ChatMessage]) -> Prompt:
    request = before.request
    if not isinstance(request, GenerateRequest):
        return before
    own_from = len(request.messages) if before.own_from is None else before.own_from
    return msgspec.structs.replace(
        before, request=msgspec.structs.replace(request, messages=messages), own_from=own_from
    )
