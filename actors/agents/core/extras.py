"""What fields of a provider's own request may do to the price of a call. Pure.

Under a hard budget ``config.extra`` is an allow-list. Each field that is known here either changes
no price, or its effect is part of the bound; any other is refused, whatever it would do, because a
hold cannot cover what it does not know. Names are those of the wire formats, spelled exactly so.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from schemas.llm import ModelConfig
from schemas.pricing.headers import is_free_beta
from schemas.problems import Problem
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Custom,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
    Scripted,
    family_of,
)

MOST_TOKENS: Final = 10_000_000
MOST_ANSWERS: Final = 128
MOST_MODELS: Final = 16


class Effect(msgspec.Struct, frozen=True):
    """What extra fields do to a call.

    ``answers`` multiplies the answer, whose length is at least ``length``. ``aside`` are tokens
    that are paid like an answer's beside it. ``models`` may serve in the place of the one asked.
    """

    answers: int = 1
    length: int = 0
    aside: int = 0
    tier: str | None = None
    models: tuple[str, ...] = ()


NO_EFFECT = Effect()


class _RefusedError(Exception):
    """A field has an effect that is not known; ``path`` names it within ``extra``."""

    def __init__(self, *path: str) -> None:
        super().__init__(".".join(path))
        self.path = path


Rule = Callable[[Any, Effect], Effect]
"""Returns what a field's value makes of an effect; raises ``_RefusedError``."""


def effect_of(provider: Provider, config: ModelConfig, field: str) -> Effect | Problem:
    """Return what the extra fields of a call do to its price.

    ``field`` is the path of the settings. Refuses with ``validation``, naming the field.
    """
    if not config.extra or isinstance(provider, Scripted):
        return NO_EFFECT
    try:
        return _within(_table(provider))(config.extra, NO_EFFECT)
    except _RefusedError as refused:
        path = ".".join((field, "extra", *(part[:64] for part in refused.path)))
        message = "under a hard budget this cannot be sent, because its price cannot be bounded"
        return Problem(code="validation", message=message, field=path)


# Rules


def _free(value: Any, effect: Effect) -> Effect:
    del value
    return effect


def _answers(value: Any, effect: Effect) -> Effect:
    number = _number(value, MOST_ANSWERS)
    return msgspec.structs.replace(effect, answers=max(effect.answers, number))


def _length(value: Any, effect: Effect) -> Effect:
    return msgspec.structs.replace(effect, length=max(effect.length, _number(value, MOST_TOKENS)))


def _budget(value: Any, effect: Effect) -> Effect:
    """Take tokens to think with; none at all (0), or as many as the model likes (-1), are usual."""
    if type(value) is int and value in {0, -1}:
        return effect
    return msgspec.structs.replace(effect, aside=effect.aside + _number(value, MOST_TOKENS))


def _written(value: Any, effect: Effect) -> Effect:
    """Take a text that may be paid like an answer: a prediction of one."""
    return msgspec.structs.replace(effect, aside=effect.aside + len(msgspec.json.encode(value)))


def _tier(value: Any, effect: Effect) -> Effect:
    if not isinstance(value, str):
        raise _RefusedError
    return msgspec.structs.replace(effect, tier=value)


def _models(value: Any, effect: Effect) -> Effect:
    names = _list(value)
    if len(names) > MOST_MODELS or not all(isinstance(name, str) for name in names):
        raise _RefusedError
    return msgspec.structs.replace(effect, models=(*effect.models, *map(str, names)))


def _betas(value: Any, effect: Effect) -> Effect:
    if not all(isinstance(name, str) and is_free_beta(name) for name in _list(value)):
        raise _RefusedError
    return effect


def _only(*values: Any) -> Rule:
    """Accept these values, and of a list any of them."""

    def rule(value: Any, effect: Effect) -> Effect:
        chosen = _list(value) if isinstance(value, list) else [value]
        if any(
            each not in values or isinstance(each, bool) is not _is_flag(values) for each in chosen
        ):
            raise _RefusedError
        return effect

    return rule


def _is_flag(values: tuple[Any, ...]) -> bool:
    return isinstance(values[0], bool)


def _functions(value: Any, effect: Effect) -> Effect:
    """Accept tools that run here: what the provider runs itself has a price of its own."""
    for tool in _list(value):
        if not isinstance(tool, dict) or cast("dict[str, Any]", tool).get("type") != "function":
            raise _RefusedError
    return effect


def _declared(value: Any, effect: Effect) -> Effect:
    """Accept Gemini's tools if they are declarations of functions and nothing else."""
    for tool in _list(value):
        if not isinstance(tool, dict) or set(cast("dict[str, Any]", tool)) != {_DECLARED}:
            raise _RefusedError
    return effect


_DECLARED = "functionDeclarations"


def _custom_tools(value: Any, effect: Effect) -> Effect:
    """Accept Anthropic's tools that have no type, or the one for tools that run here."""
    for tool in _list(value):
        if not isinstance(tool, dict):
            raise _RefusedError
        if cast("dict[str, Any]", tool).get("type", "custom") != "custom":
            raise _RefusedError
    return effect


def _texts(value: Any, effect: Effect) -> Effect:
    """Accept a text, or parts that are nothing but text: their bytes are counted."""
    if isinstance(value, str):
        return effect
    for part in _list(value):
        if not isinstance(part, dict) or not set(cast("dict[str, Any]", part)) <= _TEXT_PART:
            raise _RefusedError
        if cast("dict[str, Any]", part).get("type", "text") != "text":
            raise _RefusedError
    return effect


_TEXT_PART = frozenset({"type", "text", "cache_control"})


def _within(table: Mapping[str, Rule]) -> Rule:
    """Take an object whose members have rules of their own; others are refused by name."""

    def rule(value: Any, effect: Effect) -> Effect:
        if not isinstance(value, dict):
            raise _RefusedError
        for name, within in cast("dict[str, Any]", value).items():
            known = table.get(name)
            if known is None:
                raise _RefusedError(name)
            try:
                effect = known(within, effect)
            except _RefusedError as refused:
                raise _RefusedError(name, *refused.path) from None
        return effect

    return rule


def _number(value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise _RefusedError
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _RefusedError
    return cast("list[Any]", value)


def _all_free(*names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, _free)


# Tables: the fields of each wire format


_SAMPLING = _all_free(
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)
_IDENTITY = _all_free(
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "store",
    "parallel_tool_calls",
    "tool_choice",
)
_CHAT: Mapping[str, Rule] = {
    **_SAMPLING,
    **_IDENTITY,
    **_all_free(
        "response_format",
        "reasoning_effort",
        "reasoning_format",
        "include_reasoning",
        "verbosity",
        "stream_options",
        "chat_template_kwargs",
        "guided_json",
        "guided_regex",
    ),
    "n": _answers,
    "best_of": _answers,
    "num_generations": _answers,
    "max_tokens": _length,
    "max_completion_tokens": _length,
    "service_tier": _tier,
    "prediction": _written,
    "modalities": _only("text"),
    "tools": _functions,
    "models": _models,
    "route": _only("fallback"),
    "usage": _within({"include": _free}),
    "reasoning": _within(
        {"effort": _free, "exclude": _free, "enabled": _free, "max_tokens": _budget}
    ),
    "thinking": _within({"type": _free, "budget_tokens": _budget}),
}
_RESPONSES: Mapping[str, Rule] = {
    **_SAMPLING,
    **_IDENTITY,
    **_all_free("include", "instructions", "stream_options", "truncation", "verbosity"),
    "reasoning": _within(_all_free("effort", "summary", "generate_summary")),
    "text": _within(_all_free("format", "verbosity")),
    "max_output_tokens": _length,
    "service_tier": _tier,
    "background": _only(False),  # noqa: FBT003  a value of JSON
    "tools": _functions,
}
_MESSAGES: Mapping[str, Rule] = {
    **_all_free("temperature", "top_p", "top_k", "stop_sequences", "metadata", "tool_choice"),
    "thinking": _within({"type": _free, "display": _free, "budget_tokens": _budget}),
    "output_config": _within(_all_free("effort", "format")),
    "cache_control": _within(_all_free("type", "ttl")),
    "max_tokens": _length,
    "service_tier": _tier,
    "inference_geo": _only("us", "global"),
    "speed": _only("standard"),
    "anthropic_beta": _betas,
    "anthropic_version": _free,
    "tools": _custom_tools,
    "system": _texts,
}
_GENERATION: Mapping[str, Rule] = {
    **_all_free(
        "temperature",
        "topP",
        "topK",
        "seed",
        "stopSequences",
        "frequencyPenalty",
        "presencePenalty",
        "responseLogprobs",
        "logprobs",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "mediaResolution",
    ),
    "candidateCount": _answers,
    "maxOutputTokens": _length,
    "responseModalities": _only("TEXT"),
    "thinkingConfig": _within(
        {"includeThoughts": _free, "thinkingLevel": _free, "thinkingBudget": _budget}
    ),
}
_GEMINI: Mapping[str, Rule] = {
    **_all_free("safetySettings", "labels", "toolConfig"),
    "generationConfig": _within(_GENERATION),
    "serviceTier": _tier,
    "tools": _declared,
}
_NOVA: Mapping[str, Rule] = {
    **_all_free("temperature", "topP", "topK", "stopSequences"),
    "maxTokens": _length,
}
_CONVERSE: Mapping[str, Rule] = {
    **_all_free("requestMetadata", "additionalModelResponseFieldPaths", "schemaVersion"),
    "inferenceConfig": _within(_NOVA),
    "serviceTier": _within({"type": _tier}),
    "performanceConfig": _within({"latency": _only("standard")}),
    "additionalModelRequestFields": _within(
        {
            **_all_free("top_k", "reasoning_effort"),
            "thinking": _within({"type": _free, "display": _free, "budget_tokens": _budget}),
            "reasoning_config": _within({"type": _free, "budget_tokens": _budget}),
            "reasoningConfig": _within(_all_free("type", "maxReasoningEffort")),
            "inferenceConfig": _within(_all_free("topK")),
            "output_config": _within(_all_free("effort")),
            "anthropic_beta": _betas,
            "max_tokens": _length,
        }
    ),
}
_TITAN: Mapping[str, Rule] = {
    "textGenerationConfig": _within(
        {**_all_free("temperature", "topP", "stopSequences"), "maxTokenCount": _length}
    )
}
_OLLAMA: Mapping[str, Rule] = {
    **_all_free("keep_alive", "think", "format", "truncate", "shift", "logprobs", "top_logprobs"),
    "options": _within(
        {
            **_SAMPLING,
            **_all_free(
                "num_ctx",
                "num_keep",
                "num_gpu",
                "num_thread",
                "num_batch",
                "repeat_last_n",
                "repeat_penalty",
                "typical_p",
                "tfs_z",
                "mirostat",
                "mirostat_eta",
                "mirostat_tau",
                "penalize_newline",
            ),
            "num_predict": _length,
        }
    ),
}


def _table(provider: Provider) -> Mapping[str, Rule]:
    match provider:
        case OpenAI(api="responses") | Azure(api="responses") | Custom(api="responses"):
            return _RESPONSES
        case OpenAI() | Azure() | Custom() | Groq():
            return _CHAT
        case Anthropic():
            return _MESSAGES
        case Bedrock(api="invoke"):
            family = family_of(provider.model)
            return _CONVERSE if family is None else _INVOKED[family]
        case Bedrock():
            return _CONVERSE
        case Google():
            return _GEMINI
        case Ollama():
            return _OLLAMA
        case Scripted():
            return {}


_INVOKED: Mapping[str, Mapping[str, Rule]] = {
    "anthropic.": _MESSAGES,
    "amazon.nova": {**_CONVERSE, "inferenceConfig": _within(_NOVA)},
    "amazon.titan": _TITAN,
    "openai.": _CHAT,
}
