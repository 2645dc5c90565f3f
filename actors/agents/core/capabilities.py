"""What each provider's models refuse, as data: a definition that can never run is not stored.

The rows hold for the real services of OpenAI and Groq. A ``custom`` provider may be anything, so
nothing is known of it; the scripted one ignores all settings.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.llm import ModelConfig
from schemas.providers import Groq, OpenAI, Provider


class Rule(NamedTuple):
    """One thing a provider refuses: ``setting`` of a matching model, unless ``accepts`` its value.

    Unset settings are always accepted. ``reason`` completes the sentence "this model …".
    """

    provider: type[OpenAI] | type[Groq]
    models: re.Pattern[str]
    setting: str
    accepts: Callable[[Any], bool]
    reason: str


def _any_model() -> re.Pattern[str]:
    return re.compile("")


def _models(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:ft:)?(?:{pattern})")


def _only(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


def _at_most(count: int) -> Callable[[Any], bool]:
    return lambda values: len(values) <= count


def _other_than(refused: Any) -> Callable[[Any], bool]:
    return lambda value: value != refused


_NEVER = _only()

REASONING = _models(r"o[134](?![a-z\d])|gpt-5(?!-chat)")
"""Models that think before they answer and refuse to have their sampling set."""

THINKING_CAN_BE_OFF = _models(r"gpt-5\.\d")
"""Reasoning models that take sampling settings all the same at ``reasoning_effort: none``."""

RULES = (
    Rule(OpenAI, _any_model(), "stop_sequences", _at_most(4), "takes at most 4 stop sequences"),
    Rule(Groq, _any_model(), "stop_sequences", _at_most(4), "takes at most 4 stop sequences"),
    Rule(OpenAI, _models(r"o[34](?!\d)"), "stop_sequences", _at_most(0), "takes no stop sequences"),
    Rule(OpenAI, REASONING, "temperature", _only(1), "takes no temperature but 1"),
    Rule(OpenAI, REASONING, "top_p", _NEVER, "takes no top_p"),
    Rule(OpenAI, REASONING, "frequency_penalty", _NEVER, "takes no frequency_penalty"),
    Rule(OpenAI, REASONING, "presence_penalty", _NEVER, "takes no presence_penalty"),
    Rule(OpenAI, _models(r"gpt-[34]|gpt-5-chat"), "reasoning_effort", _NEVER, "does not reason"),
    Rule(
        OpenAI,
        _models(r"gpt-5\.1(?!\d)"),
        "reasoning_effort",
        _other_than("minimal"),
        "knows no minimal reasoning effort",
    ),
    Rule(
        Groq,
        _any_model(),
        "reasoning_effort",
        _only("none", "low", "medium", "high"),
        "knows no such reasoning effort",
    ),
)

SAMPLING = frozenset({"temperature", "top_p"})
"""What a reasoning model accepts again once its reasoning is off."""


def first_refusal(provider: Provider, config: ModelConfig) -> Rule | None:
    """Return the first rule that the settings break, None if the provider accepts them all."""
    for rule in RULES:
        value = getattr(config, rule.setting)
        if (
            value is not None
            and isinstance(provider, rule.provider)
            and rule.models.match(provider.model)
            and not rule.accepts(value)
            and not _is_lifted(rule, provider, config)
        ):
            return rule
    return None


def _is_lifted(rule: Rule, provider: Provider, config: ModelConfig) -> bool:
    return (
        rule.models is REASONING
        and rule.setting in SAMPLING
        and config.reasoning_effort == "none"
        and THINKING_CAN_BE_OFF.match(provider.model) is not None
    )
