"""What calls of models cost: a charge for each, with all it takes to reckon it again. Pure."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, cast

import msgspec

from actors.streaming.core.resilience.routes import Route
from schemas.ledger import MOST_COUNTED, MOST_PICO, Charge, is_plausible
from schemas.llm import Answer
from schemas.pricing.prices import Priced, Prices, Terms, Unpriced
from schemas.pricing.terms import terms_of
from schemas.pricing.units import PICO
from schemas.providers import OpenAI, Provider
from schemas.usage import COUNTS, Usage

TICKS: Final = 10**10
"""Of xAI in a dollar."""


class Judged(NamedTuple):
    """What a moderation endpoint has used for the texts of an attempt."""

    judge: OpenAI
    usage: Usage


class Till:
    """Collects the charges of one attempt; all of them at the prices of its beginning.

    ``batch`` says that its calls go by the providers' batch APIs, and at their prices.
    """

    def __init__(self, prices: Prices, at: datetime, *, batch: bool = False) -> None:
        self._prices = prices
        self._batch = batch
        self._at = at
        self.charges: list[Charge] = []

    def failed(self, way: Route, key: str | None, usage: Usage | None) -> None:
        """Charge a call that failed, if it has used anything."""
        if usage is not None:
            terms = terms_of(way.provider, tier_requested=way.config.service_tier)
            self._add(way, key, self._charge(way.provider, terms, usage))

    def answered(self, way: Route, key: str | None, answer: Answer) -> None:
        """Charge a call that was answered, and what other models have used for it by the way."""
        terms = terms_of(
            way.provider,
            model_served=answer.model_served,
            tier_requested=way.config.service_tier,
            tier_served=answer.service_tier,
            region_served=_place(answer.raw_usage),
        )
        charge = self._charge(way.provider, terms, answer.usage)
        charge = msgspec.structs.replace(
            charge, model_served=answer.model_served, reported_pico=reported(answer.raw_usage)
        )
        self._add(way, key, charge)
        for model, usage in answer.side_usage.items():
            provider: Any = msgspec.structs.replace(way.provider, model=model)
            self._add(way, key, self._charge(provider, terms_of(provider), usage))

    def bill(self, judged: Judged | None) -> list[Charge]:
        """Return all charges, and that of who has judged the texts, if it has told what it used."""
        if judged is None:
            return self.charges
        terms = terms_of(judged.judge)
        charge = charged(self._prices, judged.judge, terms, judged.usage, self._at)
        return [*self.charges, msgspec.structs.replace(charge, secret=judged.judge.secret)]

    def _add(self, way: Route, key: str | None, charge: Charge) -> None:
        self.charges.append(msgspec.structs.replace(charge, place=way.place, secret=key))

    def _charge(self, provider: Provider, terms: Terms, usage: Usage) -> Charge:
        if self._batch:
            terms = msgspec.structs.replace(terms, batch=True)
        return charged(self._prices, provider, terms, usage, self._at)


def charged(prices: Prices, provider: Provider, terms: Terms, usage: Usage, at: datetime) -> Charge:
    """Return what some usage costs at a moment, or why that is not known."""
    found = _priced(prices, terms, usage, at)
    usage = usage if is_plausible(usage) else _capped(usage)
    return Charge(
        provider=str(provider.__struct_config__.tag),
        model=provider.model,
        usage=usage,
        cost_pico=found.cost if isinstance(found, Priced) else None,
        book_id=prices.book_id,
        row=found.row or None,
        unpriced=None if isinstance(found, Priced) else found.reason,
        tier=terms.tier,
        region=terms.region or None,
        batch=terms.batch,
    )


def _priced(prices: Prices, terms: Terms, usage: Usage, at: datetime) -> Priced | Unpriced:
    """Price what can be: nobody pays for what no call can have used."""
    if not is_plausible(usage):
        return Unpriced("more was told than a call can use")
    found = prices.price(terms, usage, at)
    if isinstance(found, Priced) and found.cost > MOST_PICO:
        return Unpriced("it would cost more than one amount can be", row=found.row)
    return found


def _capped(usage: Usage) -> Usage:
    counts = {name: min(getattr(usage, name), MOST_COUNTED) for name in COUNTS}
    return Usage(**counts, quality="estimated")


def _place(raw_usage: dict[str, Any]) -> str | None:
    """Return where a model has run, as Anthropic says it: a workspace has a usual place."""
    said = raw_usage.get("inference_geo")
    return said if isinstance(said, str) else None


def embedded(
    prices: Prices,
    provider: Provider,
    used: Mapping[str | None, Usage],
    at: datetime,
    model_served: str | None = None,
) -> list[Charge]:
    """Return what embeddings cost: a charge for each key that was used, by its name."""
    terms = terms_of(provider, model_served=model_served)
    return [
        msgspec.structs.replace(
            charged(prices, provider, terms, usage, at), model_served=model_served, secret=key
        )
        for key, usage in used.items()
    ]


def reported(raw_usage: dict[str, Any]) -> int | None:
    """Return what a provider itself says a call has cost, in pico-dollars.

    OpenRouter says it in dollars as ``cost``, Perplexity as the total in there, DeepInfra as
    ``estimated_cost``; xAI in ticks, of which a dollar has 10**10. What is more than an amount can
    be is not said.
    """
    said = raw_usage.get("cost", raw_usage.get("estimated_cost"))
    if isinstance(said, dict):
        said = cast("dict[str, Any]", said).get("total_cost")
    unit = PICO
    if said is None:
        said, unit = raw_usage.get("cost_in_usd_ticks"), PICO // TICKS
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    try:
        pico = int(Decimal(str(said)) * unit)
    except (InvalidOperation, OverflowError, ValueError):
        return None
    return pico if abs(pico) <= MOST_PICO else None
