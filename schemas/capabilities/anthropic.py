"""What the Claude models refuse, and how each is told to think.

Each rule names its source: [T] Anthropic's own types, [R] a recorded refusal, or a public report.
"""

from typing import Any

from schemas.capabilities.rule import (
    ANY,
    CapabilityRule,
    always,
    at_most,
    models,
    never,
    only,
    other_than,
    with_schema,
)
from schemas.llm import ModelConfig
from schemas.providers import Anthropic, Provider

UNSAMPLED = models(r"claude-(?:opus-4-[7-9](?!\d)|[a-z]+-(?:[5-9]|\d\d)(?!\d))")
"""Claude models that have no sampling settings any more."""

ONE_SAMPLING = models(r"claude-(?:opus-4-[1-6](?!\d)|(?:sonnet|haiku)-4-[5-9](?!\d))")
"""Claude models that take a temperature or a top_p, but not both."""

BUDGETED = models(
    r"claude-(?:3-7|(?:opus|sonnet)-4(?:-[0-1])?(?!-?[2-9](?!\d))|(?:sonnet|haiku|opus)-4-5)"
)
"""Claude models whose thinking is switched on by a budget."""

GRADED = models(r"claude-(?:opus-4-[5-9]|[a-z]+-4-[6-9]|[a-z]+-(?:[5-9]|\d\d)(?!\d))")
"""Claude models that know levels of effort."""

ADAPTIVE = models(r"claude-(?:[a-z]+-4-[6-9]|[a-z]+-(?:[5-9]|\d\d)(?!\d))")
"""Claude models that decide by themselves how much to think."""

FULLY_GRADED = models(r"claude-(?:opus-4-[7-9]|[a-z]+-(?:[5-9]|\d\d)(?!\d))")
"""Claude models that know the effort ``xhigh`` as well."""

_THOUGHTLESS = models(r"claude-(?:3-(?!7)|2|instant)")
_HALF_GRADED = models(r"claude-(?:opus-4-[56]|(?:sonnet|haiku)-4-[6-9])(?!\d)")
_UNSTRUCTURED = models(r"claude-(?:[123]|instant|(?:opus|sonnet)-4(?:-0)?(?:-20\d+)?$)")


def thinks(config: ModelConfig) -> bool:
    """Whether the settings ask a model to think."""
    return config.reasoning_effort not in {None, "none"} or bool(config.reasoning_budget)


def _unless_thinking(_value: Any, config: ModelConfig) -> bool:
    return not thinks(config)


def _unless_tempered(_value: Any, config: ModelConfig) -> bool:
    return config.temperature is None


def _one_unless_thinking(value: Any, config: ModelConfig) -> bool:
    return value == 1 or not thinks(config)


def _choosable(value: Any, config: ModelConfig) -> bool:
    return value in ("auto", "none") or not thinks(config)


def _visible(sequences: Any, _config: ModelConfig) -> bool:
    return all(sequence.strip() for sequence in sequences)


def _visible_ones(sequences: Any) -> list[str]:
    return [sequence for sequence in sequences if sequence.strip()]


def _none_or_enough(value: Any, _config: ModelConfig) -> bool:
    return value == 0 or value >= _LEAST_BUDGET


_SAMPLING = ("temperature", "top_p", "top_k")


def is_newest(provider: Provider) -> bool:
    """Whether a provider is spoken to under anthropic-version 2026-10-21."""
    return isinstance(provider, Anthropic) and provider.version() == "2026-10-21"


def _unsampled(extra: Any, _config: ModelConfig) -> bool:
    return not any(setting in extra for setting in _SAMPLING)


def _without_sampling(extra: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extra.items() if name not in _SAMPLING}


_LEAST_BUDGET = 1024

CLAUDE_RULES: tuple[CapabilityRule, ...] = (
    # [T]: there are no such fields.
    *(
        CapabilityRule(ANY, setting, never, f"takes no {setting}")
        for setting in ("seed", "frequency_penalty", "presence_penalty", "verbosity")
    ),
    # [T]: anthropic 2 has no sampling at all, and Opus 4.7 and later answer 400 to it.
    *(
        CapabilityRule(UNSAMPLED, setting, never, f"takes no {setting}")
        for setting in ("temperature", "top_p", "top_k")
    ),
    # Anthropic's guide to the migration to 2026-10-21: 400 to each, whatever the model.
    *(
        CapabilityRule(
            ANY,
            setting,
            never,
            f"takes no {setting} under anthropic-version 2026-10-21",
            when=is_newest,
        )
        for setting in _SAMPLING
    ),
    CapabilityRule(
        ANY,
        "extra",
        _unsampled,
        f"takes no {', '.join(_SAMPLING)} under anthropic-version 2026-10-21",
        nearest=_without_sampling,
        when=is_newest,
    ),
    # Anthropic's reference of Messages: temperature from 0 to 1; its guide to extended thinking.
    CapabilityRule(
        ANY,
        "temperature",
        at_most(1),
        "takes a temperature of at most 1",
        nearest=always(1.0),
    ),
    CapabilityRule(ANY, "temperature", _one_unless_thinking, "takes no temperature as it thinks"),
    CapabilityRule(ANY, "top_k", _unless_thinking, "takes no top_k as it thinks"),
    # From Opus 4.1 and Sonnet 4.5 on only one of the two: 400 (PROVIDERS 0.2).
    CapabilityRule(ONE_SAMPLING, "top_p", _unless_tempered, "takes no top_p beside a temperature"),
    # BerriAI/litellm#3286: "each stop sequence must contain non-whitespace".
    CapabilityRule(
        ANY,
        "stop_sequences",
        _visible,
        "takes no stop sequences of white space alone",
        nearest=_visible_ones,
    ),
    # [T]: thinking came with Claude 3.7, and a budget has 1024 tokens at least.
    CapabilityRule(_THOUGHTLESS, "reasoning_effort", only("none"), "does not reason"),
    CapabilityRule(_THOUGHTLESS, "reasoning_budget", only(0), "does not reason"),
    CapabilityRule(
        FULLY_GRADED,
        "reasoning_budget",
        only(0),
        "decides by itself how much to think",
    ),
    CapabilityRule(
        ANY,
        "reasoning_budget",
        _none_or_enough,
        "takes a reasoning_budget of at least 1024",
        nearest=always(_LEAST_BUDGET),
    ),
    # [T]: efforts go from low to max; [R]: "does not support effort level 'xhigh'".
    CapabilityRule(
        ANY,
        "reasoning_effort",
        other_than("minimal"),
        "knows no minimal reasoning effort",
        nearest=always("low"),
    ),
    CapabilityRule(
        _HALF_GRADED,
        "reasoning_effort",
        other_than("xhigh"),
        "knows no reasoning effort xhigh",
        nearest=always("high"),
    ),
    # Anthropic's guide to extended thinking: auto and none alone; [T]: a format has a schema.
    CapabilityRule(ANY, "tool_choice", _choosable, "must be free in its choice as it thinks"),
    CapabilityRule(
        ANY,
        "response_format",
        with_schema,
        "keeps to a schema, but knows no JSON without one",
    ),
    CapabilityRule(_UNSTRUCTURED, "response_format", never, "keeps to no schema"),
)
