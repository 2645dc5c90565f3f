"""A quote: a cost with the lines it is the sum of. Pure."""

from datetime import datetime
from operator import attrgetter

from schemas.pricing.prices import Priced, Prices, RateTerms, Unpriced
from schemas.pricing.tariff import Line
from schemas.pricing.units import BUCKETS, PARTS_OF_OUTPUT
from schemas.problems import Problem
from schemas.quotes import PriceQuote, QuoteLine, QuotePrice

_counts = attrgetter(*BUCKETS)


def quoted(prices: Prices, wanted: QuotePrice, at: datetime) -> PriceQuote | Problem:
    """Price what is wanted at a moment; ``unpriced`` if the book does not say what it costs."""
    parts = sum(getattr(wanted.usage, part) for part in PARTS_OF_OUTPUT)
    if parts > wanted.usage.output:
        message = f"{' and '.join(PARTS_OF_OUTPUT)} are parts of output, and more than it"
        return Problem(code="validation", message=message, field="usage.output")
    terms = RateTerms(
        wanted.provider, wanted.model, wanted.service_tier, wanted.batch, wanted.region
    )
    answer = prices.price_counts(terms, _counts(wanted.usage), at)
    return _refused(answer) if isinstance(answer, Unpriced) else _answered(prices, answer)


def _answered(prices: Prices, answer: Priced) -> PriceQuote:
    provider, _, model = answer.row.partition("/")
    row = prices.row(provider, model)
    return PriceQuote(
        cost_pico=answer.cost,
        lines=[_line(line) for line in answer.lines()],
        book_id=answer.book_id,
        row=answer.row,
        resolved_from=answer.resolved_from,
        variant=answer.variant,
        tier_from=answer.tier_from,
        disputed=bool(row and row.disputed),
    )


def _line(line: Line) -> QuoteLine:
    return QuoteLine(
        bucket=line.bucket,
        tokens=line.amount,
        rate_pico=line.rate,
        per=line.per,
        cost_pico=line.cost,
    )


def _refused(answer: Unpriced) -> Problem:
    details = {"row": answer.row, "buckets": list(answer.buckets)}
    return Problem(
        code="unpriced",
        message=answer.reason,
        details={name: value for name, value in details.items() if value},
    )
