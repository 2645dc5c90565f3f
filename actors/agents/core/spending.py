"""What an attempt can cost at most, reckoned before anything is spent. Pure.

Byte-level tokenizers make at most one token of each byte, so that the bytes of a prompt bound its
tokens without asking anybody. The answer is bounded by ``max_tokens``, set where it is not.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from actors.agents.core.tokens import BYTES_PER_TOKEN
from schemas.capabilities import output_limit
from schemas.ledger import Restriction
from schemas.lifecycle import Accept, Slices, Spending
from schemas.llm import GenerateRequest, ImageUrl, ModelConfig
from schemas.policy import Policy
from schemas.pricing.prices import Priced, Prices
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from schemas.providers import Provider
from schemas.usage import Usage

FRAMING_TOKENS = 16
"""What a chat format puts around one message, at most."""

IMAGE_TOKENS = 50_000
"""What an image is at most that the provider fetches itself; the largest known takes 48,000."""


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How upper bounds are reckoned.

    ``strict`` counts bytes as tokens and takes all alternatives for called and paid; otherwise the
    dearest is estimated and multiplied by ``factor``. ``answer_tokens`` bounds answers that nothing
    else does. With ``slice_tokens`` no more than so many of an answer are reserved at a time.
    """

    strict: bool = True
    factor: float = 1.25
    answer_tokens: int = 8192
    slice_tokens: int | None = None
    waits: bool = False
    unpriced: Literal["refuse", "allow"] = "refuse"


def under(
    wanted: Accept, held_by: Sequence[Restriction], prices: Prices, manner: Manner, at: datetime
) -> Accept | Problem:
    """Bound what is to be executed, as the scopes that it is held to demand.

    Refuses with ``unpriced`` where a budget holds and nobody knows what a call may cost.
    """
    if not held_by:
        return wanted
    request, policy = _bounded(wanted.request, wanted.policy, manner)
    calls = [_Call(request, *way, manner) for way in _ways(request, policy)]
    spending = Spending(
        amount_pico=0,
        tokens=_of_all([call.tokens for call in calls], manner),
        waits=manner.waits,
        platform=any(each.platform for each in held_by),
    )
    if any(each.money for each in held_by):
        costs = [call.cost(prices, at) for call in calls]
        for cost in costs:
            if isinstance(cost, Problem) and manner.unpriced == "refuse":
                return cost
        known = [cost for cost in costs if not isinstance(cost, Problem)]
        spending = _with_money(spending, known, manner)
    return msgspec.structs.replace(wanted, request=request, policy=policy, spending=spending)


class _Cost(msgspec.Struct, frozen=True):
    """What one call may cost: its prompt, all of it, and a token of its answer."""

    prompt: int
    whole: int
    token: int


class _Call:
    """One alternative, with the largest counts that its usage can have."""

    def __init__(
        self, request: GenerateRequest, provider: Provider, config: ModelConfig, manner: Manner
    ) -> None:
        self._provider = provider
        self._config = config
        self._keeps = any(message.cache for message in request.messages)
        self._prompt = _prompt_tokens(request, config, strict=manner.strict)
        self._answer = config.max_tokens or manner.answer_tokens

    @property
    def tokens(self) -> int:
        return self._prompt + self._answer

    def cost(self, prices: Prices, at: datetime) -> _Cost | Problem:
        """Return the dearest of all that its usage can be."""
        terms = terms_of(self._provider, tier_requested=self._config.service_tier)
        plain = prices.price(terms, Usage(input=self._prompt, output=self._answer), at)
        if not isinstance(plain, Priced):
            message = f"{plain.reason}, so that no budget can hold its cost"
            return Problem(code="unpriced", message=message, details={"row": plain.row})
        found = [prices.price(terms, usage, at) for usage in self._usages(self._answer)]
        whole = max(one.cost for one in found if isinstance(one, Priced))
        found = [prices.price(terms, usage, at) for usage in self._usages(0)]
        prompt = max(one.cost for one in found if isinstance(one, Priced))
        return _Cost(prompt, whole, -(-(whole - prompt) // max(self._answer, 1)))

    def _usages(self, answer: int) -> Iterator[Usage]:
        for reasoning in {0, answer}:
            yield Usage(input=self._prompt, output=answer, reasoning=reasoning)
            if self._keeps:
                yield Usage(cache_write=self._prompt, output=answer, reasoning=reasoning)
                yield Usage(cache_write_1h=self._prompt, output=answer, reasoning=reasoning)


def _with_money(spending: Spending, costs: Sequence[_Cost], manner: Manner) -> Spending:
    whole = _of_all([cost.whole for cost in costs], manner)
    if manner.slice_tokens is None:
        return msgspec.structs.replace(spending, amount_pico=whole)
    prompt = _of_all([cost.prompt for cost in costs], manner)
    token = max((cost.token for cost in costs), default=0)
    some = manner.slice_tokens * token
    return msgspec.structs.replace(
        spending,
        amount_pico=min(whole, prompt + some),
        slices=Slices(slice_pico=some, input_pico=prompt, output_pico=token) if some else None,
    )


def _of_all(bounds: Sequence[int], manner: Manner) -> int:
    """Return what one attempt comes to: strictly, each of its calls may fail late and be paid."""
    if manner.strict:
        return sum(bounds)
    return -(-int(max(bounds, default=0) * manner.factor * 1000) // 1000)


def _bounded(
    request: GenerateRequest, policy: Policy, manner: Manner
) -> tuple[GenerateRequest, Policy]:
    """Set ``max_tokens`` wherever it is not."""
    config = _limited(request.provider, request.config, manner)
    fallbacks = [
        msgspec.structs.replace(
            each, config=_limited(each.provider, each.config or request.config, manner)
        )
        for each in policy.fallbacks
    ]
    return (
        msgspec.structs.replace(request, config=config),
        msgspec.structs.replace(policy, fallbacks=fallbacks) if fallbacks else policy,
    )


def _limited(provider: Provider, config: ModelConfig, manner: Manner) -> ModelConfig:
    if config.max_tokens is not None:
        return config
    limit = min(manner.answer_tokens, output_limit(provider.model) or manner.answer_tokens)
    return msgspec.structs.replace(config, max_tokens=limit)


def _ways(request: GenerateRequest, policy: Policy) -> Iterator[tuple[Provider, ModelConfig]]:
    yield request.provider, request.config
    for each in policy.fallbacks:
        yield each.provider, each.config or request.config


def _prompt_tokens(request: GenerateRequest, config: ModelConfig, *, strict: bool) -> int:
    framing = FRAMING_TOKENS * (len(request.messages) + len(request.tools) + 1)
    images = sum(
        isinstance(part, ImageUrl) for message in request.messages for part in message.parts
    )
    written = (request.messages, request.tools, config.response_format)
    size = sum(len(msgspec.json.encode(each)) for each in written)
    text = size if strict else -(-size // BYTES_PER_TOKEN)
    return text + framing + images * IMAGE_TOKENS
