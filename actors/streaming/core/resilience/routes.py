"""The alternatives of one call in their order, and what a failure leads to.

Alternatives are the worker's business: within one attempt it goes through them once, as long as
nothing of an answer has been published. Time is the owner's: an attempt never sleeps on a failure
(see ``schemas/retry.py``).
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
        provider = keyed(self.provider, key)
        return msgspec.structs.replace(request, provider=provider, config=self.config)


def keyed(provider: Provider, key: str | None) -> Provider:
    """Return the provider as it is asked with this key."""
    remote: Any = provider
    return provider if key is None else msgspec.structs.replace(remote, secret=key)


def keys_for(provider: Provider, keys: Sequence[str]) -> tuple[str | None, ...]:
    """Return the keys that may be tried, each once: the provider's own if there is no pool."""
    return tuple(dict.fromkeys(keys)) or (getattr(provider, "secret", None),)


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
    return Route(place, provider, config, keys_for(provider, keys))


def leads_on(problem: Problem) -> bool:
    """Say whether another provider may do better.

    Not where the request itself is at fault, the time or money is spent, or a content filter has
    spoken: a fallback is no way around a refusal. But another model may have a larger window.
    """
    tokens = {problem.details.get("provider_code"), problem.details.get("provider_type")}
    if "context_window" in problem.details:
        return True
    about_policy = (problem.field or "").startswith("policy.")
    final = problem.code in _FINAL_CODES or bool(tokens & _FINAL_TOKENS)
    return not (final or about_policy)


Step = Literal["next_route", "continue", "restart", "give_up"]


class Failure(NamedTuple):
    """Where a call stood when it failed, with all the keys that could be tried.

    ``published`` says that a part of the answer has gone out, ``can_continue`` that the next route
    takes it as the beginning of its own.
    """

    problem: Problem
    other_routes: bool
    published: bool
    can_continue: bool


def after(failure: Failure) -> Step:
    """Say what follows a failure.

    ``restart`` ends the attempt; the execution's owner then begins another at the next route, under
    a new segment, and tells the readers to drop what they have. ``give_up`` ends it too, and the
    owner decides by the problem alone whether and when to try again.
    """
    if not leads_on(failure.problem):
        return "give_up"
    if failure.published and failure.can_continue:
        return "continue"
    if not failure.other_routes:
        return "give_up"
    return "restart" if failure.published else "next_route"
