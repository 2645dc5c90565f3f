"""The whole table, and the questions that are put to it."""

import re
from functools import cache

from schemas.capabilities.anthropic import CLAUDE_RULES, is_newest
from schemas.capabilities.clouds import BEDROCK_RULES, GEMINI_RULES, OLLAMA_RULES
from schemas.capabilities.openai import GROQ_RULES, OPENAI_RULES
from schemas.capabilities.rule import Refusal, Rule, models
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig, TextPart
from schemas.providers import Anthropic, Azure, Bedrock, OpenAI, Provider

RULES: tuple[Rule, ...] = (
    *OPENAI_RULES,
    *GROQ_RULES,
    *CLAUDE_RULES,
    *BEDROCK_RULES,
    *GEMINI_RULES,
    *OLLAMA_RULES,
)

BLIND: tuple[tuple[tuple[type[Provider], ...], re.Pattern[str]], ...] = (
    (
        (OpenAI, Azure),
        models(r"gpt-3|gpt-4(?:-\d{4}(?!\d))?$|gpt-4-32k|o1-mini|o1-preview|o3-mini"),
    ),
    ((Anthropic, Bedrock), models(r"claude-(?:2|v2|instant)")),
    (
        (Bedrock,),
        models(r"titan|nova-micro|gpt-oss|deepseek|mistral-7b|mixtral|llama3-(?!2-[19])"),
    ),
)
"""Models that are known to see no images."""

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

_LIMITED = (OpenAI, Azure, Anthropic, Bedrock)


def output_limit(model: str) -> int | None:
    """Return the most tokens a model answers with, None where that is not known."""
    return next((limit for pattern, limit in OUTPUT_LIMITS if pattern.search(model)), None)


def refusals(
    provider: Provider, config: ModelConfig, *, beside_tools: bool = False
) -> list[Refusal]:
    """Return what the settings ask for that the model is known to refuse, one a setting."""
    found: dict[str, Refusal] = {}
    for rule in _rules_for(type(provider)):
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
    blind = any(
        isinstance(request.provider, providers) and pattern.search(request.provider.model)
        for providers, pattern in BLIND
    )
    if not blind:
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


def _applies(rule: Rule, provider: Provider) -> bool:
    return (
        rule.models.search(provider.model) is not None
        and (rule.api is None or rule.api == getattr(provider, "api", None))
        and (rule.when is None or rule.when(provider))
    )


@cache
def _rules_for(kind: type[Provider]) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if issubclass(kind, rule.providers))


def _too_long(provider: Provider, config: ModelConfig) -> list[Refusal]:
    # Another server may know other limits, and a header may lift them (output-128k does).
    is_usual = isinstance(provider, _LIMITED) and not (provider.base_url or provider.headers)
    limit = output_limit(provider.model) if is_usual else None
    if limit is None or config.max_tokens is None or config.max_tokens <= limit:
        return []
    return [Refusal("max_tokens", f"answers with at most {limit} tokens", limit)]


def _has_image(message: ChatMessage) -> bool:
    return any(not isinstance(part, TextPart) for part in message.parts)
