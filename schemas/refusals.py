"""What a model is known to refuse of a definition or a request; nothing else is refused. Pure."""

import re
from typing import Any, NamedTuple

from schemas.capabilities.anthropic import is_newest
from schemas.capabilities.rule import CapabilityRule, models
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig, TextPart
from schemas.provider_specs import spec_of
from schemas.providers import Provider

OUTPUT_LIMITS: tuple[tuple[re.Pattern[str], int], ...] = (
    (models(r"claude-3-5"), 8_192),
    (models(r"claude-3-7"), 128_000),
    (models(r"claude-(?:[23]|instant)"), 4_096),
    (models(r"claude-opus-4(?:-[01])?(?:-20\d+)?$"), 32_000),
    (models(r"claude-[a-z]+-4(?:-5)?(?:-20\d+)?$"), 64_000),
    (models(r"gpt-3\.5-turbo(?!-16k)|gpt-4-turbo|gpt-4-1106|gpt-4-0125|gpt-4o-2024-05-13"), 4_096),
    (models(r"gpt-4o(?!-64k)"), 16_384),
    (models(r"gpt-4\.1"), 32_768),
    (models(r"o[134](?![a-z\d])"), 100_000),
    (models(r"gpt-5"), 128_000),
)
"""The most tokens that models answer with, the first match counting.

From the makers' pages of their models. They bound what is asked where an answer must be bounded,
and what is refused only at a provider's own service without headers, which may lift them.
"""


class Refusal(NamedTuple):
    """A setting that a model does not take: why, and what it would take in its place."""

    setting: str
    reason: str
    instead: Any = None


def output_limit(model: str) -> int | None:
    """Return the most tokens a model answers with, None where that is not known."""
    return next((limit for pattern, limit in OUTPUT_LIMITS if pattern.search(model)), None)


def refusals(
    provider: Provider, config: ModelConfig, *, beside_tools: bool = False
) -> list[Refusal]:
    """Return what the settings ask for that the model is known to refuse, one a setting."""
    found: dict[str, Refusal] = {}
    for rule in spec_of(provider).rules:
        value = getattr(config, rule.setting)
        if value in (None, []) or rule.setting in found:
            continue
        if (rule.beside_tools and not beside_tools) or not _applies(rule, provider):
            continue
        if not rule.accepts(value, config):
            instead = rule.nearest(value) if rule.nearest else None
            found[rule.setting] = Refusal(rule.setting, rule.reason, instead)
    return [*found.values(), *_too_long(provider, config)]


def unseen(request: GenerateRequest) -> int | None:
    """Return the place of the first message whose images the model cannot see; None if none."""
    blind = spec_of(request.provider).blind
    if blind is None or not blind.search(request.provider.model):
        return None
    return next((at for at, one in enumerate(request.messages) if _has_image(one)), None)


def misplaced(request: GenerateRequest) -> list[tuple[int, int]]:
    """Return the blocks that the provider refuses where they stand: of which message, which block.

    Under anthropic-version 2026-10-21 an assistant's message holds no document.
    """
    if not is_newest(request.provider):
        return []
    return [
        (at, place)
        for at, message in enumerate(request.messages)
        if message.role == "assistant"
        for place, block in enumerate(message.blocks)
        if block.wire == "anthropic" and block.raw.get("type") == "document"
    ]


def _applies(rule: CapabilityRule, provider: Provider) -> bool:
    return (
        rule.models.search(provider.model) is not None
        and (rule.api is None or rule.api == getattr(provider, "api", None))
        and (rule.when is None or rule.when(provider))
    )


def _too_long(provider: Provider, config: ModelConfig) -> list[Refusal]:
    # Another server may know other limits, and a header may lift them (output-128k does).
    remote: Any = provider
    is_usual = spec_of(provider).is_limited and not (remote.base_url or remote.headers)
    limit = output_limit(provider.model) if is_usual else None
    if limit is None or config.max_tokens is None or config.max_tokens <= limit:
        return []
    return [Refusal("max_tokens", f"answers with at most {limit} tokens", limit)]


def _has_image(message: ChatMessage) -> bool:
    return any(not isinstance(part, TextPart) for part in message.parts)
