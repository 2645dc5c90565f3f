"""What the services refuse that serve the models of several makers: Bedrock, Google, Ollama.

Each rule names its source: [T] the services' own types, or their guide.
"""

import re
from typing import Any

from schemas.capabilities.anthropic import CLAUDE_RULES
from schemas.capabilities.rule import (
    ANY,
    CapabilityRule,
    allowed,
    always,
    at_most,
    models,
    never,
    only,
    other_than,
    up_to,
    with_schema,
)

# Bedrock: the fields that all models have there, and what each family takes

_ANY_CLAUDE = models("claude")
_NOT_CLAUDE = re.compile(r"^(?!.*claude)")
_TITAN = models("titan")
_OPEN_WEIGHT = models("gpt-oss")

BEDROCK_RULES = (
    # [T]: Converse has four settings for all models, toolChoice has no "none", formats a schema.
    *(
        CapabilityRule(ANY, setting, never, f"takes no {setting} on Bedrock")
        for setting in ("seed", "frequency_penalty", "presence_penalty", "verbosity")
    ),
    CapabilityRule(
        ANY,
        "temperature",
        at_most(1),
        "takes a temperature of at most 1",
        nearest=always(1.0),
    ),
    CapabilityRule(
        ANY,
        "parallel_tool_calls",
        allowed,
        "cannot be kept from parallel calls on Bedrock",
    ),
    CapabilityRule(ANY, "tool_choice", other_than("none"), "always may call its tools on Bedrock"),
    CapabilityRule(_TITAN, "tool_choice", never, "calls no tools"),
    CapabilityRule(_TITAN, "top_k", never, "takes no top_k"),
    CapabilityRule(
        ANY,
        "response_format",
        with_schema,
        "keeps to a schema, but knows no JSON without one",
    ),
    CapabilityRule(
        models(r"titan|claude-(?:(?:opus|sonnet)-4-20)"),
        "response_format",
        never,
        "keeps to no schema",
    ),
    # No field is known that would ask these to reason, and gpt-oss has three levels.
    CapabilityRule(
        models(r"titan|nova-(?!2)|llama|command|mistral|mixtral"),
        "reasoning_effort",
        only("none"),
        "does not reason",
    ),
    CapabilityRule(
        _OPEN_WEIGHT,
        "reasoning_effort",
        only("low", "medium", "high"),
        "knows three efforts: low, medium and high",
    ),
    CapabilityRule(_NOT_CLAUDE, "reasoning_budget", never, "takes no reasoning_budget"),
    *(
        rule._replace(models=_ANY_CLAUDE if rule.models is ANY else rule.models)
        for rule in CLAUDE_RULES
    ),
)


_GEMINI_3 = models(r"gemini-(?:[3-9]|\d\d)")
_UNTHINKING = models(r"gemini-(?:1|2\.0)|gemma")


def _within_three_efforts(effort: Any) -> str:
    return "low" if effort in {"none", "minimal"} else "high"


GEMINI_RULES = (
    # Google's reference of GenerationConfig: up to 5 stop sequences; [T]: no field for the others.
    CapabilityRule(ANY, "stop_sequences", up_to(5), "takes at most 5 stop sequences"),
    CapabilityRule(ANY, "verbosity", never, "takes no verbosity"),
    CapabilityRule(ANY, "parallel_tool_calls", allowed, "cannot be kept from parallel calls"),
    # Gemini 3 rejects penalties (PROVIDERS 1.3); before 2.5 no model thinks.
    *(
        CapabilityRule(_GEMINI_3, setting, never, f"takes no {setting}")
        for setting in ("frequency_penalty", "presence_penalty")
    ),
    *(
        CapabilityRule(_UNTHINKING, setting, only(idle), "does not reason")
        for setting, idle in (
            ("reasoning_effort", "none"),
            ("reasoning_budget", 0),
            ("reasoning_summary", "none"),
        )
    ),
    # Google's guide to thinking: the levels of each model, and which cannot be turned off.
    CapabilityRule(
        models(r"gemini-3(?:\.[01])?-pro"),
        "reasoning_effort",
        only("low", "medium", "high"),
        "knows three efforts: low, medium and high",
        nearest=_within_three_efforts,
    ),
    CapabilityRule(
        models(r"gemini-(?:2\.5-pro|[3-9]|\d\d)"),
        "reasoning_effort",
        other_than("none"),
        "cannot be kept from thinking",
        nearest=always("minimal"),
    ),
)


# Ollama: what its API has no field for

OLLAMA_RULES = (
    # [T]: there are no such fields.
    *(
        CapabilityRule(ANY, setting, never, f"takes no {setting} from Ollama")
        for setting in ("verbosity", "reasoning_budget", "service_tier")
    ),
    CapabilityRule(ANY, "parallel_tool_calls", allowed, "cannot be kept from parallel calls"),
    CapabilityRule(ANY, "tool_choice", only("auto", "none"), "is free in its choice of tools"),
)
