"""Fitting a request to its model: what the model is known to refuse is refused here, or left out.

Which of the two is the request's own choice, ``config.unsupported``.
"""

from typing import NamedTuple

import msgspec

from schemas.llm import AnswerWarning, GenerateRequest, ModelConfig
from schemas.problems import Problem
from schemas.refusals import Refusal, misplaced, refusals, unseen

_DEFAULTS = ModelConfig()
_NO_DOCUMENT = "takes no document in an assistant's message under anthropic-version 2026-10-21"


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
    blocks = misplaced(request)
    if not refused and not blocks:
        return Fitted(request)
    if request.config.unsupported == "refuse":
        return Fitted(request, problem=_refusal(model, refused, blocks))
    fitted = _without(request, refused)
    return _without_blocks(fitted, blocks) if blocks else fitted


def _refusal(model: str, refused: list[Refusal], blocks: list[tuple[int, int]]) -> Problem:
    if refused:
        return _invalid(f"config.{refused[0].setting}", f"{model} {refused[0].reason}")
    at, place = blocks[0]
    return _invalid(f"messages.{at}.blocks.{place}", f"{model} {_NO_DOCUMENT}")


def _without(request: GenerateRequest, refused: list[Refusal]) -> Fitted:
    fitting = {
        one.setting: getattr(_DEFAULTS, one.setting) if one.instead is None else one.instead
        for one in refused
    }
    config = msgspec.structs.replace(request.config, **fitting)
    warnings = tuple(_warning(request.provider.model, one) for one in refused)
    return Fitted(msgspec.structs.replace(request, config=config), warnings)


def _without_blocks(fitted: Fitted, blocks: list[tuple[int, int]]) -> Fitted:
    """Leave blocks out of messages, and say so."""
    request, gone = fitted.request, set(blocks)
    messages = [
        msgspec.structs.replace(
            message,
            blocks=[one for place, one in enumerate(message.blocks) if (at, place) not in gone],
        )
        for at, message in enumerate(request.messages)
    ]
    warnings = tuple(
        AnswerWarning(
            field=f"messages.{at}.blocks.{place}",
            message=f"{request.provider.model} {_NO_DOCUMENT}: it was left out",
        )
        for at, place in blocks
    )
    return Fitted(msgspec.structs.replace(request, messages=messages), fitted.warnings + warnings)


def _warning(model: str, refusal: Refusal) -> AnswerWarning:
    done = "it was left out" if refusal.instead is None else f"{refusal.instead} was sent"
    if isinstance(refusal.instead, dict):
        # What is left of it may be anything, and is nobody's business.
        done = "these were left out"
    return AnswerWarning(
        field=f"config.{refusal.setting}", message=f"{model} {refusal.reason}: {done}"
    )


def _invalid(field: str, message: str) -> Problem:
    return Problem(code="validation", message=message, field=field)
