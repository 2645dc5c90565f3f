"""What models take, as data: which settings and values each refuses, whether it sees, its limits.

A definition is checked against this table when it is stored, and a request again before it is sent;
nothing is sent blindly that is known to be refused. The rows hold for the providers' own services.
A ``custom`` server may be anything, so nothing is known of it; a script ignores all settings.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.llm import ChatMessage, GenerateRequest, JsonSchemaFormat, ModelConfig, TextPart
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
)

Accepts = Callable[[Any, ModelConfig], bool]


class Rule(NamedTuple):
    """One thing that models refuse: a value of ``setting`` that ``accepts`` does not.

    Unset settings are always accepted. ``reason`` completes the sentence "this model …". ``api``
    limits the rule to one of a provider's interfaces. ``nearest`` is the value to send instead,
    where one is close enough; None leaves the setting out.
    """

    providers: tuple[type[Provider], ...]
    models: re.Pattern[str]
    setting: str
    accepts: Accepts
    reason: str
    api: str | None = None
    nearest: Callable[[Any], Any] | None = None


class Refusal(NamedTuple):
    """A setting that a model does not take: why, and what it would take in its place."""

    setting: str
    reason: str
    instead: Any = None


def models(pattern: str) -> re.Pattern[str]:
    """Match models by how their names begin, behind the prefixes of tuners and resellers."""
    return re.compile(rf"(?:^(?:ft:)?|[/.])(?:{pattern})")


ANY = models("")


def never(_value: Any, _config: ModelConfig) -> bool:
    """Accept no value."""
    return False


def only(*values: Any) -> Accepts:
    """Accept these values."""
    return lambda value, _config: value in values


def at_most(limit: float) -> Accepts:
    """Accept values up to a limit."""
    return lambda value, _config: value <= limit


def up_to(count: int) -> Accepts:
    """Accept so many items."""
    return lambda items, _config: len(items) <= count


def other_than(refused: object) -> Accepts:
    """Accept every value but one."""
    return lambda value, _config: value != refused


def always(value: Any) -> Callable[[Any], Any]:
    """Send this value instead."""
    return lambda _value: value


def _without_effort(_value: Any, config: ModelConfig) -> bool:
    return config.reasoning_effort == "none"


def _one_or_without_effort(value: Any, config: ModelConfig) -> bool:
    return value == 1 or config.reasoning_effort == "none"


# OpenAI, which is Azure's as well

_OPENAI = (OpenAI, Azure)
_CHATTY = (OpenAI, Azure, Groq)

THINKING = models(r"o[134](?![a-z\d])|gpt-5(?![\w.-]*-chat)")
"""Models that think before they answer and refuse to have their sampling set."""

THINKING_CAN_BE_OFF = models(r"gpt-5\.\d(?![\w.-]*-chat)")
"""Those of them that take sampling settings all the same at ``reasoning_effort: none``."""

_ALWAYS_THINKING = models(r"o[134](?![a-z\d])|gpt-5(?!\.\d)(?![\w.-]*-chat)")

_OPENAI_RULES = (
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

_GROQ_RULES = (
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

# Anthropic

_CLAUDE = (Anthropic,)

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


def _none_or_enough(value: Any, _config: ModelConfig) -> bool:
    return value == 0 or value >= _LEAST_BUDGET


def _allowed(value: Any, _config: ModelConfig) -> bool:
    return bool(value)


def _with_schema(value: Any, _config: ModelConfig) -> bool:
    return isinstance(value, JsonSchemaFormat)


_LEAST_BUDGET = 1024

_CLAUDE_RULES = (
    *(
        Rule(_CLAUDE, ANY, setting, never, f"takes no {setting}")
        for setting in ("seed", "frequency_penalty", "presence_penalty", "verbosity")
    ),
    *(
        Rule(_CLAUDE, UNSAMPLED, setting, never, f"takes no {setting}")
        for setting in ("temperature", "top_p", "top_k")
    ),
    Rule(
        _CLAUDE,
        ANY,
        "temperature",
        at_most(1),
        "takes a temperature of at most 1",
        nearest=always(1.0),
    ),
    Rule(_CLAUDE, ANY, "temperature", _one_unless_thinking, "takes no temperature as it thinks"),
    Rule(_CLAUDE, ANY, "top_k", _unless_thinking, "takes no top_k as it thinks"),
    Rule(_CLAUDE, ONE_SAMPLING, "top_p", _unless_tempered, "takes no top_p beside a temperature"),
    Rule(_CLAUDE, _THOUGHTLESS, "reasoning_effort", only("none"), "does not reason"),
    Rule(_CLAUDE, _THOUGHTLESS, "reasoning_budget", only(0), "does not reason"),
    Rule(
        _CLAUDE,
        FULLY_GRADED,
        "reasoning_budget",
        only(0),
        "decides by itself how much to think",
    ),
    Rule(
        _CLAUDE,
        ANY,
        "reasoning_budget",
        _none_or_enough,
        "takes a reasoning_budget of at least 1024",
        nearest=always(_LEAST_BUDGET),
    ),
    Rule(
        _CLAUDE,
        ANY,
        "reasoning_effort",
        other_than("minimal"),
        "knows no minimal reasoning effort",
        nearest=always("low"),
    ),
    Rule(
        _CLAUDE,
        _HALF_GRADED,
        "reasoning_effort",
        other_than("xhigh"),
        "knows no reasoning effort xhigh",
        nearest=always("high"),
    ),
    Rule(_CLAUDE, ANY, "tool_choice", _choosable, "must be free in its choice as it thinks"),
    Rule(
        _CLAUDE,
        ANY,
        "response_format",
        _with_schema,
        "keeps to a schema, but knows no JSON without one",
    ),
    Rule(_CLAUDE, _UNSTRUCTURED, "response_format", never, "keeps to no schema"),
)

# Bedrock: the fields that all models have there, and what each family takes

_BEDROCK = (Bedrock,)
_ANY_CLAUDE = models("claude")
_NOT_CLAUDE = re.compile(r"^(?!.*claude)")
_TITAN = models("titan")
_OPEN_WEIGHT = models("gpt-oss")

_BEDROCK_RULES = (
    *(
        Rule(_BEDROCK, ANY, setting, never, f"takes no {setting} on Bedrock")
        for setting in ("seed", "frequency_penalty", "presence_penalty", "verbosity")
    ),
    Rule(
        _BEDROCK,
        ANY,
        "temperature",
        at_most(1),
        "takes a temperature of at most 1",
        nearest=always(1.0),
    ),
    Rule(
        _BEDROCK,
        ANY,
        "parallel_tool_calls",
        _allowed,
        "cannot be kept from parallel calls on Bedrock",
    ),
    Rule(_BEDROCK, ANY, "tool_choice", other_than("none"), "always may call its tools on Bedrock"),
    Rule(_BEDROCK, _TITAN, "tool_choice", never, "calls no tools"),
    Rule(_BEDROCK, _TITAN, "top_k", never, "takes no top_k"),
    Rule(
        _BEDROCK,
        ANY,
        "response_format",
        _with_schema,
        "keeps to a schema, but knows no JSON without one",
    ),
    Rule(
        _BEDROCK,
        models(r"titan|nova|llama|command|claude-(?:(?:opus|sonnet)-4-20)"),
        "response_format",
        never,
        "keeps to no schema",
    ),
    Rule(
        _BEDROCK,
        models(r"titan|nova-(?!2)|llama|command|mistral|mixtral"),
        "reasoning_effort",
        only("none"),
        "does not reason",
    ),
    Rule(
        _BEDROCK,
        _OPEN_WEIGHT,
        "reasoning_effort",
        only("low", "medium", "high"),
        "knows three efforts: low, medium and high",
    ),
    Rule(_BEDROCK, _NOT_CLAUDE, "reasoning_budget", never, "takes no reasoning_budget"),
    *(
        rule._replace(providers=_BEDROCK, models=_ANY_CLAUDE if rule.models is ANY else rule.models)
        for rule in _CLAUDE_RULES
    ),
)

# Google

_GEMINI = (Google,)
_GEMINI_3 = models(r"gemini-(?:[3-9]|\d\d)")
_UNTHINKING = models(r"gemini-(?:1|2\.0)|gemma")


def _within_three_efforts(effort: Any) -> str:
    return "low" if effort in {"none", "minimal"} else "high"


_GEMINI_RULES = (
    Rule(_GEMINI, ANY, "stop_sequences", up_to(5), "takes at most 5 stop sequences"),
    Rule(_GEMINI, ANY, "verbosity", never, "takes no verbosity"),
    Rule(_GEMINI, ANY, "parallel_tool_calls", _allowed, "cannot be kept from parallel calls"),
    *(
        Rule(_GEMINI, _GEMINI_3, setting, never, f"takes no {setting}")
        for setting in ("frequency_penalty", "presence_penalty")
    ),
    *(
        Rule(_GEMINI, _UNTHINKING, setting, only(idle), "does not reason")
        for setting, idle in (
            ("reasoning_effort", "none"),
            ("reasoning_budget", 0),
            ("reasoning_summary", "none"),
        )
    ),
    Rule(
        _GEMINI,
        models(r"gemini-3(?:\.[01])?-pro"),
        "reasoning_effort",
        only("low", "medium", "high"),
        "knows three efforts: low, medium and high",
        nearest=_within_three_efforts,
    ),
    Rule(
        _GEMINI,
        models(r"gemini-(?:2\.5-pro|[3-9]|\d\d)"),
        "reasoning_effort",
        other_than("none"),
        "cannot be kept from thinking",
        nearest=always("minimal"),
    ),
)

# Ollama: what its API has no field for

_OLLAMA = (Ollama,)

_OLLAMA_RULES = (
    *(
        Rule(_OLLAMA, ANY, setting, never, f"takes no {setting} from Ollama")
        for setting in ("verbosity", "reasoning_budget", "service_tier")
    ),
    Rule(_OLLAMA, ANY, "parallel_tool_calls", _allowed, "cannot be kept from parallel calls"),
    Rule(_OLLAMA, ANY, "tool_choice", only("auto", "none"), "is free in its choice of tools"),
)

RULES: tuple[Rule, ...] = (
    *_OPENAI_RULES,
    *_GROQ_RULES,
    *_CLAUDE_RULES,
    *_BEDROCK_RULES,
    *_GEMINI_RULES,
    *_OLLAMA_RULES,
)

BLIND: tuple[tuple[tuple[type[Provider], ...], re.Pattern[str]], ...] = (
    (_OPENAI, models(r"gpt-3|gpt-4(?:-\d{4}(?!\d))?$|gpt-4-32k|o1-mini|o1-preview|o3-mini")),
    ((Anthropic, Bedrock), models(r"claude-(?:2|v2|instant)")),
    (_BEDROCK, models(r"titan|nova-micro|gpt-oss|deepseek|mistral-7b|mixtral|llama3-(?!2-[19])")),
)
"""Models that are known to see no images."""

OUTPUT_LIMITS: tuple[tuple[re.Pattern[str], int], ...] = (
    (models(r"claude-3-5"), 8_192),
    (models(r"claude-3-7"), 128_000),
    (models(r"claude-(?:[23]|instant)"), 4_096),
    (models(r"claude-opus-4(?:-[01])?(?:-20\d+)?$"), 32_000),
    (models(r"claude-[a-z]+-4(?:-5)?(?:-20\d+)?$"), 64_000),
    (models(r"gpt-3\.5|gpt-4-turbo|gpt-4-1106|gpt-4-0125|gpt-4o-2024-05-13"), 4_096),
    (models(r"gpt-4o"), 16_384),
    (models(r"gpt-4\.1"), 32_768),
    (models(r"o[134](?![a-z\d])"), 100_000),
    (models(r"gpt-5"), 128_000),
)
"""The most tokens that models answer with, the first match counting."""


def output_limit(model: str) -> int | None:
    """Return the most tokens a model answers with, None where that is not known."""
    return next((limit for pattern, limit in OUTPUT_LIMITS if pattern.search(model)), None)


def refusals(provider: Provider, config: ModelConfig) -> list[Refusal]:
    """Return what the settings ask for that the model is known to refuse, one a setting."""
    found: dict[str, Refusal] = {}
    for rule in RULES:
        value = getattr(config, rule.setting)
        if value in (None, []) or rule.setting in found or not _applies(rule, provider):
            continue
        if not rule.accepts(value, config):
            instead = rule.nearest(value) if rule.nearest else None
            found[rule.setting] = Refusal(rule.setting, rule.reason, instead)
    return list(found.values())


def unseen(request: GenerateRequest) -> int | None:
    """Return the place of the first message whose images the model cannot see; None if none."""
    blind = any(
        isinstance(request.provider, providers) and pattern.search(request.provider.model)
        for providers, pattern in BLIND
    )
    if not blind:
        return None
    return next((at for at, one in enumerate(request.messages) if _has_image(one)), None)


def _applies(rule: Rule, provider: Provider) -> bool:
    return (
        isinstance(provider, rule.providers)
        and rule.models.search(provider.model) is not None
        and (rule.api is None or rule.api == getattr(provider, "api", None))
    )


def _has_image(message: ChatMessage) -> bool:
    return any(not isinstance(part, TextPart) for part in message.parts)
