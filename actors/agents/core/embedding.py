"""Embeddings as executions: what is asked of the owner, and what an attempt may cost. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from actors.agents.core.calls import FRAMING_TOKENS, Alternative, alternative_fault
from actors.agents.core.checks import checking
from actors.agents.core.spending import SpendingPolicy
from schemas.agents import AgentDefinition
from schemas.bills import Spending
from schemas.embeddings import RETENTION_SECONDS, Embed
from schemas.lifecycle import NO_POLICY, Accept, Origin
from schemas.llm import EmbedRequest, ModelConfig
from schemas.policy import Policy
from schemas.pricing.deployed import PricedAt, deployed
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from schemas.steps import Steps
from schemas.terms import Restriction
from schemas.usage import Usage

TIMEOUT_SECONDS = 60.0
ATTEMPTS = 2
"""A second one where a worker dies with the first: a request may be what kills its workers."""


def accept_embedding(wanted: Embed, origin: Origin, now: datetime) -> Steps[Accept | Problem]:
    """Build the command, with a provider held to what that of a stored definition is held to."""
    stand_in = AgentDefinition(
        id="llm",
        name="llm",
        provider=wanted.provider,
        version=1,
        created_at=now,
        updated_at=now,
    )
    found = yield from checking(stand_in)
    if found is not None:
        return found
    request = EmbedRequest(
        provider=wanted.provider,
        texts=wanted.texts,
        dimensions=wanted.dimensions,
        dimensions_strict=wanted.dimensions_strict,
    )
    policy = Policy(keys=wanted.keys) if wanted.keys else NO_POLICY
    origin = msgspec.structs.replace(origin, kept=RETENTION_SECONDS)
    return Accept(origin=origin, request=request, timeout_seconds=TIMEOUT_SECONDS, policy=policy)


def embedding_under(
    wanted: Accept,
    request: EmbedRequest,
    held_by: Sequence[Restriction],
    spending_policy: SpendingPolicy,
    prices: PricedAt,
) -> Accept | Problem:
    """Bound what is to be embedded, as the scopes that it is held to demand.

    A byte of a text is at most a token. The platform's money is only for what may be the operator's
    spend. Refuses as ``spending.under``.
    """
    pays = spending_policy.may_take_secret(request.provider, wanted.policy.keys)
    held_by = [each for each in held_by if pays or not each.platform]
    if not held_by:
        return wanted
    tokens = sum(len(text.encode()) + FRAMING_TOKENS for text in request.texts)
    amount = 0
    if any(each.money for each in held_by):
        alternative = Alternative(request.provider, ModelConfig(), is_operators=pays)
        most = alternative_fault(alternative) or _most(alternative, tokens, spending_policy, prices)
        if isinstance(most, Problem):
            return most
        amount = most
    spending = Spending(
        amount_pico=amount,
        tokens=tokens,
        waits=spending_policy.when_refused == "wait",
        platform=any(each.platform for each in held_by),
    )
    return msgspec.structs.replace(wanted, spending=spending)


def _most(
    alternative: Alternative, tokens: int, spending_policy: SpendingPolicy, prices: PricedAt
) -> int | Problem:
    """Return what an attempt costs with the dearest of all models it may really ask."""
    models = list(deployed(alternative.provider, prices, answers=False))
    used = Usage(input=tokens)
    usual = prices.cost(terms_of(models[0]), used)
    if isinstance(usual, Problem) and spending_policy.unpriced != "allow":
        return usual
    return prices.most([terms_of(model) for model in models], [used])
