"""What an execution may cost, where budgets or limits hold for whoever wants it."""

from collections.abc import Awaitable, Callable

from actors.agents.core.embedding import embedding_under
from actors.agents.core.growth import growing, lengthened
from actors.agents.core.payer import party
from actors.agents.core.spending import SpendingPolicy, under
from bus.errors import ProblemError
from bus.kv.prices import PricesInForce
from bus.kv.terms import KnownTerms
from bus.ports import Clock
from schemas.lifecycle import Accept
from schemas.llm import EmbedRequest, ToolRequest
from schemas.pricing.deployed import PricedAt
from schemas.problems import Problem
from schemas.terms import Restriction, restrictions


class SpendingGuard:
    """Bounds what is accepted, by the terms and prices that are known in this process.

    ``ready`` returns once all stored terms are known: until then nobody is let pass unasked.
    """

    def __init__(
        self,
        terms: KnownTerms,
        prices: PricesInForce,
        ready: Callable[[], Awaitable[None]],
        clock: Clock,
        spending_policy: SpendingPolicy,
    ) -> None:
        self._terms = terms
        self._prices = prices
        self._ready = ready
        self._clock = clock
        self._spending_policy = spending_policy

    async def bounded(self, wanted: Accept) -> Accept:
        """Return what is wanted with what it may cost; the same where nothing holds it.

        Raises:
            ProblemError: ``unpriced``, where a budget holds; ``unavailable``, where it is not
                known whether one does.
        """
        await self._ready()
        if isinstance(wanted.request, ToolRequest):
            return wanted
        origin = wanted.origin
        held_by = restrictions(self._terms.of(origin.tenant), party(origin))
        if not held_by:
            return wanted
        bounded = self._under(wanted, held_by)
        if isinstance(bounded, Problem):
            raise ProblemError(bounded)
        return bounded

    def _under(self, wanted: Accept, held_by: list[Restriction]) -> Accept | Problem:
        request, prices, now = wanted.request, self._prices.prices, self._clock()
        if isinstance(request, EmbedRequest):
            at = PricedAt(prices, now)
            return embedding_under(wanted, request, held_by, self._spending_policy, at)
        found = under(wanted, held_by, prices, self._spending_policy, now)
        if wanted.tools is None or isinstance(found, Problem) or found.spending is None:
            return found
        longer = under(lengthened(wanted), held_by, prices, self._spending_policy, now)
        return longer if isinstance(longer, Problem) else growing(found, longer)
