"""What an execution may cost, where budgets or limits hold for whoever wants it."""

from collections.abc import Awaitable, Callable

from actors.agents.core.payer import party
from actors.agents.core.spending import Manner, under
from bus.errors import ProblemError
from bus.ports import Clock
from bus.prices import PricesInForce
from bus.terms import KnownTerms
from schemas.lifecycle import Accept
from schemas.problems import Problem
from schemas.terms import restrictions


class Purse:
    """Bounds what is accepted, by the terms and prices that are known in this process.

    ``ready`` returns once all stored terms are known: until then nobody is let pass unasked.
    """

    def __init__(
        self,
        terms: KnownTerms,
        prices: PricesInForce,
        ready: Callable[[], Awaitable[None]],
        clock: Clock,
        manner: Manner,
    ) -> None:
        self._terms = terms
        self._prices = prices
        self._ready = ready
        self._clock = clock
        self._manner = manner

    async def bounded(self, wanted: Accept) -> Accept:
        """Return what is wanted with what it may cost; the same where nothing holds it.

        Raises:
            ProblemError: ``unpriced``, where a budget holds; ``unavailable``, where it is not
                known whether one does.
        """
        await self._ready()
        origin = wanted.origin
        held_by = restrictions(self._terms.of(origin.tenant), party(origin))
        if not held_by:
            return wanted
        bounded = under(wanted, held_by, self._prices.prices, self._manner, self._clock())
        if isinstance(bounded, Problem):
            raise ProblemError(bounded)
        return bounded
