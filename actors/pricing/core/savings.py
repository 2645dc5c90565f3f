"""What past calls would have cost if they had been made in another way. Pure.

Everything is priced by one book at one moment, as it is and as it could be, so that a saving is the
difference of the way alone. What cannot be priced is left out of both.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from actors.pricing.core.family import siblings
from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.reports import Recommendation, RecommendationKind
from schemas.usage import Usage

MOST = 50
"""Recommendations in one answer."""

LEAST_CALLS = 10
"""Of one agent, before anything is said of how it caches or what is held for it."""

LEAST_PREFIX = 1024
"""Tokens: providers cache no shorter prompt."""

KEPT = {"cache_write_5m": timedelta(minutes=5), "cache_write_1h": timedelta(hours=1)}
"""How long what is written to a cache can be read; each reading lets it last so long again."""

CLIFF = 10
"""A prompt is close above a boundary if cutting off one part in so many gets it below."""

OVER_HELD = 4
"""So many times its cost is much to hold for a call."""


class Call(NamedTuple):
    """A call of the past. ``held`` is what was held for it in pico-dollars."""

    at: datetime
    agent: str | None
    terms: RateTerms
    usage: Usage
    held: int = 0


class Repriced(NamedTuple):
    """A call with its price by the book in force."""

    call: Call
    price: Priced

    @property
    def model(self) -> tuple[str, str]:
        """Provider and model as the book names them."""
        provider, _, model = self.price.row.partition("/")
        return provider, model


class Option(NamedTuple):
    """A way to make calls, by which they are grouped."""

    kind: RecommendationKind
    provider: str
    model: str
    instead: str | None = None
    agent: str | None = None


class Sum(NamedTuple):
    """What the calls of an option cost as they were made, and by it."""

    calls: int = 0
    cost: int = 0
    instead: int = 0
    note: int = 0

    def plus(self, cost: int, instead: int, note: int = 0) -> "Sum":
        """Add a call; the greatest ``note`` counts."""
        return Sum(self.calls + 1, self.cost + cost, self.instead + instead, max(self.note, note))


class Study:
    """Prices calls by a book, as it stands ``at`` a moment."""

    def __init__(self, prices: Prices, at: datetime) -> None:
        self._prices = prices
        self._at = at
        self._variants: dict[str, list[str]] = {}
        self._siblings: dict[str, list[str]] = {}

    def repriced(self, calls: Iterable[Call]) -> list[Repriced]:
        """Return the calls that have a price now."""
        found = ((call, self._prices.price(call.terms, call.usage, self._at)) for call in calls)
        return [Repriced(call, price) for call, price in found if isinstance(price, Priced)]

    def recommendations(self, calls: Sequence[Repriced]) -> list[Recommendation]:
        """Return what would have saved money, the largest saving first."""
        sums: defaultdict[Option, Sum] = defaultdict(Sum)
        for one in calls:
            for option, cost, note in self._routes(one):
                sums[option] = sums[option].plus(one.price.cost, cost, note)
        for option, cost in self._cached(calls):
            sums[option] = cost
        for option in _larger_siblings(sums):
            del sums[option]
        found = [_said(option, each) for option, each in sums.items() if each.instead < each.cost]
        found += list(_over_held(calls))
        found.sort(key=lambda one: (-one.saving_pico, -one.held_pico, one.kind, one.model))
        return found[:MOST]

    def _routes(self, one: Repriced) -> Iterator[tuple[Option, int, int]]:
        """Yield other ways to make a call, each with its cost and a number for the message."""
        provider, model = one.model
        for variant in self._other_variants(one.price):
            kind = "batch" if variant.startswith("batch") else "cheaper_tier"
            yield from self._way(Option(kind, provider, model, variant), one, _terms(one, variant))
        for sibling in self._smaller(one.price.row):
            terms = msgspec.structs.replace(
                one.call.terms, provider=provider, model=sibling, or_model="", or_provider=""
            )
            yield from self._way(Option("smaller_model", provider, model, sibling), one, terms)
        if one.call.usage.written or one.call.usage.cache_read:
            option = Option("no_caching", provider, model, agent=one.call.agent)
            yield from self._way(option, one, one.call.terms, _uncached(one.call.usage))
        start = one.price.tier_from
        if start and (shorter := _shortened(one.call.usage, start - 1)):
            option = Option("long_context", provider, model)
            yield from self._way(option, one, one.call.terms, shorter, note=start)

    def _way(
        self,
        option: Option,
        one: Repriced,
        terms: RateTerms,
        usage: Usage | None = None,
        note: int = 0,
    ) -> Iterator[tuple[Option, int, int]]:
        price = self._prices.price(terms, usage or one.call.usage, self._at)
        if isinstance(price, Priced):
            yield option, price.cost, note

    def _other_variants(self, price: Priced) -> list[str]:
        """Return the variants of a row besides the one a call had; a batch has none."""
        if price.row not in self._variants:
            provider, _, model = price.row.partition("/")
            row = self._prices.row(provider, model)
            self._variants[price.row] = [*row.variants, ""] if row else []
        if price.variant.startswith("batch"):
            return []
        return [variant for variant in self._variants[price.row] if variant != price.variant]

    def _smaller(self, row: str) -> list[str]:
        """Return the models of the same family."""
        if row not in self._siblings:
            provider, _, model = row.partition("/")
            self._siblings[row] = siblings(model, self._prices.models(provider))
        return self._siblings[row]

    # Caching

    def _cached(self, calls: Sequence[Repriced]) -> Iterator[tuple[Option, Sum]]:
        """Yield what agents that do not cache would save by it, for the better of the times kept.

        What all calls of an agent have in common is taken to be as long as its shortest prompt.
        """
        groups: defaultdict[tuple[str, str, str], list[Repriced]] = defaultdict(list)
        for one in calls:
            if one.call.agent is not None:
                groups[(*one.model, one.call.agent)].append(one)
        for (provider, model, agent), group in groups.items():
            prefix = min(one.call.usage.input for one in group)
            if len(group) < LEAST_CALLS or prefix < LEAST_PREFIX or _caches(group):
                continue
            found = [(self._with_cache(group, prefix, bucket), bucket) for bucket in KEPT]
            best = min(((cost, bucket) for cost, bucket in found if cost is not None), default=None)
            if best is not None:
                cost = sum(one.price.cost for one in group)
                option = Option(
                    "caching", provider, model, best[1].removeprefix("cache_write_"), agent
                )
                yield option, Sum(len(group), cost, best[0], prefix)

    def _with_cache(self, group: Sequence[Repriced], prefix: int, bucket: str) -> int | None:
        """Return what calls cost if they write what they have in common, or read it in time."""
        total, last = 0, None
        for one in sorted(group, key=lambda one: one.call.at):
            is_kept = last is not None and one.call.at - last <= KEPT[bucket]
            last, usage = one.call.at, one.call.usage
            counts = {"input": usage.input - prefix, "cache_read" if is_kept else bucket: prefix}
            price = self._prices.price(
                one.call.terms, msgspec.structs.replace(usage, **counts), self._at
            )
            if not isinstance(price, Priced):
                return None
            total += price.cost
        return total


def _terms(one: Repriced, variant: str) -> RateTerms:
    parts = variant.split("+")
    tier = next((part for part in parts if part and part != "batch"), None)
    return msgspec.structs.replace(one.call.terms, batch="batch" in parts, tier=tier)


def _uncached(usage: Usage) -> Usage:
    """Return the same prompt, all of it read anew."""
    return msgspec.structs.replace(
        usage,
        input=usage.input + usage.cache_read + usage.written,
        cache_read=0,
        cache_write=0,
        cache_write_5m=0,
        cache_write_1h=0,
    )


def _shortened(usage: Usage, most: int) -> Usage | None:
    """Return the usage with a prompt of ``most`` tokens, if little of it has to go for that."""
    excess = usage.prompt - most
    if excess * CLIFF > usage.prompt or excess > usage.input:
        return None
    return msgspec.structs.replace(usage, input=usage.input - excess)


def _caches(group: Sequence[Repriced]) -> bool:
    return any(one.call.usage.cache_read or one.call.usage.written for one in group)


def _larger_siblings(sums: dict[Option, Sum]) -> list[Option]:
    """Return the siblings of each model that are not the next smaller one."""
    options = [option for option in sums if option.kind == "smaller_model"]
    cheaper = [option for option in options if sums[option].instead < sums[option].cost]
    nearest: dict[tuple[str, str], Option] = {}
    for option in sorted(cheaper, key=lambda option: -_share(sums[option])):
        nearest.setdefault((option.provider, option.model), option)
    kept = set(nearest.values())
    return [option for option in options if option not in kept]


def _share(each: Sum) -> float:
    return each.instead / each.cost if each.cost else 1.0


def _over_held(calls: Sequence[Repriced]) -> Iterator[Recommendation]:
    groups: defaultdict[tuple[str, str, str | None], list[Repriced]] = defaultdict(list)
    for one in calls:
        if one.call.held:
            groups[(*one.model, one.call.agent)].append(one)
    for (provider, model, agent), group in groups.items():
        cost = sum(one.price.cost for one in group)
        held = sum(one.call.held for one in group)
        if len(group) < LEAST_CALLS or held <= OVER_HELD * cost:
            continue
        outputs = sorted(one.call.usage.output for one in group)
        longest = outputs[-(-len(outputs) * 99 // 100) - 1]
        yield Recommendation(
            kind="over_reservation",
            provider=provider,
            model=model,
            agent_id=agent,
            message=f"Set max_tokens near {longest}: 99 of 100 answers are not longer, and"
            " what is held for more keeps other calls out.",
            calls=len(group),
            cost_pico=cost,
            saving_pico=0,
            held_pico=held - cost,
        )


def _said(option: Option, each: Sum) -> Recommendation:
    return Recommendation(
        kind=option.kind,
        provider=option.provider,
        model=option.model,
        instead=option.instead or None,
        agent_id=option.agent,
        message=_message(option, each),
        calls=each.calls,
        cost_pico=each.cost,
        saving_pico=each.cost - each.instead,
    )


def _message(option: Option, each: Sum) -> str:
    match option.kind:
        case "batch":
            return "Send what can wait for hours as a batch."
        case "cheaper_tier":
            return f"Ask for service tier {option.instead or 'standard'} where its limits will do."
        case "smaller_model":
            return f"Try {option.instead} for what it does well enough."
        case "caching":
            return (
                f"Cache the beginning of the prompt for {option.instead}, if its first"
                f" {each.note} tokens are always the same."
            )
        case "no_caching":
            return "Do not cache: too little of what is written is read again."
        case "long_context":
            return (
                f"Keep prompts below {each.note} tokens: from there on all of a request costs more."
            )
        case "over_reservation":
            return "Hold less."
