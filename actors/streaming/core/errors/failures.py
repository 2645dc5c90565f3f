"""What a provider's status, and the words it has for errors, mean to us.

Sources: the error types of the SDKs of OpenAI and Anthropic, the service model of
``bedrock-runtime``, ``google.rpc.Code``, and the error pages of Groq, DeepSeek and Moonshot.
"""

from typing import Literal, NamedTuple

from schemas.problems import ProblemCode


class FailureKind(NamedTuple):
    """What a failure means to us, in words of our own.

    ``quota`` says of a spent quota whose it is: the key's for all models, or for this model alone.
    """

    code: ProblemCode
    message: str
    retryable: bool = True
    quota: Literal["key", "model"] | None = None


REFUSED_KEY = FailureKind("unauthorized", "The provider does not accept the key.", retryable=False)
NOT_ALLOWED = FailureKind(
    "forbidden", "The provider does not allow this to the key.", retryable=False
)
_UNKNOWN = FailureKind(
    "not_found", "The provider does not know the model or the path.", retryable=False
)
REFUSED = FailureKind("provider_error", "The provider refused the request.", retryable=False)
_CONFLICT = FailureKind("provider_error", "The provider is busy with a conflicting request.")
LIMITED = FailureKind("rate_limited", "The provider limits the rate of requests.")
_SPENT = "The quota or credit at the provider is used up."
QUOTA = FailureKind("rate_limited", _SPENT, retryable=False, quota="key")
MODEL_QUOTA = FailureKind("rate_limited", _SPENT, retryable=False, quota="model")
FAILED = FailureKind("provider_error", "The provider failed.")
_OVERLOADED = FailureKind("provider_overloaded", "The provider is overloaded.")
_SLOW = FailureKind("timeout", "The provider timed out.")
_RESAMPLE = FailureKind("provider_error", "The model wrote an unusable tool call.")

# What Responses finds wrong with an image, or with where it is.
_BAD_IMAGES = (
    *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
    *("invalid_image_mode", "image_too_large", "image_too_small", "image_parse_error"),
    *("image_file_too_large", "image_content_policy_violation", "unsupported_image_media_type"),
    *("empty_image_file", "failed_to_download_image", "image_file_not_found"),
)

SPENT_TOKENS = frozenset(
    {
        # OpenAI, Anthropic, Moonshot
        *("billing_error", "billing_hard_limit_reached", "billing_not_active"),
        *("contract_spend_limit_reached", "enforced_spend_limit_reached"),
        *("linked_organization_spend_limit_reached", "exceeded_current_quota_error"),
        *("insufficient_quota", "insufficient_balance", "insufficient_funds"),
        # Together, xAI and the gateways: OpenRouter, LiteLLM, new-api, Vercel, Novita
        *("credit_limit", "credit_limit_exceeded", "insufficient_credit", "insufficient_credits"),
        *("payment_required", "budget_exceeded", "insufficient_user_quota", "quota_not_enough"),
        *("pre_consume_token_quota_failed", "NOT_ENOUGH_BALANCE", "INSUFFICIENT_BALANCE"),
        # DashScope, Volcengine, Zhipu: in arrears, used up, the plan at its end
        *("Arrearage", "AllocationQuota.FreeTierOnly", "AccountOverdueError", "QuotaExceeded"),
        *("1113", "1308", "1309", "1310"),
        # AWS, Google
        *("ServiceQuotaExceededException", "BILLING_DISABLED"),
    }
)
"""An empty wallet or a spent quota, whatever the status says."""

LIMITING = frozenset({"rate_limit_error", "rate_limit_exceeded", "too_many_requests", "1302"})
"""A limit of the rate, whatever the status says; but 413, where one request is over the limit."""

BASE_RESP: dict[int, str] = {
    1000: "server_error",
    1001: "timeout",
    1002: "rate_limit_exceeded",
    1004: "authentication_error",
    1008: "insufficient_balance",
    1013: "server_error",
    1024: "server_error",
    1026: "content_filter",
    1027: "content_filter",
    1033: "server_error",
    1039: "rate_limit_exceeded",
    1041: "rate_limit_exceeded",
    1042: "invalid_request_error",
    2013: "invalid_request_error",
    2045: "rate_limit_exceeded",
    2049: "invalid_api_key",
    2056: "insufficient_quota",
    2061: "permission_error",
}
"""MiniMax's codes as the words that the others have for the same; what is missing is a failure.

Source: platform.minimax.io, "Error codes".
"""

BY_STATUS: dict[int, FailureKind] = {
    401: REFUSED_KEY,
    402: QUOTA,
    403: NOT_ALLOWED,
    404: _UNKNOWN,
    408: _SLOW,
    409: _CONFLICT,
    429: LIMITED,
    498: _OVERLOADED,  # Groq's: the capacity of a tier is used up
    503: _OVERLOADED,
    504: _SLOW,
    522: _SLOW,  # Cloudflare's: no connection to the server behind it,
    524: _SLOW,  # and no answer from there
    529: _OVERLOADED,
}
"""Other statuses are failures of the provider's from 500 on, and refusals below."""

BY_TOKEN: dict[str, FailureKind] = {
    "api_error": FAILED,
    "authentication_error": REFUSED_KEY,
    "bio_policy": REFUSED,
    "content_filter": REFUSED,
    "content_policy_violation": REFUSED,
    "context_length_exceeded": REFUSED,
    "data_residency_mismatch": REFUSED,
    "engine_overloaded": _OVERLOADED,
    "engine_overloaded_error": _OVERLOADED,
    "invalid_api_key": REFUSED_KEY,
    "invalid_prompt": REFUSED,
    "invalid_request_error": REFUSED,
    **dict.fromkeys(SPENT_TOKENS, QUOTA),
    **dict.fromkeys(_BAD_IMAGES, REFUSED),
    "misalignment_policy_violation": REFUSED,
    "model_not_found": _UNKNOWN,
    "not_found_error": _UNKNOWN,
    "overloaded": _OVERLOADED,
    "overloaded_error": _OVERLOADED,
    "permission_error": NOT_ALLOWED,
    "rate_limit_error": LIMITED,
    "rate_limit_exceeded": LIMITED,
    "rate_limit_reached": LIMITED,
    "request_too_large": REFUSED,
    "server_error": FAILED,
    "server_is_overloaded": _OVERLOADED,
    "service_unavailable": _OVERLOADED,
    "service_unavailable_error": _OVERLOADED,
    "slow_down": _OVERLOADED,
    "timeout": _SLOW,
    "timeout_error": _SLOW,
    "tokens": LIMITED,
    "too_many_requests": LIMITED,
    "tool_use_failed": _RESAMPLE,
    "vector_store_timeout": _SLOW,
    # AWS
    "AccessDeniedException": NOT_ALLOWED,
    "ExpiredTokenException": REFUSED_KEY,
    "IncompleteSignatureException": REFUSED_KEY,
    "InternalServerException": FAILED,
    "InvalidSignatureException": REFUSED_KEY,
    "MissingAuthenticationTokenException": REFUSED_KEY,
    "ModelErrorException": FAILED,
    "ModelNotReadyException": _OVERLOADED,
    "ModelStreamErrorException": FAILED,
    "ModelTimeoutException": _SLOW,
    "ResourceNotFoundException": _UNKNOWN,
    "ServiceUnavailableException": _OVERLOADED,
    "ThrottlingException": LIMITED,
    "UnrecognizedClientException": REFUSED_KEY,
    "ValidationException": REFUSED,
    # Zhipu
    "1301": REFUSED,
    "1302": LIMITED,
    "1303": LIMITED,
    "1304": MODEL_QUOTA,
    "1305": _OVERLOADED,
    # Google
    "API_KEY_INVALID": REFUSED_KEY,
    "DEADLINE_EXCEEDED": _SLOW,
    "INTERNAL": FAILED,
    "INVALID_ARGUMENT": REFUSED,
    "NOT_FOUND": _UNKNOWN,
    "PERMISSION_DENIED": NOT_ALLOWED,
    "RESOURCE_EXHAUSTED": LIMITED,
    "UNAUTHENTICATED": REFUSED_KEY,
    "UNAVAILABLE": _OVERLOADED,
}
"""Codes, types and reasons that stand alone inside a stream that began well."""

OVERRULING = SPENT_TOKENS | frozenset(
    {
        "model_not_found",
        "1304",
        "tool_use_failed",
        "API_KEY_INVALID",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "ModelErrorException",
        "ModelNotReadyException",
        "ModelStreamErrorException",
        "UnrecognizedClientException",
    }
)
"""These speak against what their status promises; the others only refine an error without one."""
