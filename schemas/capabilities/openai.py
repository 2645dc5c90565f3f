"""What OpenAI's models refuse, which are Azure's as well, and what Groq does."""

from typing import Any

from schemas.capabilities.rule import (
    ANY,
    Rule,
    always,
    at_least,
    models,
    never,
    only,
    other_than,
    up_to,
)
from schemas.llm import ModelConfig
from schemas.providers import Azure, Groq, OpenAI

_OPENAI = (OpenAI, Azure)
_CHATTY = (OpenAI, Azure, Groq)

THINKING = models(r"o[134](?![a-z\d])|gpt-5(?![\w.-]*-chat)")
"""Models that think before they answer and refuse to have their sampling set."""

THINKING_CAN_BE_OFF = models(r"gpt-5\.\d(?![\w.-]*-chat)")
"""Those of them that take sampling settings all the same at ``reasoning_effort: none``."""

_ALWAYS_THINKING = models(r"o[134](?![a-z\d])|gpt-5(?!\.\d)(?![\w.-]*-chat)")


_LEAST_TOKENS = 16


def _without_effort(_value: Any, config: ModelConfig) -> bool:
    return config.reasoning_effort == "none"


def _one_or_without_effort(value: Any, config: ModelConfig) -> bool:
    return value == 1 or config.reasoning_effort == "none"


OPENAI_RULES = (
    Rule(_CHATTY, ANY, "stop_sequences", up_to(4), "takes at most 4 stop sequences"),
    Rule(_OPENAI, models(r"o[34](?!\d)"), "stop_sequences", up_to(0), "takes no stop sequences"),
    Rule(_OPENAI, _ALWAYS_THINKING, "temperature", only(1), "takes no temperature but 1"),
    Rule(
        _OPENAI,
        THINKING_CAN_BE_OFF,
        "temperature",
        _one_or_without_effort,
        "takes no temperature but 1",
    ),
    Rule(_OPENAI, _ALWAYS_THINKING, "top_p", never, "takes no top_p"),
    Rule(_OPENAI, THINKING_CAN_BE_OFF, "top_p", _without_effort, "takes no top_p"),
    Rule(_OPENAI, THINKING, "frequency_penalty", never, "takes no frequency_penalty"),
    Rule(_OPENAI, THINKING, "presence_penalty", never, "takes no presence_penalty"),
    Rule(
        _OPENAI, models(r"gpt-[34]|gpt-5[\w.-]*-chat"), "reasoning_effort", never, "does not reason"
    ),
    Rule(
        _OPENAI,
        models(r"gpt-5\.1(?!\d)"),
        "reasoning_effort",
        other_than("minimal"),
        "knows no minimal reasoning effort",
    ),
    Rule(
        _OPENAI,
        models(r"gpt-5\.(?:[6-9](?!\d)|\d\d)(?![\w.-]*-chat)"),
        "reasoning_effort",
        only("none"),
        "reasons beside tools only in Responses",
        api="chat",
        beside_tools=True,
    ),
    Rule(
        _OPENAI,
        models(r"o[134](?![a-z\d])"),
        "reasoning_effort",
        only("low", "medium", "high"),
        "knows three efforts: low, medium and high",
    ),
    Rule(
        _OPENAI,
        models(r"gpt-5(?!\.\d)(?![\w.-]*-chat)"),
        "reasoning_effort",
        only("minimal", "low", "medium", "high"),
        "knows four efforts, from minimal to high",
    ),
    Rule(
        _OPENAI,
        models(r"gpt-|o[134](?![a-z\d])|codex|computer-use"),
        "max_tokens",
        at_least(_LEAST_TOKENS),
        f"takes a limit of at least {_LEAST_TOKENS} tokens in Responses",
        api="responses",
        nearest=always(_LEAST_TOKENS),
    ),
    Rule(_OPENAI, ANY, "top_k", never, "takes no top_k"),
    Rule(_OPENAI, ANY, "reasoning_budget", never, "takes no reasoning_budget"),
    Rule(_OPENAI, ANY, "reasoning_summary", only("none"), "tells no reasoning here", api="chat"),
    Rule(
        _OPENAI, models(r"gpt-[34]|o1|o3-mini"), "verbosity", only("medium"), "takes no verbosity"
    ),
    *(
        Rule(_OPENAI, ANY, setting, never, f"takes no {setting} in Responses", api="responses")
        for setting in ("frequency_penalty", "presence_penalty", "stop_sequences", "seed")
    ),
)

GROQ_RULES = (
    Rule(
        (Groq,),
        ANY,
        "reasoning_effort",
        only("none", "low", "medium", "high"),
        "knows no such reasoning effort",
    ),
    Rule((Groq,), ANY, "top_k", never, "takes no top_k"),
    Rule((Groq,), ANY, "verbosity", never, "takes no verbosity"),
    Rule((Groq,), ANY, "reasoning_budget", never, "takes no reasoning_budget"),
)
