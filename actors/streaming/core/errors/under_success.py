"""Errors that come under a status of success: as the body, or as an event, in any clothing.

======================================  ==========================================
``{"base_resp": {"status_code": 1008}}``  MiniMax, beside ``"choices": null``
``{"error": …}``, ``{"errors": [ … ]}``    most; an object, a sentence or ``true``
``{"code": 429, "message": "…"}``         gateways, and APIs of an older kind
``{"detail": …}``                         servers built on FastAPI
``{"success": false}``                    Cloudflare
``{"status": "error"}``                   proxies; or a status from 400 on
======================================  ==========================================

None of them is an error where its value says that all is well (``null``, 0, "200", "success"), and
beside an answer only the first two are.
"""

from typing import Any

import msgspec

from actors.streaming.core.decoding.counts import items, members
from actors.streaming.core.errors.failures import BASE_RESP
from schemas import bounds

_FINE = frozenset({"", "ok", "success", "succeeded", "successful", "none", "null", "false"})
_FAILED = frozenset({"error", "failed", "failure", "fail"})
_FIRST_BAD_STATUS = 400
_CODES = ("code", "error_code", "err_code", "errcode", "errno", "status_code", "statusCode")
_ANSWERS = (
    *("choices", "candidates", "content", "delta", "output", "output_text", "outputText"),
    *("response", "embedding", "embeddings", "predictions", "results", "usage"),
    *("usageMetadata", "promptFeedback", "metrics"),
)


def told(text: str | bytes) -> Any:
    """Return the error that an event without an answer, or a body, is; None if it is none.

    What is returned is for ``failure_in_stream``.
    """
    try:
        decoded: Any = bounds.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return error_of(next(iter(items(decoded)), decoded))


def error_of(value: object) -> Any:
    """Return the error that a JSON value reports, None if none."""
    body = members(value)
    error = body.get("error") or members(body.get("x_groq")).get("error")
    found = reported(error, body.get("base_resp"))
    if found is not None:
        return members(found) or body
    if not body or _has_answer(body):
        return None
    first = next(iter(items(body.get("errors"))), None)
    if first:
        return members(first) or {"message": str(first)}
    if detail := members(body.get("detail")):
        return members(detail.get("error")) or detail
    return body if _says_so(body) else None


def reported(error: object, base_resp: object = None) -> Any:
    """Return the error that the fields of this name report, None if they say that all is well."""
    if code := _code(members(base_resp).get("status_code")):
        number = int(code) if code.isdecimal() else 0
        kind = BASE_RESP.get(number, "api_error")
        return {"code": number, "type": kind, "message": members(base_resp).get("status_msg")}
    if filled := members(error):
        return filled if _is_error(filled) else None
    first = next(iter(items(error)), error)
    return first if first and not (isinstance(first, str) and not _code(first)) else None


def _is_error(error: dict[str, Any]) -> bool:
    """Say whether an error object is filled in, and not with a code of success."""
    if not any(error.values()):
        return False
    is_named = bool(_code(error.get("type")) or _code(error.get("status")))
    return error.get("code") is None or bool(_code(error["code"])) or is_named


def _says_so(body: dict[str, Any]) -> bool:
    status = body.get("status")
    return (
        body.get("success") is False
        or bool(items(body.get("detail")) or _code(body.get("detail")))
        or "error" in (body.get("object"), body.get("type"))
        or "__type" in body
        or any(_code(body.get(name)) for name in _CODES)
        or (isinstance(status, str) and status.lower() in _FAILED)
        or (isinstance(status, int) and status >= _FIRST_BAD_STATUS)
    )


def _has_answer(body: dict[str, Any]) -> bool:
    return (
        any(body.get(name) for name in _ANSWERS)
        or isinstance(body.get("message"), dict)
        or bool(items(body.get("data")))
    )


def _code(value: object) -> str:
    """Return a code that is one of failure, "" of any other: 0, "200", "OK"."""
    if value is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = str(value).strip().lower()
    if text in _FINE or not text.strip("0."):
        return ""
    is_success = len(text) == len("200") and text.startswith("2") and text.isdecimal()
    return "" if is_success else text
