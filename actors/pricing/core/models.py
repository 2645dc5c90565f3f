"""The rate book as a list of models. Pure: the moment is passed in."""

from datetime import datetime

from schemas.models import ListModels, ModelList, ModelRate, ModelRow
from schemas.pricing.book import Price, Rate, Row
from schemas.pricing.names import provider_of
from schemas.pricing.prices import Prices
from schemas.pricing.units import Bucket
from schemas.problems import Problem
from schemas.provider_specs import SPECS
from schemas.refusals import output_limit


def listed(prices: Prices, query: ListModels, at: datetime) -> ModelList | Problem:
    """Return one page of the models that match; only the rows of that page are read."""
    providers = _providers(prices, query.provider)
    if isinstance(providers, Problem):
        return providers
    wanted = (query.search or "").casefold()
    names = [
        (provider, model)
        for provider in providers
        for model in sorted(prices.models(provider))
        if wanted in model.casefold()
    ]
    types = {provider_of(prices.book, spec.name): spec.name for spec in reversed(SPECS)}
    page = names[query.offset : query.offset + query.limit]
    rows = ((each, row) for each in page if (row := prices.row(*each)) is not None)
    return ModelList(
        models=[_row(*each, types.get(each[0]), row, at) for each, row in rows],
        total=len(names),
        limit=query.limit,
        offset=query.offset,
        book_id=prices.book_id,
    )


def _providers(prices: Prices, named: str | None) -> list[str] | Problem:
    known = sorted(prices.book.rows)
    if named is None:
        return known
    found = provider_of(prices.book, named)
    if found is not None:
        return [found]
    message = f"the rate book has no such provider; it has: {', '.join(known)}"
    return Problem(code="not_found", message=message, field="provider")


def _row(provider: str, model: str, kind: str | None, row: Row, at: datetime) -> ModelRow:
    price = next((one for one in row.prices if one.holds(at)), None)
    return ModelRow(
        provider=provider,
        model=model,
        type=kind,
        context_window=row.context_window,
        max_output=output_limit(model),
        rates=_rates(price) if price else [],
        tiered=bool(price and price.tiers),
    )


def _rates(price: Price) -> list[ModelRate]:
    return [_rate(bucket, rate) for bucket, rate in price.rates.items()]


def _rate(bucket: Bucket, rate: Rate) -> ModelRate:
    pico, per = (rate, 1) if isinstance(rate, int) else rate
    return ModelRate(bucket=bucket, rate_pico=pico, per=per)
