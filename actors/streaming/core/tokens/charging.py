"""What calls of models cost: a charge for each, with all it takes to reckon it again. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, cast

import msgspec

from actors.streaming.core.resilience.routes import Route
from schemas.ledger import MOST_COUNTED, MOST_PICO, Charge, is_plausible
from schemas.llm import Answer, ModelConfig
from schemas.pricing.prices import Priced, Prices, RateTerms, Unpriced
from schemas.pricing.terms import terms_of
from schemas.pricing.units import PICO
from schemas.providers import Azure, OpenAI, Provider
from schemas.usage import COUNTS, Usage

TICKS: Final = 10**10
"""Of xAI in a dollar."""


class Judged(NamedTuple):
    """What a moderation endpoint has used for the texts of an attempt."""

    judge: OpenAI
    usage: Usage
    foreign: bool = False


class Key(NamedTuple):
    """The name of the secret of a call; ``foreign`` where that is none of the operator's."""

    name: str | None
    foreign: bool = False


class CostMeter:
    """Collects the charges of one attempt; all of them at the prices of its beginning.

    ``batch`` says that its calls go by the providers' batch APIs, and at their prices.
    """

    def __init__(self, prices: Prices, at: datetime, *, batch: bool = False) -> None:
        self._prices = prices
        self._batch = batch
        self._at = at
        self.charges: list[Charge] = []

    def failed(
        self, way: Route, key: str | None, usage: Usage | None, *, foreign: bool = False
    ) -> None:
        """Charge a call that failed, if it has used anything."""
        if usage is not None:
            tier = asked_tier(way.config)
            possible = [terms_of(each, tier_requested=tier) for each in _unheard(way.provider)]
            charge = _dearest(self._prices, way.provider, possible, usage, self._at)
            self._add(way, Key(key, foreign), charge)

    def answered(
        self, way: Route, key: str | None, answer: Answer, *, foreign: bool = False
    ) -> None:
        """Charge a call that was answered, and what other models have used for it by the way."""
        possible = _possible(way, answer, foreign=foreign)
        if len(possible) == 1:
            dearest = self._charge(way.provider, possible[0], answer.usage)
        else:
            dearest = _dearest(self._prices, way.provider, possible, answer.usage, self._at)
        charge = msgspec.structs.replace(
            dearest, model_served=answer.model_served, reported_pico=reported(answer.raw_usage)
        )
        self._add(way, Key(key, foreign), charge)
        for model, usage in answer.side_usage.items():
            provider: Any = msgspec.structs.replace(way.provider, model=model)
            self._add(way, Key(key, foreign), self._charge(provider, terms_of(provider), usage))

    def bill(self, judged: Judged | None) -> list[Charge]:
        """Return all charges, and that of who has judged the texts, if it has told what it used."""
        if judged is None:
            return self.charges
        terms = terms_of(judged.judge)
        charge = charged(self._prices, judged.judge, terms, judged.usage, self._at)
        told = msgspec.structs.replace(charge, secret=judged.judge.secret, foreign=judged.foreign)
        return [*self.charges, told]

    def _add(self, way: Route, key: Key, charge: Charge) -> None:
        self.charges.append(
            msgspec.structs.replace(charge, place=way.place, secret=key.name, foreign=key.foreign)
        )

    def _charge(self, provider: Provider, terms: RateTerms, usage: Usage) -> Charge:
        if self._batch:
            terms = msgspec.structs.replace(terms, batch=True)
        return charged(self._prices, provider, terms, usage, self._at)


def asked_tier(config: ModelConfig) -> str | None:
    """Return the service tier that a request asks for, in its own field or the provider's."""
    if config.service_tier or not config.extra:
        return config.service_tier
    extra = config.extra.get("service_tier", config.extra.get("serviceTier"))
    if isinstance(extra, dict):
        extra = cast("dict[str, Any]", extra).get("type")
    return extra if isinstance(extra, str) else None


def _unheard(provider: Provider) -> Iterator[Provider]:
    """Yield what a provider may have run of which nothing was heard."""
    yield provider
    if isinstance(provider, Azure) and provider.deployment not in {None, provider.model}:
        yield msgspec.structs.replace(provider, model=provider.deployment or provider.model)


def _possible(way: Route, answer: Answer, *, foreign: bool) -> list[RateTerms]:
    """Return the terms of which the dearest is charged.

    The word of a host that got the operator's secret is taken, but for Azure: there a definition
    names the model and the deployment decides. A foreign host may name a cheaper model or tier than
    was asked for, which is not believed.
    """
    provider, tier = way.provider, asked_tier(way.config)
    served = answer.model_served
    possible = [
        terms_of(
            provider,
            model_served=served,
            tier_requested=tier,
            tier_served=answer.service_tier,
            region_served=_place(answer.raw_usage),
        )
    ]
    if isinstance(provider, Azure) and served and served != provider.model:
        really: Azure = msgspec.structs.replace(provider, model=served)
        possible.append(terms_of(really, tier_requested=tier, tier_served=answer.service_tier))
    if foreign:
        possible += (terms_of(provider, tier_requested=tier), terms_of(provider))
    return possible


def charged(
    prices: Prices, provider: Provider, terms: RateTerms, usage: Usage, at: datetime
) -> Charge:
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


def _priced(prices: Prices, terms: RateTerms, usage: Usage, at: datetime) -> Priced | Unpriced:
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
    used: Mapping[Key, Usage],
    at: datetime,
    model_served: str | None = None,
) -> list[Charge]:
    """Return what embeddings cost: a charge for each key that was used, by its name."""
    charges: list[Charge] = []
    for key, usage in used.items():
        possible = _served(provider, model_served, foreign=key.foreign)
        charge = _dearest(prices, provider, possible, usage, at)
        charges.append(
            msgspec.structs.replace(
                charge, model_served=model_served, secret=key.name, foreign=key.foreign
            )
        )
    return charges


def _served(provider: Provider, served: str | None, *, foreign: bool) -> Iterator[RateTerms]:
    """Yield the terms of which the dearest is charged, as for answers."""
    yield terms_of(provider, model_served=served)
    if isinstance(provider, Azure) and served and served != provider.model:
        yield terms_of(msgspec.structs.replace(provider, model=served))
    if foreign:
        yield terms_of(provider)


def _dearest(
    prices: Prices, provider: Provider, possible: Iterable[RateTerms], usage: Usage, at: datetime
) -> Charge:
    """Return the charge by the dearest of terms; one without a price only where none has."""
    return max(
        (charged(prices, provider, terms, usage, at) for terms in possible),
        key=lambda each: -1 if each.cost_pico is None else each.cost_pico,
    )


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
