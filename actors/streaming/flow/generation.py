"""Answers, any number at a time, over the providers of a process."""

from actors.streaming.flow.attempt import Emit, GenerationAttempt, Means, Offer
from schemas.fleet import EndpointState
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork

__all__ = ["Emit", "Generator", "Means"]


class Generator:
    """Runs attempts and remembers how the providers fare."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def attempt(
        self, work: GenerateWork, emit: Emit, offer: Offer | None = None
    ) -> GenerationAttempt:
        """Prepare an attempt."""
        return GenerationAttempt(work, self._means, emit, offer)

    async def run(self, work: GenerateWork, emit: Emit) -> FinishGeneration | FailGeneration:
        """Run an attempt; see ``GenerationAttempt.run``."""
        return await self.attempt(work, emit).run()

    def states(self, now: float) -> list[EndpointState]:
        """Show how the endpoints fare that were called lately."""
        return self._means.switchboard.endpoints.states(now)
