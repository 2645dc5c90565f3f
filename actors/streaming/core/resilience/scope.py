"""What a problem speaks against: the key, the key with one model, the endpoint, or the request."""

from typing import Literal

from schemas.problems import Problem

Scope = Literal["key", "model", "endpoint", "request"]

_OF_THE_ENDPOINT = frozenset({"provider_overloaded", "timeout", "unavailable"})


def scope_of(problem: Problem) -> Scope:
    """Say what a provider's problem speaks against.

    ``key``: what is refused or used up is the account's, so no model there will answer this key.
    ``model``: another key may do better with this model, and this key with another model: it is not
    allowed, limited in its rate, or its quota for the model is spent.
    ``endpoint``: the server or the model there is ill, whatever the key.
    ``request``: nobody is ill; the request is refused.
    """
    match problem.code:
        case "unauthorized":
            return "key"
        case "rate_limited":
            return "key" if problem.details.get("quota") == "key" else "model"
        case "forbidden":
            return "model"
        case code if code in _OF_THE_ENDPOINT:
            return "endpoint"
        case "provider_error" if problem.retryable:
            return "endpoint"
        case _:
            return "request"


def counts_against(problem: Problem) -> bool:
    """Say whether a problem shows that the endpoint is ill, and not the request or the key.

    A problem with a field of the request never does, such as safety rules that cannot be asked.
    """
    return problem.field is None and scope_of(problem) == "endpoint"
