"""What fields of a provider's own request may do to the price of a call. Pure.

Under a hard budget ``config.extra`` is an allow-list. Each field that is known here either changes
no price, or its effect is part of the bound; any other is refused, whatever it would do, because a
hold cannot cover what it does not know. Names are those of the wire formats, spelled exactly so.
"""

from collections.abc import Mapping

from actors.agents.core.extra_fields import (
    CHAT,
    CONVERSE,
    GEMINI,
    INVOKED,
    MESSAGES,
    OLLAMA,
    RESPONSES,
)
from actors.agents.core.extra_rules import NO_EFFECT, Effect, RefusedError, Rule, within
from schemas.llm import ModelConfig, Wire
from schemas.problems import Problem
from schemas.provider_specs import spec_of
from schemas.providers import Bedrock, Provider, family_of

_TABLES: dict[Wire | None, Mapping[str, Rule]] = {
    "openai_chat": CHAT,
    "openai_responses": RESPONSES,
    "anthropic": MESSAGES,
    "converse": CONVERSE,
    "gemini": GEMINI,
    "ollama": OLLAMA,
}
"""The fields of each format; of another nothing is known, so that nothing may be sent."""


def effect_of(provider: Provider, config: ModelConfig, field: str) -> Effect | Problem:
    """Return what the extra fields of a call do to its price.

    ``field`` is the path of the settings. Refuses with ``validation``, naming the field.
    """
    if not config.extra or spec_of(provider).wire(provider) is None:
        return NO_EFFECT
    try:
        return within(_table(provider))(config.extra, NO_EFFECT)
    except RefusedError as refused:
        path = ".".join((field, "extra", *(part[:64] for part in refused.path)))
        message = "under a hard budget this cannot be sent, because its price cannot be bounded"
        return Problem(code="validation", message=message, field=path)


def _table(provider: Provider) -> Mapping[str, Rule]:
    if isinstance(provider, Bedrock) and provider.api == "invoke":
        family = family_of(provider.model)
        return CONVERSE if family is None else INVOKED[family]
    return _TABLES.get(spec_of(provider).wire(provider), {})
