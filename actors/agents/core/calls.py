"""What an alternative of a request may cost at most: all its usage and its terms can be. Pure.

The prices are those of the rate book; where several may hold (another tier, region, deployment or
model than was asked), the dearest does.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from actors.agents.core.enclosures import image_tokens, keeps
from actors.agents.core.extra_rules import Effect
from actors.agents.core.extras import effect_of
from actors.agents.core.tokens import BYTES_PER_TOKEN
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig
from schemas.pricing.deployed import PricedAt, deployed
from schemas.pricing.headers import header_fault
from schemas.pricing.prices import ORDINARY, RateTerms
from schemas.pricing.terms import terms_of
from schemas.pricing.units import PARTS_OF_OUTPUT
from schemas.problems import Problem
from schemas.providers import Anthropic, Provider
from schemas.usage import Usage

FRAMING_TOKENS = 16
"""What a chat format puts around one message, at most."""

PROMPTED_TOKENS = 1024
"""What a provider writes before a prompt itself, where there are tools or a form of the answer."""

BUILT_IN_SEARCHES = 32
"""So many searches a model makes at most that searches unasked."""

_SEARCHES = re.compile(r"search-preview|search-api|(?:^|/)sonar|compound|:online")
_BOUNDLESS = re.compile(r"deep-research")
"""Models that search and read for as long as they like: no limit of length bounds them."""

_US = "us"
"""Where a workspace of Anthropic may run models without being asked to, for a tenth more."""

_MADE = ("reasoning", "citation", "audio_output", "image_output", "video_output")


class Alternative(NamedTuple):
    """An alternative of a request. ``field`` is the path of what defines it.

    ``calls`` counts how often it may be called in one attempt, ``keys`` how many may be refused
    after the prompt was read. ``is_operators`` says whether it may be the operator's spend. It may
    read ``more`` tokens than the prompt has.
    """

    provider: Provider
    config: ModelConfig
    field: str = ""
    calls: int = 1
    keys: int = 1
    is_operators: bool = True
    more: int = 0


class AlternativeCost(NamedTuple):
    """What an alternative may cost: its prompt, all of it, and a token of its answer."""

    prompt: int
    whole: int
    token: int
    is_operators: bool


class CostBounds:
    """Reckons alternatives of a request. ``strict`` takes bytes for tokens."""

    def __init__(self, request: GenerateRequest, answer_tokens: int, *, strict: bool) -> None:
        self._request = request
        self._answer_tokens = answer_tokens
        self._strict = strict

    @property
    def messages(self) -> list[ChatMessage]:
        """The conversation."""
        return self._request.messages

    def tokens(self, alternative: Alternative) -> int:
        """Return how many tokens an alternative may use at most."""
        return self.prompt(alternative.config) + (
            alternative.config.max_tokens or self._answer_tokens
        )

    def prompt(self, config: ModelConfig) -> int:
        """Return how many tokens the prompt has at most."""
        request = self._request
        framing = FRAMING_TOKENS * (len(request.messages) + len(request.tools) + 1)
        extra = (config.extra,) if config.extra else ()
        written = (request.messages, request.tools, config.response_format, *extra)
        size = sum(len(msgspec.json.encode(each)) for each in written)
        text = size if self._strict else -(-size // BYTES_PER_TOKEN)
        is_prompted = request.tools or config.response_format or "tools" in config.extra
        framing += PROMPTED_TOKENS if is_prompted else 0
        return text + framing + image_tokens(request.messages)

    def cost(self, alternative: Alternative, prices: PricedAt) -> AlternativeCost | Problem:
        """Return what an alternative may cost at most.

        Refuses with ``validation`` what has no bound, and with ``unpriced`` what has no price.
        """
        if (fault := alternative_fault(alternative)) is not None:
            return fault
        effect = effect_of(alternative.provider, alternative.config, f"{alternative.field}config")
        if isinstance(effect, Problem):
            return effect
        answer = max(alternative.config.max_tokens or self._answer_tokens, effect.length)
        prompt, made = self.prompt(alternative.config) + alternative.more, answer * effect.answers
        is_kept = (
            keeps(self._request.messages, alternative.config.extra)
            or alternative.config.cache is not None
        )
        terms = list(_terms(alternative, effect, prices))
        usual = prices.cost(terms[0], Usage(input=prompt, output=made))
        if isinstance(usual, Problem):
            return usual
        # What was said already is part of the prompt of a call that goes on with it.
        read = prompt + (made if alternative.calls > 1 else 0)
        aside = effect.aside
        whole = prices.most(terms, _usages(read, made + aside, alternative, keeps=is_kept))
        empty = prices.most(terms, _usages(read, 0, alternative, keeps=is_kept))
        beside = (
            prices.most(terms, _usages(read, aside, alternative, keeps=is_kept)) if aside else empty
        )
        again = empty * (alternative.keys - 1) if self._strict else 0
        token = -(-(whole - beside) // max(answer, 1))
        return AlternativeCost(
            beside * alternative.calls + again,
            whole * alternative.calls + again,
            token,
            alternative.is_operators,
        )


def alternative_fault(alternative: Alternative) -> Problem | None:
    """Return why no budget can hold what a way costs, whatever it is asked."""
    if _BOUNDLESS.search(alternative.provider.model):
        message = "this model's own searches have no bound, so that no budget can hold its cost"
        return Problem(
            code="validation", message=message, field=f"{alternative.field}provider.model"
        )
    return header_fault(
        alternative.provider, f"{alternative.field}provider", is_operators=alternative.is_operators
    )


def _terms(alternative: Alternative, effect: Effect, prices: PricedAt) -> Iterator[RateTerms]:
    """Yield all terms on which a call may be served; the first are those that are asked for."""
    tier = alternative.config.service_tier or effect.tier
    for provider in _models(alternative.provider, effect, prices):
        yield terms_of(provider, tier_requested=tier)
        if tier is not None and tier.strip().lower() not in ORDINARY:
            yield terms_of(provider)
        if isinstance(provider, Anthropic):
            yield terms_of(provider, tier_requested=tier, region_served=_US)


def _models(provider: Provider, effect: Effect, prices: PricedAt) -> Iterator[Provider]:
    yield from deployed(provider, prices)
    for name in effect.models:
        yield msgspec.structs.replace(provider, model=name)


def _usages(prompt: int, made: int, alternative: Alternative, *, keeps: bool) -> Iterator[Usage]:
    searches = BUILT_IN_SEARCHES if _SEARCHES.search(alternative.provider.model) else 0
    for bucket in ("input", "cache_write", "cache_write_1h") if keeps else ("input",):
        read: dict[str, Any] = {bucket: prompt}
        yield Usage(**read, output=made)
        for kind in _MADE if made else ():
            spoken: dict[str, Any] = {"output": made if kind in PARTS_OF_OUTPUT else 0, kind: made}
            yield Usage(**read, **spoken, searches=searches)
            yield Usage(**read, **spoken)
    if searches:
        yield Usage(input=prompt, output=made, searches=searches)
