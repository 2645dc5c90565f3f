"""The terms on which a provider of a definition has served a call. Pure."""

from schemas.pricing.prices import Terms
from schemas.providers import Anthropic, Azure, Bedrock, Custom, Groq, OpenAI, Provider


def terms_of(
    provider: Provider,
    *,
    model_served: str | None = None,
    tier_requested: str | None = None,
    tier_served: str | None = None,
) -> Terms:
    """Return what a call is priced by.

    An address that the rate book knows tells who is paid, otherwise the type of provider does.
    The model that served counts, unless the name that was asked for says more: an inference
    profile of Bedrock, a zone of Azure. The tier that served counts over the one requested, which
    is all there is where a provider does not tell.
    """
    asked, served = provider.model, model_served or provider.model
    exact = isinstance(provider, Bedrock | Azure)
    kind = str(provider.__struct_config__.tag)
    return Terms(
        provider=_address(provider) or kind,
        model=asked if exact else served,
        tier=tier_served or tier_requested,
        region=(provider.region or "") if isinstance(provider, Bedrock) else "",
        or_model=served if exact else asked,
        or_provider=kind,
    )


def _address(provider: Provider) -> str | None:
    """Return the address that may tell who is paid, where the type of provider does not."""
    if isinstance(provider, OpenAI | Anthropic | Groq | Custom):
        return provider.base_url
    return None
