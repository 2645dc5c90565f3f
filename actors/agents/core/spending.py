"""What an attempt can cost at most, reckoned before anything is spent. Pure.

Byte-level tokenizers make at most one token of each byte, so that the bytes of a prompt bound its
tokens without asking anybody. The answer is bounded by ``max_tokens``, set where it is not. What
else a request holds is priced or refused: see ``extras`` and ``enclosures``.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from actors.agents.core.calls import Alternative, AlternativeCost, CostBounds, PricedAt
from actors.agents.core.enclosures import block_fault
from schemas.bills import BillSlices, Spending
from schemas.lifecycle import Accept
from schemas.llm import GenerateRequest, ModelConfig
from schemas.policy import Policy
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.provider_specs import ProviderUrls, usual_hosts, usual_urls
from schemas.providers import OpenAI, Provider, may_take_secret
from schemas.refusals import output_limit
from schemas.settings import Count, env
from schemas.terms import Restriction

CHUNK_TOKENS = 256
"""What a provider may send before it is noticed that it says too much."""

JUDGED = 8
"""A judge reads an answer window by window, each with what surrounds it, and counts otherwise."""

_FREE_JUDGES = ("omni-moderation", "text-moderation")
"""OpenAI's, which cost nothing and are in no rate book."""


class SpendingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How upper bounds are reckoned where a budget holds: settings."""

    bound: Annotated[
        Literal["strict", "estimate"],
        env(
            "CALLBOARD_BUDGET_BOUND",
            "what is reserved before a call: `strict` takes bytes for tokens and every alternative "
            "for paid, so that nothing is overshot; `estimate` reserves less",
        ),
    ] = "strict"
    factor: Annotated[
        Annotated[float, msgspec.Meta(ge=1, le=100)],
        env("CALLBOARD_BUDGET_ESTIMATE_FACTOR", "by how much an estimate is multiplied"),
    ] = 1.25
    answer_tokens: Annotated[
        Count,
        env("CALLBOARD_BUDGET_ANSWER_TOKENS", "`max_tokens` of calls under a budget that set none"),
    ] = 8192
    slice_tokens: Annotated[
        Count | None,
        env(
            "CALLBOARD_BUDGET_SLICE_TOKENS",
            "reserve so many tokens of an answer at a time, and more while it goes on; unset, all",
        ),
    ] = None
    when_refused: Annotated[
        Literal["fail", "wait"],
        env(
            "CALLBOARD_BUDGET_WHEN_REFUSED",
            "whether a refused execution fails or waits for its turn",
        ),
    ] = "fail"
    unpriced: Annotated[
        Literal["refuse", "allow"],
        env("CALLBOARD_BUDGET_UNPRICED", "what becomes of models without a price under a budget"),
    ] = "refuse"
    urls: ProviderUrls = msgspec.field(default_factory=usual_urls)

    @property
    def strict(self) -> bool:
        """Whether nothing may be overshot."""
        return self.bound == "strict"

    def may_take_secret(self, provider: Provider, keys: Sequence[str] = ()) -> bool:
        """Say whether a secret may go along with a call: then it may be the operator's spend."""
        return may_take_secret(provider, keys, _hosts(tuple(self.urls.items())))


@lru_cache(maxsize=8)
def _hosts(urls: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """Return the hosts that take unnamed secrets. One process has one set of addresses."""
    return usual_hosts(dict(urls))


def under(
    wanted: Accept,
    held_by: Sequence[Restriction],
    prices: Prices,
    spending_policy: SpendingPolicy,
    at: datetime,
) -> Accept | Problem:
    """Bound what is to be executed, as the scopes that it is held to demand.

    The platform's money is only for what may be the operator's spend. Refuses with ``unpriced``
    where a budget holds and nobody knows what a call may cost, with ``validation`` where nothing
    bounds it.
    """
    if not held_by:
        return wanted
    asked = wanted.request
    if not isinstance(asked, GenerateRequest):
        raise TypeError("embeddings have a bound of their own: see core.embedding")
    request, policy = _bounded(asked, wanted.policy, spending_policy)
    routes = list(_routes(request, policy, spending_policy))
    answer = max(
        alternative.config.max_tokens or spending_policy.answer_tokens for alternative in routes
    )
    called = [*routes, *_judge(policy, spending_policy, answer)]
    if not any(alternative.is_operators for alternative in called):
        held_by = [each for each in held_by if not each.platform]
    if not held_by:
        return wanted
    bounds = CostBounds(request, spending_policy.answer_tokens, strict=spending_policy.strict)
    spending = Spending(
        amount_pico=0,
        tokens=_of_all([bounds.tokens(alternative) for alternative in routes], spending_policy),
        waits=spending_policy.when_refused == "wait",
        platform=any(each.platform for each in held_by),
        assumed_tokens=spending_policy.answer_tokens if asked.config.max_tokens is None else None,
    )
    if any(each.money for each in held_by):
        is_own = any(each.money and not each.platform for each in held_by)
        costs = _costs(bounds, called, PricedAt(prices, at), spending_policy, is_own=is_own)
        if isinstance(costs, Problem):
            return costs
        spending = _with_money(spending, costs, spending_policy)
    return msgspec.structs.replace(wanted, request=request, policy=policy, spending=spending)


def _costs(
    bounds: CostBounds,
    routes: Sequence[Alternative],
    prices: PricedAt,
    spending_policy: SpendingPolicy,
    *,
    is_own: bool,
) -> list[AlternativeCost] | Problem:
    """Return what the alternatives may cost.

    Where the platform alone holds money, what is not the operator's spend need have no bound.
    """
    if (fault := block_fault(bounds.messages)) is not None:
        return fault
    costs: list[AlternativeCost] = []
    for alternative in routes:
        cost = bounds.cost(alternative, prices)
        if not isinstance(cost, Problem):
            costs.append(cost)
        elif (is_own or alternative.is_operators) and not _is_allowed(cost, spending_policy):
            return cost
    return costs


def _is_allowed(problem: Problem, spending_policy: SpendingPolicy) -> bool:
    return problem.code == "unpriced" and spending_policy.unpriced == "allow"


def _judge(policy: Policy, spending_policy: SpendingPolicy, answer: int) -> Iterator[Alternative]:
    """Yield who judges a prompt and an answer of so many tokens, unless it costs nothing."""
    wish = policy.safety.moderation if policy.safety is not None else None
    if wish is None or wish.model.startswith(_FREE_JUDGES):
        return
    judge = OpenAI(model=wish.model, base_url=wish.base_url, secret=wish.secret)
    if spending_policy.may_take_secret(judge):
        config = ModelConfig(max_tokens=1)
        yield Alternative(judge, config, "policy.safety.moderation.", more=JUDGED * answer)


def _with_money(
    spending: Spending, costs: Sequence[AlternativeCost], spending_policy: SpendingPolicy
) -> Spending:
    operators = [cost for cost in costs if cost.is_operators]
    token = max((cost.token for cost in costs), default=0)
    whole, lent = _whole(costs, spending_policy), _whole(operators, spending_policy)
    found = msgspec.structs.replace(spending, amount_pico=whole, chunk_pico=CHUNK_TOKENS * token)
    if spending_policy.slice_tokens is not None:
        found, lent = _sliced(found, costs, lent, spending_policy.slice_tokens, spending_policy)
    if not spending.platform or lent == found.amount_pico:
        return found
    return msgspec.structs.replace(found, lent_pico=lent)


def _sliced(
    spending: Spending,
    costs: Sequence[AlternativeCost],
    lent: int,
    size: int,
    spending_policy: SpendingPolicy,
) -> tuple[Spending, int]:
    """Return the bound of a prompt and a first slice, and how much of it must be the platform's."""
    operators = [cost for cost in costs if cost.is_operators]
    token, ours = (max((one.token for one in some), default=0) for some in (costs, operators))
    prompt = _of_all([cost.prompt for cost in costs], spending_policy)
    lent = min(lent, _of_all([cost.prompt for cost in operators], spending_policy) + size * ours)
    slices = BillSlices(
        slice_pico=size * token,
        input_pico=prompt,
        output_pico=token,
        lent_pico=None if ours == token else size * ours,
    )
    amount = min(spending.amount_pico, prompt + size * token)
    sliced = msgspec.structs.replace(
        spending,
        amount_pico=amount,
        slices=slices if token else None,
        chunk_pico=size * token,
    )
    return sliced, min(lent, amount)


def _whole(costs: Sequence[AlternativeCost], spending_policy: SpendingPolicy) -> int:
    return _of_all([cost.whole for cost in costs], spending_policy)


def _of_all(bounds: Sequence[int], spending_policy: SpendingPolicy) -> int:
    """Return what one attempt comes to: strictly, each of its calls may fail late and be paid."""
    if spending_policy.strict:
        return sum(bounds)
    return -(-int(max(bounds, default=0) * spending_policy.factor * 1000) // 1000)


def _bounded(
    request: GenerateRequest, policy: Policy, spending_policy: SpendingPolicy
) -> tuple[GenerateRequest, Policy]:
    """Set ``max_tokens`` wherever it is not."""
    config = _limited(request.provider, request.config, spending_policy)
    fallbacks = [
        msgspec.structs.replace(
            each, config=_limited(each.provider, each.config or request.config, spending_policy)
        )
        for each in policy.fallbacks
    ]
    return (
        msgspec.structs.replace(request, config=config),
        msgspec.structs.replace(policy, fallbacks=fallbacks) if fallbacks else policy,
    )


def _limited(
    provider: Provider, config: ModelConfig, spending_policy: SpendingPolicy
) -> ModelConfig:
    if config.max_tokens is not None:
        return config
    limit = min(
        spending_policy.answer_tokens, output_limit(provider.model) or spending_policy.answer_tokens
    )
    return msgspec.structs.replace(config, max_tokens=limit)


def _routes(
    request: GenerateRequest, policy: Policy, spending_policy: SpendingPolicy
) -> Iterator[Alternative]:
    """Yield the alternatives; an answer that was cut may be gone on with by each."""
    calls = 1 if policy.continuation == "never" else 2

    def alternative(
        provider: Provider, config: ModelConfig, keys: Sequence[str], field: str
    ) -> Alternative:
        pays = spending_policy.may_take_secret(provider, keys)
        return Alternative(provider, config, field, calls, max(len(set(keys)), 1), pays)

    yield alternative(request.provider, request.config, policy.keys, "")
    for place, other in enumerate(policy.fallbacks):
        config = other.config or request.config
        yield alternative(other.provider, config, other.keys, f"policy.fallbacks.{place}.")
