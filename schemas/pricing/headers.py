"""Headers of a definition, as far as they may change what a call costs. Pure."""

import re
from collections.abc import Iterator, Mapping

from schemas.problems import Problem
from schemas.providers import Provider, Scripted

FREE_BETAS = (
    "context-1m-",
    "extended-cache-ttl-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "max-tokens-3-5-sonnet-",
    "output-128k-",
    "prompt-caching-",
    "structured-outputs-",
    "token-efficient-tools-",
)
"""Features in trial of Anthropic that change no price but by tokens that are counted anyhow."""

_HARMLESS = frozenset(
    {
        "accept-language",
        "anthropic-version",
        "baggage",
        "http-referer",
        "openai-organization",
        "openai-project",
        "referer",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-client-request-id",
        "x-correlation-id",
        "x-request-id",
        "x-stainless-lang",
        "x-title",
    }
)
_PRICED = re.compile(
    r"^(?:anthropic|openai|azureml|helicone|portkey|cf-aig|x-(?:amz|amzn|goog|ms|portkey|vertex))-"
    r"|(?:^|-)(?:beta|tier|priority|speed|model|cache|flex|fast|latency|route)(?:-|$)"
)
"""Headers by which services of this kind choose what is dearer."""


def header_fault(provider: Provider, field: str, *, is_operators: bool) -> Problem | None:
    """Return why a header cannot be sent under a hard budget, None if all can.

    To a host that may get the operator's secret go only headers that are known to cost nothing; to
    others all but those that are known to change prices. ``field`` is the path of the provider.
    """
    if isinstance(provider, Scripted):
        return None
    for name in _priced(provider.headers, is_operators=is_operators):
        message = "under a hard budget this header cannot be sent: its price cannot be bounded"
        return Problem(code="validation", message=message, field=f"{field}.headers.{name[:64]}")
    return None


def _priced(headers: Mapping[str, str], *, is_operators: bool) -> Iterator[str]:
    for name, value in headers.items():
        lower = name.lower()
        if lower == "anthropic-beta" and all(map(is_free_beta, value.split(","))):
            continue
        if lower not in _HARMLESS and (is_operators or _PRICED.search(lower)):
            yield name


def is_free_beta(name: str) -> bool:
    """Say whether a feature in trial of Anthropic changes no price."""
    return name.strip().startswith(FREE_BETAS)
