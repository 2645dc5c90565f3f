"""The terms on which a provider of a definition has served a call. Pure."""

import re
from typing import Any

from schemas.pricing.prices import RateTerms
from schemas.pricing.uplift import WORLD
from schemas.provider_specs import spec_of
from schemas.providers import Anthropic, Bedrock, Google, Provider

_RESIDENCY = re.compile(r"https?://(?P<region>[a-z]{2})\.api\.openai\.com(?:[:/]|$)", re.IGNORECASE)
"""OpenAI's addresses for data residency."""

_NOWHERE = (WORLD, "not_available")
"""What Anthropic says where a model runs anywhere, and where it cannot be told."""


def terms_of(
    provider: Provider,
    *,
    model_served: str | None = None,
    tier_requested: str | None = None,
    tier_served: str | None = None,
    region_served: str | None = None,
) -> RateTerms:
    """Return what a call is priced by.

    An address that the rate book knows tells who is paid, otherwise the type of provider does.
    The model that served counts, unless the name that was asked for says more: an inference
    profile of Bedrock, a zone of Azure. The tier that served counts over the one requested, which
    is all there is where a provider does not tell. The region is Bedrock's, Vertex AI's location
    unless that is the whole world, the one of OpenAI's address, or where Anthropic says to have
    served, which nobody here decides.
    """
    asked, served = provider.model, model_served or provider.model
    spec = spec_of(provider)
    exact, kind = spec.is_exact, spec.name
    return RateTerms(
        provider=_address(provider) or kind,
        model=asked if exact else served,
        tier=tier_served or tier_requested,
        region=_region(provider, (region_served or "").lower()),
        or_model=served if exact else asked,
        or_provider=kind,
    )


def _region(provider: Provider, served: str) -> str:
    """Return where a model runs, as far as its price may depend on it."""
    match provider:
        case Bedrock():
            return provider.region or ""
        case Google(project=str()):
            return "" if provider.location == WORLD else provider.location
        case Anthropic():
            return "" if served in _NOWHERE else served
        case _:
            told = _RESIDENCY.match(getattr(provider, "base_url", None) or "")
            return told["region"].lower() if told else ""


def _address(provider: Provider) -> str | None:
    """Return the address that may tell who is paid, where the type of provider does not."""
    remote: Any = provider
    return getattr(remote, "base_url", None) if spec_of(provider).is_sold_by_address else None
