"""Large prompts in a history: stored before they are asked for, read by whoever answers them."""

from zlib import crc32

import anyio
import msgspec

from actors.agents.core.prompts import prompt_of, referring
from bus.bodies import Bodies, holder_of
from bus.codec import decode, encode
from bus.errors import ProblemError, TransientError
from bus.ports import Bus
from schemas.lifecycle import EXECUTION_ENTITY, Accept, GenerateWork, Prompt
from schemas.llm import ChatMessage
from schemas.problems import Problem
from tests.simulation.judge import Judge

TASK = "Say hello, at some length. " * 20
UNREAD = Problem(code="unavailable", message="the prompt cannot be read", retryable=True)


def is_large(key: str, digest: str) -> bool:
    """Say whether an execution has a large prompt: so have some in most histories."""
    return crc32(f"{key}{digest}".encode()) % 2 == 0


class Prompts:
    """Stores and reads prompts from one place."""

    def __init__(self, bus: Bus, judge: Judge, shards: int) -> None:
        self._bodies = Bodies(bus.blobs)
        self._judge = judge
        self._shards = shards

    async def stored(self, wanted: Accept, *, patience: float) -> Accept:
        """Store a prompt of some length and return the command that refers to it.

        Raises:
            ProblemError: it could not be stored.
        """
        message = ChatMessage(role="user", content=TASK)
        wanted = msgspec.structs.replace(
            wanted,
            origin=msgspec.structs.replace(wanted.origin, task=TASK, session="s1"),
            request=msgspec.structs.replace(wanted.request, messages=[message]),
        )
        origin, data = wanted.origin, encode(prompt_of(wanted))
        holder = holder_of(EXECUTION_ENTITY, self._shards, origin.tenant, origin.execution_id)
        with anyio.move_on_after(patience):
            while True:
                try:
                    reference = await self._bodies.put(data, holder)
                except TransientError:
                    await anyio.sleep(0.1)
                else:
                    self._judge.bodies[reference.name] = data
                    return referring(wanted, reference)
        raise ProblemError(UNREAD)

    async def expect(self, work: GenerateWork) -> Problem | None:
        """Read the prompt of work that is to be done; return why that cannot be now.

        It must be there as long as the execution has not ended.
        """
        if work.prompt is None:
            return None
        try:
            prompt = decode(Prompt, await self._bodies.get(work.prompt))
        except TransientError:
            return UNREAD
        except ProblemError as gone:
            self._judge.missed(work.tenant, work.execution_id, work.prompt.name)
            return gone.problem
        assert prompt.request.messages[-1].text == TASK
        return None
