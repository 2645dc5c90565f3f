"""Refusing a prompt that cannot fit into its model, before it is sent. Pure.

How large a model's window is the rate book tells, for the providers' own services. Definitions with
an address or headers of their own are let pass: other servers have other windows, and a header may
open a larger one. Ollama cuts a prompt silently, so there the definition's own ``num_ctx`` counts.
"""

import re
from typing import Any, cast

from actors.streaming.core.tokens import estimate
from schemas.llm import GenerateRequest
from schemas.pricing.prices import Prices
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from schemas.provider_specs import spec_of
from schemas.providers import Provider
from schemas.steps import Steps

CERTAIN = 2.0
"""A prompt is refused that is estimated at more than so many windows: an estimate may be wrong, and
what might fit only the provider can say. At twice the window, each token would have 8 letters."""

_PIECE = 4096
"""Characters that are looked at at a time."""

_REPEATED = re.compile(r"(.)\1+", re.DOTALL)
"""Runs of one character, such as indents and rules, which may be a single token."""


def window_of(provider: Provider, prices: Prices | None) -> int | None:
    """Return how many tokens prompt and answer may have together, None if that is not known."""
    told_by, remote = spec_of(provider).window, cast("Any", provider)
    if told_by == "num_ctx":
        return remote.num_ctx
    if told_by == "unknown" or prices is None or remote.base_url or remote.headers:
        return None
    return prices.context_window(terms_of(provider))


def overflow(request: GenerateRequest, prices: Prices | None) -> Steps[Problem | None]:
    """Return why a prompt cannot be sent, None where it may fit."""
    window = window_of(request.provider, prices)
    if window is None or estimate.prompt_tokens(request) <= CERTAIN * window:
        return None
    tokens = 0
    for message in request.messages:
        text = message.text
        for start in range(0, len(text), _PIECE):
            tokens += estimate.tokens(_REPEATED.sub(r"\1", text[start : start + _PIECE]))
            yield
    if tokens <= CERTAIN * window:
        return None
    model = request.provider.model
    return Problem(
        code="validation",
        message=f"The prompt has about {tokens} tokens (estimated), {model} takes {window}.",
        field="messages",
        details={"estimated_tokens": tokens, "context_window": window},
    )
