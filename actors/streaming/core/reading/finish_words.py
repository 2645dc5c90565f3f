"""The words by which servers say why an answer has ended: one closed table per wire.

A word means the same on every wire unless a wire's own row says otherwise, because stand-ins speak
one provider's format and pass on another's words. Words are compared as ``normal`` writes them.

Sources: the enumerations in the SDKs of OpenAI, Anthropic, Google and AWS, and the API references
of AI21, Cohere, DeepSeek, Hunyuan, LM Studio, MiMo, Mistral, Ollama, SenseNova, SGLang,
Text Generation Inference, vLLM, watsonx, xAI and Zhipu.
"""

import re
from typing import NamedTuple

from actors.streaming.core.errors.failures import FailureKind
from schemas.llm import FinishReason, Wire


class Ending(NamedTuple):
    """What a word means. ``failure`` is set where the server, not the model, ended the answer.

    A word that is not ``sure`` may end a text, with a warning, and never an empty answer.
    """

    reason: FinishReason
    failure: FailureKind | None = None
    sure: bool = True


STOP = Ending("stop")
UNSURE = Ending("other", sure=False)
_LENGTH = Ending("length")
_TOOLS = Ending("tool_calls")
_FILTER = Ending("content_filter")
_REFUSAL = Ending("refusal")
_PAUSE = Ending("pause")
_BROKEN = Ending("other", FailureKind("provider_error", "The provider broke off its answer."))
_BUSY = Ending("other", FailureKind("provider_overloaded", "The provider ran out of capacity."))
_SLOW = Ending("other", FailureKind("timeout", "The provider ran out of time for its answer."))
_UNUSABLE = Ending(
    "other", FailureKind("provider_error", "The model wrote an unusable answer or call.")
)
_WRONG = Ending(
    "other",
    FailureKind("provider_error", "The provider refused the conversation.", retryable=False),
)

_NO_WORDS = frozenset(
    {
        *("", "null", "none", "nil", "undefined", "unspecified"),
        *("block_reason_unspecified", "blocked_reason_unspecified"),
        *("not_finished", "in_progress", "queued", "generating"),
    }
)
"""What servers send in the place of a word while an answer still grows."""

_PREFIXES = ("finish_reason_", "reason_")

_BY_ENDING: dict[Ending, str] = {
    STOP: "stop stopped complete completed finish finished done normal eos eos_token eos_found "
    "end_turn end_of_turn end_of_text endoftext stop_sequence stop_sequences stop_token stop_word "
    "stop_string_found stop_criteria_met",
    _LENGTH: "length max_tokens max_token max_length max_len max_context max_new_tokens "
    "max_output_tokens max_completion_tokens max_messages model_length token_limit limit "
    "max_predicted_tokens_reached context context_length context_length_reached "
    "context_length_exceeded context_window_exceeded model_context_window_exceeded error_limit "
    "continuation repetition repetition_truncation",
    _TOOLS: "tool_calls tool_call tool_use tool_uses function_call function_calls",
    _FILTER: "content_filter content_filtered content_policy_violation sensitive safety moderation "
    "recitation language blocklist prohibited_content spii jailbreak model_armor escalation "
    "pup_limited_disabled image_safety image_prohibited_content image_recitation error_toxic "
    "guardrail_intervened intervened",
    _REFUSAL: "refusal refused",
    _PAUSE: "pause pause_turn compaction",
    _BROKEN: "disconnect disconnected connection_closed interrupted user_cancel user_stopped "
    "insufficient_system_resource model_unloaded no_image image_other preempt preempted",
    _BUSY: "overloaded rate_limit rate_limited server_overloaded",
    _SLOW: "time_limit timed_out deadline_exceeded",
    _UNUSABLE: "unexpected_tool_call too_many_tool_calls",
    _WRONG: "missing_thought_signature rag_query_when_rag_disabled",
}

_COMMON = {word: ending for ending, words in _BY_ENDING.items() for word in words.split()}

_OWN: dict[Wire, dict[str, Ending]] = {
    # What Gemini has no better word for has broken off; elsewhere the word tells nothing.
    "gemini": {"other": _BROKEN},
    # Ollama answers so where it has only loaded or dropped a model; there is no answer then.
    "ollama": {"load": UNSURE, "unload": UNSURE},
    # The caller has changed the course of a response from outside.
    "openai_responses": {"steered": UNSURE},
}

_WIRES: tuple[Wire, ...] = (
    *("openai_chat", "openai_responses", "anthropic"),
    *("converse", "titan", "gemini", "ollama"),
)

TABLES: dict[Wire, dict[str, Ending]] = {wire: _COMMON | _OWN.get(wire, {}) for wire in _WIRES}

_FAMILIES: tuple[tuple[re.Pattern[str], Ending], ...] = (
    (re.compile(r".*time_?out.*"), _SLOW),
    (re.compile(r"malformed(_.*)?"), _UNUSABLE),
    (re.compile(r"(error|abort|cancel|fail)(_.*|s|ed|led|ure|ing)?"), _BROKEN),
    (re.compile(r".*_(error|failed|failure|exception|aborted|cancelled|canceled)"), _BROKEN),
    (re.compile(r".*_overloaded"), _BUSY),
)
"""Failures that servers name in many ways of their own: ``network_error``, ``error_finish``."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MOST = 64
"""No word is longer, in characters."""


def normal(word: str) -> str:
    """Write a word as the tables do: ``Max-Tokens`` and ``maxTokens`` are ``max_tokens``."""
    parted = _CAMEL.sub("_", word[:_MOST].strip())
    plain = parted.lower().replace("-", "_").replace(" ", "_")
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    return plain


def is_word(word: str | None) -> bool:
    """Say whether this is a word for an end, known or not."""
    return normal(word or "") not in _NO_WORDS


def blocked(word: str | None) -> Ending | None:
    """Return what Gemini's word for a blocked prompt means; there ``OTHER`` is a block as well."""
    return _FILTER if normal(word or "") == "other" else ending("gemini", word)


def ending(wire: Wire, word: str | None) -> Ending | None:
    """Return what a word means on a wire; None where it is no word for an end."""
    plain = normal(word or "")
    known = TABLES[wire].get(plain)
    if known is not None:
        return known
    if plain in _NO_WORDS:
        return None
    return next((found for family, found in _FAMILIES if family.fullmatch(plain)), UNSURE)
