"""The fields of each wire format that may be sent under a hard budget, with their rules. Pure.

Names are spelled exactly as the formats have them; what is not here is refused.
"""

from collections.abc import Mapping

from actors.agents.core.extra_rules import (
    Rule,
    all_free,
    answers,
    betas,
    budget,
    custom_tools,
    declared,
    free,
    functions,
    length,
    models,
    only,
    texts,
    tier,
    within,
    written,
)
from schemas.providers import Family

_SAMPLING = all_free(
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
_IDENTITY = all_free(
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "store",
    "parallel_tool_calls",
    "tool_choice",
)
CHAT: Mapping[str, Rule] = {
    **_SAMPLING,
    **_IDENTITY,
    **all_free(
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
    "n": answers,
    "best_of": answers,
    "num_generations": answers,
    "max_tokens": length,
    "max_completion_tokens": length,
    "service_tier": tier,
    "prediction": written,
    "modalities": only("text"),
    "tools": functions,
    "models": models,
    "route": only("fallback"),
    "usage": within({"include": free}),
    "reasoning": within({"effort": free, "exclude": free, "enabled": free, "max_tokens": budget}),
    "thinking": within({"type": free, "budget_tokens": budget}),
}
RESPONSES: Mapping[str, Rule] = {
    **_SAMPLING,
    **_IDENTITY,
    **all_free("include", "instructions", "stream_options", "truncation", "verbosity"),
    "reasoning": within(all_free("effort", "summary", "generate_summary")),
    "text": within(all_free("format", "verbosity")),
    "max_output_tokens": length,
    "service_tier": tier,
    "background": only(False),  # noqa: FBT003  a value of JSON
    "tools": functions,
}
MESSAGES: Mapping[str, Rule] = {
    **all_free("temperature", "top_p", "top_k", "stop_sequences", "metadata", "tool_choice"),
    "thinking": within({"type": free, "display": free, "budget_tokens": budget}),
    "output_config": within(all_free("effort", "format")),
    "cache_control": within(all_free("type", "ttl")),
    "max_tokens": length,
    "service_tier": tier,
    "inference_geo": only("us", "global"),
    "speed": only("standard"),
    "anthropic_beta": betas,
    "anthropic_version": free,
    "tools": custom_tools,
    "system": texts,
}
_GENERATION: Mapping[str, Rule] = {
    **all_free(
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
    "candidateCount": answers,
    "maxOutputTokens": length,
    "responseModalities": only("TEXT"),
    "thinkingConfig": within(
        {"includeThoughts": free, "thinkingLevel": free, "thinkingBudget": budget}
    ),
}
GEMINI: Mapping[str, Rule] = {
    **all_free("safetySettings", "labels", "toolConfig"),
    "generationConfig": within(_GENERATION),
    "serviceTier": tier,
    "tools": declared,
}
_NOVA: Mapping[str, Rule] = {
    **all_free("temperature", "topP", "topK", "stopSequences"),
    "maxTokens": length,
}
CONVERSE: Mapping[str, Rule] = {
    **all_free("requestMetadata", "additionalModelResponseFieldPaths", "schemaVersion"),
    "inferenceConfig": within(_NOVA),
    "serviceTier": within({"type": tier}),
    "performanceConfig": within({"latency": only("standard")}),
    "additionalModelRequestFields": within(
        {
            **all_free("top_k", "reasoning_effort"),
            "thinking": within({"type": free, "display": free, "budget_tokens": budget}),
            "reasoning_config": within({"type": free, "budget_tokens": budget}),
            "reasoningConfig": within(all_free("type", "maxReasoningEffort")),
            "inferenceConfig": within(all_free("topK")),
            "output_config": within(all_free("effort")),
            "anthropic_beta": betas,
            "max_tokens": length,
        }
    ),
}
_TITAN: Mapping[str, Rule] = {
    "textGenerationConfig": within(
        {**all_free("temperature", "topP", "stopSequences"), "maxTokenCount": length}
    )
}
OLLAMA: Mapping[str, Rule] = {
    **all_free("keep_alive", "think", "format", "truncate", "shift", "logprobs", "top_logprobs"),
    "options": within(
        {
            **_SAMPLING,
            **all_free(
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
            "num_predict": length,
        }
    ),
}
INVOKED: Mapping[Family, Mapping[str, Rule]] = {
    "anthropic.": MESSAGES,
    "amazon.nova": {**CONVERSE, "inferenceConfig": within(_NOVA)},
    "amazon.titan": _TITAN,
    "openai.": CHAT,
}
