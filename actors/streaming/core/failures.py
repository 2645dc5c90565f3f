"""What a provider's status, and the words it has for errors, mean to us.

Sources: the error types of the SDKs of OpenAI and Anthropic, the service model of
``bedrock-runtime``, ``google.rpc.Code``, and the error pages of Groq, DeepSeek and Moonshot.
"""

from typing import NamedTuple

from schemas.problems import ProblemCode


class Kind(NamedTuple):
    """What a failure means to us, in words of our own."""

    code: ProblemCode
    message: str
    retryable: bool = True


_REFUSED_KEY = Kind("unauthorized", "The provider does not accept the key.", retryable=False)
_NOT_ALLOWED = Kind("forbidden", "The provider does not allow this to the key.", retryable=False)
_UNKNOWN = Kind("not_found", "The provider does not know the model or the path.", retryable=False)
REFUSED = Kind("provider_error", "The provider refused the request.", retryable=False)
_CONFLICT = Kind("provider_error", "The provider is busy with a conflicting request.")
_LIMITED = Kind("rate_limited", "The provider limits the rate of requests.")
_QUOTA = Kind("rate_limited", "The quota or credit at the provider is used up.", retryable=False)
FAILED = Kind("provider_error", "The provider failed.")
_OVERLOADED = Kind("provider_overloaded", "The provider is overloaded.")
_SLOW = Kind("timeout", "The provider timed out.")
_RESAMPLE = Kind("provider_error", "The model wrote an unusable tool call.")

# What Responses finds wrong with an image, or with where it is.
_BAD_IMAGES = (
    *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
    *("invalid_image_mode", "image_too_large", "image_too_small", "image_parse_error"),
    *("image_file_too_large", "image_content_policy_violation", "unsupported_image_media_type"),
    *("empty_image_file", "failed_to_download_image", "image_file_not_found"),
)

BY_STATUS: dict[int, Kind] = {
    401: _REFUSED_KEY,
    402: _QUOTA,
    403: _NOT_ALLOWED,
    404: _UNKNOWN,
    408: _SLOW,
    409: _CONFLICT,
    429: _LIMITED,
    498: _OVERLOADED,  # Groq's: the capacity of a tier is used up
    503: _OVERLOADED,
    504: _SLOW,
    522: _SLOW,  # Cloudflare's: no connection to the server behind it,
    524: _SLOW,  # and no answer from there
    529: _OVERLOADED,
}
"""Other statuses are failures of the provider's from 500 on, and refusals below."""

BY_TOKEN: dict[str, Kind] = {
    "api_error": FAILED,
    "authentication_error": _REFUSED_KEY,
    "billing_error": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "billing_not_active": _QUOTA,
    "bio_policy": REFUSED,
    "content_filter": REFUSED,
    "content_policy_violation": REFUSED,
    "context_length_exceeded": REFUSED,
    "contract_spend_limit_reached": _QUOTA,
    "data_residency_mismatch": REFUSED,
    "enforced_spend_limit_reached": _QUOTA,
    "engine_overloaded": _OVERLOADED,
    "engine_overloaded_error": _OVERLOADED,
    "exceeded_current_quota_error": _QUOTA,
    "insufficient_quota": _QUOTA,
    "invalid_api_key": _REFUSED_KEY,
    "invalid_prompt": REFUSED,
    "invalid_request_error": REFUSED,
    **dict.fromkeys(_BAD_IMAGES, REFUSED),
    "linked_organization_spend_limit_reached": _QUOTA,
    "misalignment_policy_violation": REFUSED,
    "model_not_found": _UNKNOWN,
    "not_found_error": _UNKNOWN,
    "overloaded": _OVERLOADED,
    "overloaded_error": _OVERLOADED,
    "permission_error": _NOT_ALLOWED,
    "rate_limit_error": _LIMITED,
    "rate_limit_exceeded": _LIMITED,
    "rate_limit_reached": _LIMITED,
    "request_too_large": REFUSED,
    "server_error": FAILED,
    "server_is_overloaded": _OVERLOADED,
    "service_unavailable": _OVERLOADED,
    "service_unavailable_error": _OVERLOADED,
    "slow_down": _OVERLOADED,
    "timeout": _SLOW,
    "timeout_error": _SLOW,
    "tokens": _LIMITED,
    "too_many_requests": _LIMITED,
    "tool_use_failed": _RESAMPLE,
    "vector_store_timeout": _SLOW,
    # AWS
    "AccessDeniedException": _NOT_ALLOWED,
    "ExpiredTokenException": _REFUSED_KEY,
    "IncompleteSignatureException": _REFUSED_KEY,
    "InternalServerException": FAILED,
    "InvalidSignatureException": _REFUSED_KEY,
    "MissingAuthenticationTokenException": _REFUSED_KEY,
    "ModelErrorException": FAILED,
    "ModelNotReadyException": _OVERLOADED,
    "ModelStreamErrorException": FAILED,
    "ModelTimeoutException": _SLOW,
    "ResourceNotFoundException": _UNKNOWN,
    "ServiceQuotaExceededException": _QUOTA,
    "ServiceUnavailableException": _OVERLOADED,
    "ThrottlingException": _LIMITED,
    "UnrecognizedClientException": _REFUSED_KEY,
    "ValidationException": REFUSED,
    # Google
    "API_KEY_INVALID": _REFUSED_KEY,
    "DEADLINE_EXCEEDED": _SLOW,
    "INTERNAL": FAILED,
    "INVALID_ARGUMENT": REFUSED,
    "NOT_FOUND": _UNKNOWN,
    "PERMISSION_DENIED": _NOT_ALLOWED,
    "RESOURCE_EXHAUSTED": _LIMITED,
    "UNAUTHENTICATED": _REFUSED_KEY,
    "UNAVAILABLE": _OVERLOADED,
}
"""Codes, types and reasons that stand alone inside a stream that began well."""

OVERRULING = frozenset(
    {
        "billing_hard_limit_reached",
        "billing_not_active",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "exceeded_current_quota_error",
        "insufficient_quota",
        "model_not_found",
        "tool_use_failed",
        "API_KEY_INVALID",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "ModelErrorException",
        "ModelNotReadyException",
        "ModelStreamErrorException",
        "ServiceQuotaExceededException",
        "UnrecognizedClientException",
    }
)
"""These speak against what their status promises; the others only refine an error without one."""
