"""Answers, any number at a time, over the providers of a process."""

from collections.abc import Callable

from actors.streaming.adapters.answers import Answers
from actors.streaming.adapters.attempt import Attempt, Emit, Grant, Means, Offer
from actors.streaming.adapters.providers import Providers
from actors.streaming.adapters.switchboard import Switchboard
from bus.ports import Clock
from schemas.fleet import EndpointState
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.pricing.prices import Prices
from schemas.safety import Safety

__all__ = ["Emit", "Generator"]


class Generator:
    """Runs attempts and remembers how the providers fare."""

    def __init__(
        self,
        providers: Providers,
        clock: Clock,
        *,
        answers: Answers | None = None,
        switchboard: Switchboard | None = None,
        safety: Safety | None = None,
        prices: Callable[[], Prices] | None = None,
        grant: Grant | None = None,
    ) -> None:
        self._means = Means(
            providers=providers,
            clock=clock,
            answers=answers,
            switchboard=switchboard or Switchboard(),
            safety=safety,
            prices=prices,
            grant=grant,
        )

    def attempt(self, work: GenerateWork, emit: Emit, offer: Offer | None = None) -> Attempt:
        """Prepare an attempt."""
        return Attempt(work, self._means, emit, offer)

    async def run(self, work: GenerateWork, emit: Emit) -> FinishGeneration | FailGeneration:
        """Run an attempt; see ``Attempt.run``."""
        return await self.attempt(work, emit).run()

    def states(self, now: float) -> list[EndpointState]:
        """Show how the endpoints fare that were called lately."""
        return self._means.switchboard.endpoints.states(now)
