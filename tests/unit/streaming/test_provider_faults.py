"""What each provider says of keys, wallets and quotas, and whom that speaks against."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.aws.event_stream import EventMessage
from actors.streaming.core.aws.framings import event_of
from actors.streaming.core.errors.faults import ProviderFaultError, failure_in_stream, refusal
from actors.streaming.core.resilience.scope import Scope, counts_against, scope_of
from schemas.problems import Problem


class Fault(NamedTuple):
    code: str
    scope: Scope
    retryable: bool = False
    retry_after: float | None = None


WALLET = Fault("rate_limited", "key")
HERE = Fault("rate_limited", "model")
LIMITED = Fault("rate_limited", "model", retryable=True)
WRONG_KEY = Fault("unauthorized", "key")
REFUSED = Fault("provider_error", "request")
ILL = Fault("provider_error", "endpoint", retryable=True)


def of(problem: Problem) -> Fault:
    return Fault(problem.code, scope_of(problem), problem.retryable, problem.retry_after)


def fault(status: int, body: Any, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return of(refusal(status, named, msgspec.json.encode(body)))


def told(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def violated(quota: str, message: str = "You exceeded your current quota.") -> dict[str, Any]:
    kinds = "type.googleapis.com/google.rpc."
    failure = {"@type": f"{kinds}QuotaFailure", "violations": [{"quotaId": quota}]}
    retry = {"@type": f"{kinds}RetryInfo", "retryDelay": "21s"}
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": message}
    return {"error": error | {"details": [failure, retry]}}


SPENT: list[tuple[str, int, Any, Fault]] = [
    ("openai", 429, told("Quota.", type="insufficient_quota"), WALLET),
    ("openai", 429, told("You exceeded your current quota, please check your plan."), WALLET),
    ("openai", 400, told("Billing hard limit has been reached", code=None), WALLET),
    ("openai", 403, told("x", code="billing_hard_limit_reached"), WALLET),
    ("openai", 429, told("Your account is not active, please check your billing."), WALLET),
    (
        "openai",
        429,
        told("Rate limit reached for o1 in organization o on requests per day (RPD): Limit 9"),
        HERE,
    ),
    (
        "anthropic",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to use the API. Go to Plans.",
            },
        },
        WALLET,
    ),
    ("anthropic", 402, told("x", type="billing_error"), WALLET),
    (
        "anthropic",
        400,
        told("You have reached your specified API usage limits. You will regain access in May."),
        WALLET,
    ),
    ("openrouter", 402, told("Insufficient credits. Add more.", code=402), WALLET),
    ("openrouter", 402, told("This request requires more credits, or fewer tokens."), HERE),
    ("openrouter", 403, told("Key limit exceeded (monthly limit).", code=403), WALLET),
    ("openrouter", 429, told("Rate limit exceeded: free-models-per-day.", code=429), HERE),
    ("deepseek", 402, told("Insufficient Balance", code="invalid_request_error"), WALLET),
    ("deepseek", 400, told("Insufficient Balance", type="unknown_error"), WALLET),
    ("gemini", 429, violated("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), HERE),
    ("gemini", 429, [violated("GenerateRequestsPerDayPerProjectPerModel")], HERE),
    ("gemini", 429, violated("InputTokensPerMinute", "Quota exceeded for x, limit: 0, m"), HERE),
    ("gemini", 429, violated("x", "Your prepayment credits are depleted."), WALLET),
    ("gemini", 429, violated("x", "Your project has exceeded its spending cap."), WALLET),
    (
        "vertex",
        403,
        {
            "error": {
                "code": 403,
                "status": "PERMISSION_DENIED",
                "message": "This API method requires billing.",
                "details": [{"reason": "BILLING_DISABLED"}],
            }
        },
        WALLET,
    ),
    ("bedrock", 400, {"__type": "ServiceQuotaExceededException", "message": "x"}, WALLET),
    ("bedrock", 429, {"message": "Too many tokens per day, please wait."}, HERE),
    ("mistral", 402, {"detail": "Payment required"}, WALLET),
    ("mistral", 429, {"object": "error", "message": "Monthly quota exceeded"}, WALLET),
    (
        "groq",
        429,
        told(
            "Rate limit reached for model `l` in organization `o` on tokens per day (TPD)",
            type="tokens",
            code="rate_limit_exceeded",
        ),
        HERE,
    ),
    ("together", 402, told("Credit limit exceeded, please go on.", type="credit_limit"), WALLET),
    ("together", 403, told("x", type="credit_limit"), WALLET),
    (
        "xai",
        403,
        {
            "code": "The caller does not have permission to execute the operation",
            "error": "Your newly created team doesn't have any credits yet.",
        },
        WALLET,
    ),
    (
        "xai",
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team 1a-2b has either used all credits or reached its spending limit.",
        },
        WALLET,
    ),
    ("fireworks", 412, told("Account acme is suspended, possibly due to unpaid bills."), WALLET),
    ("perplexity", 401, told("x", type="insufficient_quota", code=401), WALLET),
    (
        "groq",
        400,
        told("Your organization has reached its monthly spend limit.", code="blocked_api_access"),
        WALLET,
    ),
    (
        "cohere",
        429,
        {"message": "You are using a Trial key, which is limited to 1000 API calls / month."},
        WALLET,
    ),
    (
        "azure",
        403,
        {"statusCode": 403, "message": "Out of call volume quota. Replenished in 06:17:50."},
        WALLET,
    ),
    ("azure", 429, told("x", code="insufficient_quota"), WALLET),
    (
        "hugging face",
        402,
        {"error": "You have exceeded your monthly included credits for Inference Providers."},
        WALLET,
    ),
    ("cerebras", 429, {"message": "Tokens per day limit exceeded - too many", "code": "x"}, HERE),
    (
        "cloudflare",
        429,
        {"errors": [{"message": "AiError: you have used up your daily x"}]},
        WALLET,
    ),
    ("deepinfra", 402, {"detail": {"error": "inference prohibited, please enter"}}, WALLET),
    ("litellm", 400, told("Budget has been exceeded! Max: 4", type="budget_exceeded"), WALLET),
    (
        "litellm",
        400,
        told(
            "litellm.BadRequestError: AnthropicException - "
            '{"type":"error","error":{"type":"invalid_request_error",'
            '"message":"Your credit balance is too low"}}'
        ),
        WALLET,
    ),
    ("github", 429, told("Rate limit of 50 per 86400s exceeded for UserByModelByDay."), HERE),
    (
        "siliconflow",
        403,
        {"code": 30001, "message": "Sorry, your account balance is insufficient"},
        WALLET,
    ),
    ("dashscope", 400, {"code": "Arrearage", "message": "Access denied."}, WALLET),
    ("zhipu", 429, told("\u4f59\u989d\u4e0d\u8db3", code="1113"), WALLET),
    ("new-api", 500, told("x", code="insufficient_user_quota"), WALLET),
    ("moonshot", 429, told("x", type="exceeded_current_quota_error"), WALLET),
]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [row[1:] for row in SPENT],
    ids=[f"{row[0]} {row[1]} {place}" for place, row in enumerate(SPENT)],
)
def test_a_spent_quota_is_final_for_the_key_and_says_nothing_of_the_endpoint(
    status: int, body: Any, expected: Fault
):
    problem = refusal(status, {"x-should-retry": "true"}, msgspec.json.encode(body))

    assert of(problem) == expected
    assert problem.details["quota"] == expected.scope
    assert not counts_against(problem)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, violated("GenerateRequestsPerMinutePerProject"), LIMITED._replace(retry_after=21.0)),
        (429, {"message": "Too many tokens, please wait before trying again."}, LIMITED),
        (429, {"message": "You are using a Trial key, limited to 10 API calls / minute"}, LIMITED),
        (429, told("Tokens per minute limit exceeded", code="token_quota_exceeded"), LIMITED),
        (403, told("x", type="rate_limit_error"), LIMITED),
        (413, told("Too large: tokens per minute", code="rate_limit_exceeded"), REFUSED),
        (400, told("'your credit balance is too low' is no tool name"), REFUSED),
        (400, told("messages.0: insufficient credits, said the user"), REFUSED),
        (500, told("boom"), ILL),
    ],
)
def test_what_passes_or_is_only_quoted_is_no_spent_quota(status: int, body: Any, expected: Fault):
    assert fault(status, body) == expected


@pytest.mark.parametrize(("wait", "expected"), [("12", LIMITED), ("1800", HERE)])
def test_a_days_quota_that_is_back_at_once_is_waited_for(wait: str, expected: Fault):
    body = told("Rate limit reached for model `l` on tokens per day (TPD): Limit 100000")

    after = float(wait) if expected.retryable else None
    assert fault(429, body, retry_after=wait) == expected._replace(retry_after=after)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"code": "An argument is invalid", "error": "Incorrect API key provided: xa***b"}),
        (400, told("API key not valid. Please pass a valid one.", status="INVALID_ARGUMENT")),
        (403, {"message": "Invalid API-key provided."}),
        (500, told("Invalid API key")),
    ],
)
def test_a_wrong_key_is_one_under_any_status(status: int, body: Any):
    assert fault(status, body) == WRONG_KEY


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (told("Insufficient Balance", code="invalid_request_error")["error"], WALLET),
        (told("Insufficient credits", code=402)["error"], WALLET),
        ({"code": 400, "message": "'insufficient credits' is no name"}, REFUSED),
        (violated("RequestsPerDay")["error"], HERE),
        ("you've reached your hourly usage limit, please upgrade", WALLET),
    ],
)
def test_it_is_the_same_inside_a_stream(error: Any, expected: Fault):
    assert of(failure_in_stream(error)) == expected


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        (
            {":message-type": "exception", ":exception-type": "throttlingException"},
            b'{"message":"Too many tokens per day, please wait."}',
        ),
        (
            {
                ":message-type": "error",
                ":error-code": "throttlingException",
                ":error-message": "Too many tokens per day",
            },
            b"",
        ),
    ],
)
def test_bedrocks_day_is_told_in_a_frames_sentence(headers: dict[str, Any], payload: bytes):
    with pytest.raises(ProviderFaultError) as raised:
        event_of(EventMessage(headers, payload))

    assert of(raised.value.problem) == HERE


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "message", "code", "details", "detail", "status"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(400, 599), ANYTHING)
def test_whatever_the_body_is_the_fault_is_typed_and_a_wait_means_another_try(
    status: int, body: Any
):
    found = fault(status, body)

    assert found.retryable or found.retry_after is None
    assert found.scope in {"key", "model", "endpoint", "request"}


@given(st.text(max_size=3000), st.integers(400, 599))
def test_no_sentence_is_passed_on(said: str, status: int):
    problem = refusal(status, {}, msgspec.json.encode(told(f"{said}~secret~")))

    assert "~secret~" not in str(problem)
