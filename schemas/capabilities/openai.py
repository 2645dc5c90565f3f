"""What OpenAI's models refuse, which are Azure's as well, and what Groq does.

Each rule names its source: [T] OpenAI's own types, [R] a recorded refusal, or a public report.
"""

from typing import Any

from schemas.capabilities.rule import (
    ANY,
    CapabilityRule,
    always,
    at_least,
    models,
    never,
    only,
    up_to,
)
from schemas.llm import ModelConfig

THINKING = models(r"o[134](?![a-z\d])|gpt-5(?![\w.-]*-chat)")
"""Models that think before they answer and refuse to have their sampling set."""

UNTHINKING_BY_DEFAULT = models(r"gpt-5\.[12](?!\d)(?![\w.-]*-(?:chat|codex|pro))")
"""Those of them that do not think unless an effort is asked for."""

THINKING_CAN_BE_OFF = models(r"gpt-5\.(?![12](?!\d)(?![\w.-]*-(?:codex|pro)))\d+(?![\w.-]*-chat)")
"""Those of them that take sampling settings only at ``reasoning_effort: none``."""

_ALWAYS_THINKING = models(r"o[134](?![a-z\d])|gpt-5(?!\.\d)(?![\w.-]*-chat)")

_UNSTOPPABLE = models(r"gpt-5(?!\.(?:[5-9]|\d\d)|\.4-mini)(?![\w.-]*-chat)")

_LEAST_TOKENS = 16


def _without_effort(_value: Any, config: ModelConfig) -> bool:
    return config.reasoning_effort == "none"


def _one_or_without_effort(value: Any, config: ModelConfig) -> bool:
    return value == 1 or config.reasoning_effort == "none"


def _one_or_not_thinking(value: Any, config: ModelConfig) -> bool:
    return value == 1 or _not_thinking(value, config)


def _not_thinking(_value: Any, config: ModelConfig) -> bool:
    return config.reasoning_effort in {None, "none"}


# [T]: stop has at most 4, and none with o3 and o4-mini.
_FOUR_STOPS = CapabilityRule(ANY, "stop_sequences", up_to(4), "takes at most 4 stop sequences")

OPENAI_RULES = (
    _FOUR_STOPS,
    CapabilityRule(models(r"o[34](?!\d)"), "stop_sequences", up_to(0), "takes no stop sequences"),
    # 400 unsupported_parameter of gpt-5 to 5.4 (huggingface/smolagents#1662, #1868, #1893); the
    # mini of 5.4 takes them (plmbr/notebook-intelligence#397), as all do from 5.5 on
    # (BerriAI/litellm#28650).
    CapabilityRule(_UNSTOPPABLE, "stop_sequences", up_to(0), "takes no stop sequences"),
    # 400 unsupported_value of o-series and gpt-5; vercel/ai#10932 of gpt-5.1 and later at none,
    # which is the default of 5.1 and 5.2 (numman-ali/opencode-openai-codex-auth#62).
    CapabilityRule(_ALWAYS_THINKING, "temperature", only(1), "takes no temperature but 1"),
    CapabilityRule(
        UNTHINKING_BY_DEFAULT,
        "temperature",
        _one_or_not_thinking,
        "takes no temperature but 1 as it thinks",
    ),
    CapabilityRule(
        THINKING_CAN_BE_OFF,
        "temperature",
        _one_or_without_effort,
        "takes no temperature but 1",
    ),
    CapabilityRule(_ALWAYS_THINKING, "top_p", never, "takes no top_p"),
    CapabilityRule(UNTHINKING_BY_DEFAULT, "top_p", _not_thinking, "takes no top_p as it thinks"),
    CapabilityRule(THINKING_CAN_BE_OFF, "top_p", _without_effort, "takes no top_p"),
    CapabilityRule(THINKING, "frequency_penalty", never, "takes no frequency_penalty"),
    CapabilityRule(THINKING, "presence_penalty", never, "takes no presence_penalty"),
    # 400 unsupported_parameter; gpt-5-chat is no reasoning model.
    CapabilityRule(
        models(r"gpt-[34]|gpt-5[\w.-]*-chat"), "reasoning_effort", never, "does not reason"
    ),
    # openai/openai-agents-python#2089, memory-lancedb-pro#201: "Supported values are: 'none',
    # 'low', 'medium', and 'high'".
    CapabilityRule(
        models(r"gpt-5\.1(?!\d)(?![\w.-]*-(?:chat|codex-max))"),
        "reasoning_effort",
        only("none", "low", "medium", "high"),
        "knows four efforts: none, low, medium and high",
    ),
    # CherryHQ/cherry-studio#11864: "'none', 'low', 'medium', 'high', and 'xhigh'"; of the pro ones
    # the same sentence names the last three.
    CapabilityRule(
        models(r"gpt-5\.[2-5](?!\d)(?![\w.-]*-(?:chat|pro))"),
        "reasoning_effort",
        only("none", "low", "medium", "high", "xhigh"),
        "knows five efforts: none, and low to xhigh",
    ),
    CapabilityRule(
        models(r"gpt-5\.[2-5]-pro"),
        "reasoning_effort",
        only("medium", "high", "xhigh"),
        "knows three efforts: medium, high and xhigh",
    ),
    # vane#1173, of gpt-5.6.
    CapabilityRule(
        models(r"gpt-5\.(?:[6-9](?!\d)|\d\d)(?![\w.-]*-chat)"),
        "reasoning_effort",
        only("none"),
        "reasons beside tools only in Responses",
        api="chat",
        beside_tools=True,
    ),
    # OpenAI's reference of reasoning_effort for the o-series, quoted in CherryHQ/cherry-studio#919.
    CapabilityRule(
        models(r"o[134](?![a-z\d])"),
        "reasoning_effort",
        only("low", "medium", "high"),
        "knows three efforts: low, medium and high",
    ),
    # OpenAI's page of gpt-5, quoted in QwenLM/qwen-code#11295.
    CapabilityRule(
        models(r"gpt-5(?!\.\d)(?![\w.-]*-chat)"),
        "reasoning_effort",
        only("minimal", "low", "medium", "high"),
        "knows four efforts, from minimal to high",
    ),
    # earendil-works/pi#6265: "Expected a value >= 16, but got 1 instead".
    CapabilityRule(
        models(r"gpt-|o[134](?![a-z\d])|codex|computer-use"),
        "max_tokens",
        at_least(_LEAST_TOKENS),
        f"takes a limit of at least {_LEAST_TOKENS} tokens in Responses",
        api="responses",
        nearest=always(_LEAST_TOKENS),
    ),
    # [T]: there are no such fields, here or in that interface.
    CapabilityRule(ANY, "top_k", never, "takes no top_k"),
    CapabilityRule(ANY, "reasoning_budget", never, "takes no reasoning_budget"),
    CapabilityRule(ANY, "reasoning_summary", only("none"), "tells no reasoning here", api="chat"),
    # [T]: verbosity came with gpt-5; what is older takes its default alone.
    CapabilityRule(
        models(r"gpt-[34]|o1|o3-mini"), "verbosity", only("medium"), "takes no verbosity"
    ),
    *(
        CapabilityRule(ANY, setting, never, f"takes no {setting} in Responses", api="responses")
        for setting in ("frequency_penalty", "presence_penalty", "stop_sequences", "seed")
    ),
)

GROQ_RULES = (
    _FOUR_STOPS,
    # groq's own types: none, default, low, medium, high; the rest has no field there.
    CapabilityRule(
        ANY,
        "reasoning_effort",
        only("none", "low", "medium", "high"),
        "knows no such reasoning effort",
    ),
    CapabilityRule(ANY, "top_k", never, "takes no top_k"),
    CapabilityRule(ANY, "verbosity", never, "takes no verbosity"),
    CapabilityRule(ANY, "reasoning_budget", never, "takes no reasoning_budget"),
)
