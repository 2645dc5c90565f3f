"""Fitting a request to its model: what the model is known to refuse is refused here, or left out.

Which of the two is the request's own choice, ``config.unsupported``.
"""

from typing import NamedTuple

import msgspec

from schemas.capabilities import Refusal, refusals, unseen
from schemas.llm import AnswerWarning, GenerateRequest, ModelConfig
from schemas.problems import Problem

_DEFAULTS = ModelConfig()


class Fitted(NamedTuple):
    """A request that its model takes, and how it differs from the one that was made.

    ``problem`` is why it cannot be sent at all.
    """

    request: GenerateRequest
    warnings: tuple[AnswerWarning, ...] = ()
    problem: Problem | None = None


def fit(request: GenerateRequest) -> Fitted:
    """Return the request as it can be sent."""
    blind_to = unseen(request)
    model = request.provider.model
    if blind_to is not None:
        return Fitted(request, problem=_invalid(f"messages.{blind_to}", f"{model} sees no images"))
    tools = bool(request.tools)
    refused = refusals(request.provider, request.config, beside_tools=tools)
    if not refused:
        return Fitted(request)
    if request.config.unsupported == "refuse":
        first = refused[0]
        return Fitted(
            request, problem=_invalid(f"config.{first.setting}", f"{model} {first.reason}")
        )
    return _without(request, refused)


def _without(request: GenerateRequest, refused: list[Refusal]) -> Fitted:
    fitting = {
        one.setting: getattr(_DEFAULTS, one.setting) if one.instead is None else one.instead
        for one in refused
    }
    config = msgspec.structs.replace(request.config, **fitting)
    warnings = tuple(_warning(request.provider.model, one) for one in refused)
    return Fitted(msgspec.structs.replace(request, config=config), warnings)


def _warning(model: str, refusal: Refusal) -> AnswerWarning:
    done = "it was left out" if refusal.instead is None else f"{refusal.instead} was sent"
    return AnswerWarning(
        field=f"config.{refusal.setting}", message=f"{model} {refusal.reason}: {done}"
    )


def _invalid(field: str, message: str) -> Problem:
    return Problem(code="validation", message=message, field=field)
