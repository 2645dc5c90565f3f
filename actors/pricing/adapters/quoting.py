"""Answers what something costs."""

from actors.pricing.adapters.books import Books
from actors.pricing.core.quotation import quoted
from bus.caller import Caller
from bus.errors import ProblemError
from bus.ports import Clock
from bus.service import answers
from schemas.problems import Problem
from schemas.quotes import PriceQuote, QuotePrice


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
        answer = quoted(prices, wanted, wanted.at or self._clock())
        if isinstance(answer, Problem):
            raise ProblemError(answer)
        return answer
