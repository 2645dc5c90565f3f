"""Which models may be behind a name that a provider's customer has given one. Pure.

A deployment of Azure has a name of its own, and a definition says which model it is. Both may be
true or not: what is asked may be the dearer of the two, and behind a name that is none of a model
may be the dearest that is sold there.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from operator import ge

import msgspec

from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from schemas.providers import Azure, Provider
from schemas.usage import Usage


class PricedAt:
    """A rate book at a moment."""

    def __init__(self, prices: Prices, at: datetime) -> None:
        self._prices = prices
        self._at = at

    def cost(self, terms: RateTerms, usage: Usage) -> int | Problem:
        """Return what some usage costs; refuses with ``unpriced``."""
        found = self._prices.price(terms, usage, self._at)
        if isinstance(found, Priced):
            return found.cost
        message = f"{found.reason}, so that no budget can hold its cost"
        return Problem(code="unpriced", message=message, details={"row": found.row})

    def most(self, terms: Sequence[RateTerms], usages: Iterable[Usage]) -> int:
        """Return the dearest of all combinations that have a price."""
        found = (self.cost(one, usage) for usage in usages for one in terms)
        return max((each for each in found if isinstance(each, int)), default=0)

    def knows(self, terms: RateTerms) -> bool:
        """Say whether the book has a price for a model."""
        return not isinstance(self.cost(terms, Usage(input=1)), Problem)

    def dearest(self, seller: str, *, answers: bool) -> tuple[str, ...]:
        """Return the models of a seller of which one is the dearest, whatever is used.

        Those that answer, or those that only read, as for embeddings.
        """
        return _dearest(self._prices, seller, self._at.date(), answers=answers)


def deployed(provider: Provider, prices: PricedAt, *, answers: bool = True) -> Iterator[Provider]:
    """Yield the provider as it is asked, and with every model that it may really run."""
    yield provider
    if not isinstance(provider, Azure) or provider.deployment in {None, provider.model}:
        return
    named = msgspec.structs.replace(provider, model=provider.deployment or "")
    if prices.knows(terms_of(named)):
        yield named
        return
    for name in prices.dearest("azure", answers=answers):
        yield msgspec.structs.replace(provider, model=name)


_SAMPLES = (
    Usage(input=1000),
    Usage(input=1_000_000),
    Usage(output=1000),
    Usage(input=1_000_000, output=1000),
    Usage(cache_write_1h=1000),
)


@lru_cache(maxsize=16)
def _dearest(prices: Prices, seller: str, day: date, *, answers: bool) -> tuple[str, ...]:
    """Return the rows that no other row is at least as dear as in every way."""
    at = datetime.combine(day, time(), UTC)
    sold = (seller, *prices.book.providers[seller].lenders)
    names = {name for owner in sold for name in prices.models(owner)}
    costs: dict[tuple[int, ...], str] = {}
    for name in sorted(names):
        found = [prices.price(RateTerms(seller, name), usage, at) for usage in _SAMPLES]
        makes = isinstance(found[2], Priced) and found[2].cost > 0
        if makes == answers:
            costs[tuple(each.cost if isinstance(each, Priced) else 0 for each in found)] = name
    return tuple(
        name
        for one, name in costs.items()
        if not any(other != one and all(map(ge, other, one)) for other in costs)
    )
