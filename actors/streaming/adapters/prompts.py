"""Prompts that were stored apart, read before an attempt begins."""

import msgspec

from bus.bodies import Bodies
from bus.codec import decode
from bus.errors import TransientError, problem
from bus.ports import Bus
from bus.slices import Slices
from schemas.lifecycle import GenerateWork, Prompt


class Prompts:
    """Reads the prompts of a process's attempts."""

    def __init__(self, bus: Bus, slices: Slices) -> None:
        self._bodies = Bodies(bus.blobs)
        self._slices = slices

    async def whole(self, work: GenerateWork) -> GenerateWork:
        """Return work with its request and policy in place, wherever these lie.

        Raises:
            ProblemError: ``corrupt`` where the prompt is gone or damaged, so that no attempt can
                succeed; ``unavailable`` (retryable) where it cannot be read at present.
        """
        if work.prompt is None:
            return work
        try:
            data = await self._bodies.get(work.prompt)
        except TransientError:
            message = "the prompt is stored apart and cannot be read at present"
            raise problem("unavailable", message, retryable=True) from None
        prompt = await self._slices.whole(lambda: decode(Prompt, data), work.tenant)
        return msgspec.structs.replace(
            work, request=prompt.request, policy=prompt.policy, prompt=None
        )
