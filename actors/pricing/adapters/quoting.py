"""Answers what something costs, and which models there are."""

from typing import TypeVar

from actors.pricing.adapters.books import Books
from actors.pricing.core.models import listed
from actors.pricing.core.quotation import quoted
from bus.errors import ProblemError
from bus.ports import Clock
from bus.requests.caller import Caller
from bus.requests.service import answers
from schemas.models import ListModels, ModelList
from schemas.problems import Problem
from schemas.quotes import PriceQuote, QuotePrice

T = TypeVar("T")


class Quotes:
    """Prices usage by the book in force, or by another that is named."""

    def __init__(self, books: Books, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    @answers(QuotePrice)
    async def do_quote(self, caller: Caller, wanted: QuotePrice) -> PriceQuote:
        """Say what usage costs, or that nobody knows."""
        del caller
        prices = await self._books.get(wanted.book)
        return _demanded(quoted(prices, wanted, wanted.at or self._clock()))

    @answers(ListModels)
    async def do_list(self, caller: Caller, query: ListModels) -> ModelList:
        """List the models of the book in force, or of another that is named."""
        del caller
        return _demanded(listed(await self._books.get(query.book), query, self._clock()))


def _demanded(answer: T | Problem) -> T:
    if isinstance(answer, Problem):
        raise ProblemError(answer)
    return answer
