"""The alternatives of one call in their order, and what a failure leads to.

Alternatives are the worker's business: within one attempt it goes through them once, as long as
nothing of an answer has been published. Time is the owner's: an attempt never sleeps on a failure
(see ``actors/agents/core/retry.py``).
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from schemas.llm import GenerateRequest, ModelConfig
from schemas.policy import Policy
from schemas.problems import Problem
from schemas.providers import Provider

_FINAL_CODES = frozenset({"blocked", "budget_exceeded", "cancelled", "validation"})
_FINAL_TOKENS = frozenset({"content_filter", "content_policy_violation"})


class Route(NamedTuple):
    """One alternative: ``place`` is 0 for the agent's own provider, then its fallbacks from 1."""

    place: int
    provider: Provider
    config: ModelConfig
    keys: tuple[str | None, ...]

    def request(self, request: GenerateRequest, key: str | None) -> GenerateRequest:
        """Return the request as it goes along this route with this key."""
        provider: Any = self.provider
        if key is not None:
            provider = msgspec.structs.replace(provider, secret=key)
        return msgspec.structs.replace(request, provider=provider, config=self.config)


def routes(request: GenerateRequest, policy: Policy, *, start: int = 0) -> list[Route]:
    """Return the alternatives in order, from place ``start`` on and around to those before it."""
    own = _route(0, request.provider, request.config, policy.keys)
    others = [
        _route(place, other.provider, other.config or request.config, other.keys)
        for place, other in enumerate(policy.fallbacks, start=1)
    ]
    every = [own, *others]
    first = start % len(every)
    return every[first:] + every[:first]


def _route(place: int, provider: Provider, config: ModelConfig, keys: Sequence[str]) -> Route:
    own = getattr(provider, "secret", None)
    return Route(place, provider, config, tuple(dict.fromkeys(keys)) or (own,))


def leads_on(problem: Problem) -> bool:
    """Say whether another provider may do better.

    Not where the request itself is at fault, the time or money is spent, or a content filter has
    spoken: a fallback is no way around a refusal.
    """
    tokens = {problem.details.get("provider_code"), problem.details.get("provider_type")}
    about_policy = (problem.field or "").startswith("policy.")
    final = problem.code in _FINAL_CODES or bool(tokens & _FINAL_TOKENS)
    return not (final or about_policy)


Step = Literal["next_key", "next_route", "continue", "restart", "give_up"]


class Failure(NamedTuple):
    """Where a call stood when it failed.

    ``published`` says that a part of the answer has gone out, ``can_continue`` that the next route
    takes it as the beginning of its own.
    """

    problem: Problem
    other_keys: bool
    other_routes: bool
    published: bool
    can_continue: bool


def after(failure: Failure, *, about_key: bool) -> Step:
    """Say what follows a failed call.

    ``restart`` ends the attempt; the execution's owner then begins another at the next route, under
    a new segment, and tells the readers to drop what they have. ``give_up`` ends it too, and the
    owner decides by the problem alone whether and when to try again.
    """
    if about_key and failure.other_keys and not failure.published:
        return "next_key"
    if not leads_on(failure.problem):
        return "give_up"
    if failure.published and failure.can_continue:
        return "continue"
    if not failure.other_routes:
        return "give_up"
    return "restart" if failure.published else "next_route"
