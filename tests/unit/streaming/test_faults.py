from typing import Any

import msgspec
import pytest

from actors.streaming.core.errors.faults import LONGEST_WAIT, failure_in_stream, refusal
from schemas.problems import Problem


def body(**error: Any) -> bytes:
    return msgspec.json.encode({"error": error})


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (301, "provider_error", False),
        (400, "provider_error", False),
        (401, "unauthorized", False),
        (402, "rate_limited", False),
        (403, "forbidden", False),
        (404, "not_found", False),
        (408, "timeout", True),
        (409, "provider_error", True),
        (413, "provider_error", False),
        (422, "provider_error", False),
        (429, "rate_limited", True),
        (500, "provider_error", True),
        (502, "provider_error", True),
        (503, "provider_overloaded", True),
        (504, "timeout", True),
        (529, "provider_overloaded", True),
        (498, "provider_overloaded", True),
        (520, "provider_error", True),
        (522, "timeout", True),
        (524, "timeout", True),
        (599, "provider_error", True),
    ],
)
def test_each_status_has_its_code_and_says_whether_to_try_again(
    status: int, code: str, retryable: bool
):
    problem = refusal(status, {}, b"")

    assert (problem.code, problem.retryable) == (code, retryable)
    assert problem.details == {"status": status} | ({"quota": "key"} if status == 402 else {})


@pytest.mark.parametrize(
    ("status", "error", "code", "retryable"),
    [
        (429, {"code": "insufficient_quota"}, "rate_limited", False),
        (429, {"type": "insufficient_quota", "code": None}, "rate_limited", False),
        (429, {"type": "enforced_spend_limit_reached"}, "rate_limited", False),
        (400, {"code": "tool_use_failed", "failed_generation": "x"}, "provider_error", True),
        (404, {"type": "invalid_request_error"}, "not_found", False),
        (500, {"type": "invalid_request_error"}, "provider_error", True),
        (429, {"type": "exceeded_current_quota_error"}, "rate_limited", False),
        (429, {"code": "billing_not_active"}, "rate_limited", False),
        (403, {"code": "ExpiredTokenException"}, "unauthorized", False),
        (429, {"type": "rate_limit_error"}, "rate_limited", True),
    ],
)
def test_a_few_codes_overrule_their_status(
    status: int, error: dict[str, Any], code: str, retryable: bool
):
    problem = refusal(status, {}, body(**error))

    assert (problem.code, problem.retryable) == (code, retryable)


SPENT = {
    "type": "rate_limit_error",
    "message": "You have reached your API usage limits.",
    "details": {"error_code": "enforced_spend_limit_reached"},
}


def test_what_anthropic_says_of_a_spent_limit_in_its_details_is_no_passing_one():
    refused = refusal(429, {}, msgspec.json.encode({"type": "error", "error": SPENT}))
    failed = failure_in_stream(SPENT)

    tokens = {
        "provider_type": "rate_limit_error",
        "provider_reason": "enforced_spend_limit_reached",
        "quota": "key",
    }
    assert refused.details == {"status": 429, **tokens}
    assert failed.details == tokens
    assert (refused.code, refused.retryable) == ("rate_limited", False)
    assert (failed.code, failed.retryable) == ("rate_limited", False)


def test_a_growth_that_is_limited_is_waited_for():
    error = SPENT | {"details": {"error_code": "ramp_limit_exceeded"}}

    problem = refusal(429, {"retry-after": "20"}, msgspec.json.encode({"error": error}))

    assert (problem.code, problem.retryable, problem.retry_after) == ("rate_limited", True, 20.0)


@pytest.mark.parametrize(
    "name",
    ["ServiceQuotaExceededException", "com.amazon.coral.service#ServiceQuotaExceededException"],
)
def test_an_aws_exception_may_be_named_in_the_body_alone(name: str):
    problem = refusal(400, {}, msgspec.json.encode({"__type": name, "message": "secret"}))

    assert (problem.code, problem.retryable) == ("rate_limited", False)
    assert problem.details["provider_code"] == "ServiceQuotaExceededException"


def test_codes_may_stand_beside_an_error_that_is_a_mere_sentence():
    content = msgspec.json.encode({"error": "No more.", "code": "insufficient_quota"})

    assert not refusal(429, {}, content).retryable


def test_googles_errors_may_come_as_the_only_item_of_a_list():
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [info]}

    problem = refusal(429, {}, msgspec.json.encode([{"error": error}]))

    assert (problem.code, problem.retry_after) == ("rate_limited", 12.5)


@pytest.mark.parametrize(
    ("status", "code"), [(502, "provider_error"), (503, "provider_overloaded"), (504, "timeout")]
)
def test_a_proxys_page_is_typed_by_its_status_and_its_wait_is_kept(status: int, code: str):
    page = b"<html><head><title>Bad Gateway</title></head><body>secret</body></html>"

    problem = refusal(status, {"content-type": "text/html", "retry-after": "3"}, page)

    assert (problem.code, problem.retryable, problem.retry_after) == (code, True, 3.0)
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    ("status", "header", "retryable"),
    [(500, "false", False), (400, "true", True), (500, "maybe", True)],
)
def test_the_providers_word_on_retrying_wins(status: int, header: str, retryable: bool):
    assert refusal(status, {"x-should-retry": header}, b"").retryable is retryable


NOON = "Sat, 21 Nov 2026 12:00:00 GMT"
HALF_A_MINUTE_PAST = "Sat, 21 Nov 2026 12:00:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": HALF_A_MINUTE_PAST, "date": NOON}, 30.0),
        ({"retry-after": NOON, "date": HALF_A_MINUTE_PAST}, 0.0),
        ({"retry-after": NOON}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "1e9"}, LONGEST_WAIT),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}, 90.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2ms"}, 0.002),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h6.5s"}, 3606.5),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "6s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, None),
        ({"x-ratelimit-remaining-tokens": "0"}, None),
    ],
)
def test_the_wait_the_provider_asks_for_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
):
    assert refusal(429, headers, b"").retry_after == seconds


def test_a_wait_is_kept_only_where_trying_again_makes_sense():
    assert refusal(401, {"retry-after": "7"}, b"").retry_after is None


def test_nothing_of_the_providers_own_words_is_passed_on():
    error = body(
        message="Incorrect API key provided: sk-abcdefghijklmnop. Your prompt was: hunter2",
        code="invalid_api_key",
        type="invalid_request_error",
        param="hunter2",
    )

    assert refusal(401, {}, error) == Problem(
        code="unauthorized",
        message="The provider does not accept the key.",
        details={
            "status": 401,
            "provider_code": "invalid_api_key",
            "provider_type": "invalid_request_error",
        },
    )


@pytest.mark.parametrize(
    "token",
    [
        "sk-proj-" + "aB3" * 40,
        "gsk_" + "aB3" * 17,
        "sk-test-0123456789",
        "hunter2 is my password",
        "",
        "_",
        "x" * 33,
        100_000,
        -1,
        None,
        ["x"],
    ],
)
def test_a_code_that_does_not_look_like_one_is_dropped(token: Any):
    assert refusal(400, {}, body(code=token)).details == {"status": 400}


@pytest.mark.parametrize(
    "content", [b"<html>", b"[]", b"3", b'{"error":"no"}', b"\xff", b"[" * 9999]
)
def test_any_body_will_do(content: bytes):
    assert refusal(500, {}, content).details == {"status": 500}


def test_an_error_body_may_lack_its_envelope():
    content = msgspec.json.encode({"type": "error", "code": "overloaded"})

    assert refusal(500, {}, content).details["provider_code"] == "overloaded"


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ({"type": "overloaded_error"}, "provider_overloaded", True),
        ({"code": "rate_limit_exceeded"}, "rate_limited", True),
        ({"code": "insufficient_quota"}, "rate_limited", False),
        ({"code": "invalid_api_key"}, "unauthorized", False),
        ({"type": "permission_error"}, "forbidden", False),
        ({"status": "PERMISSION_DENIED"}, "forbidden", False),
        ({"code": "invalid_prompt"}, "provider_error", False),
        ({"code": "image_too_large"}, "provider_error", False),
        ({"code": "misalignment_policy_violation"}, "provider_error", False),
        ({"code": "vector_store_timeout"}, "timeout", True),
        (
            {"code": "server_is_overloaded", "type": "service_unavailable_error"},
            "provider_overloaded",
            True,
        ),
        ({"type": "engine_overloaded_error"}, "provider_overloaded", True),
        ({"type": "invalid_request_error"}, "provider_error", False),
        ({"code": 429}, "rate_limited", True),
        ({"code": 502}, "provider_error", True),
        ({"code": 400}, "provider_error", False),
        ({"code": 0}, "provider_error", True),
        ({"code": "unheard_of"}, "provider_error", True),
        ({}, "provider_error", True),
        ("gone", "provider_error", True),
        (None, "provider_error", True),
    ],
)
def test_an_error_in_a_stream_may_be_retried_unless_its_code_speaks_against_it(
    error: Any, code: str, retryable: bool
):
    problem = failure_in_stream(error)

    assert (problem.code, problem.retryable) == (code, retryable)
