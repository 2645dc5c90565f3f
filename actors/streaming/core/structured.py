"""Whether an answer is the JSON that ``response_format`` asks for. Pure.

Servers may ignore the format, and an answer that is cut is no JSON. What is told of a fault quotes
nothing of the answer.
"""

from typing import Any

import msgspec

from schemas import bounds, json_schema
from schemas.llm import Answer, JsonSchemaFormat, ResponseFormat
from schemas.policy import StructuredOutput
from schemas.problems import Problem
from schemas.steps import Steps

FIELD = "config.response_format"

_NOT_MEANT = frozenset({"tool_calls", "content_filter", "refusal", "pause"})
"""Ends of an answer that was not to be the JSON, and that say so themselves."""

_CUT = "The answer was cut before its JSON was whole: raise max_tokens."
_NO_JSON = "The answer is no JSON, though response_format asks for it."


def fault_of(answer: Answer, wanted: ResponseFormat | None) -> Steps[str | None]:
    """Return in what an answer is not what was wanted, None where it is or nothing was."""
    if wanted is None or answer.finish_reason in _NOT_MEANT:
        return None
    yield
    try:
        value: Any = bounds.decode(answer.text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _CUT if answer.finish_reason == "length" else _NO_JSON
    if not isinstance(wanted, JsonSchemaFormat):
        is_object = isinstance(value, dict)
        return (
            None if is_object else "The answer is no JSON object, which response_format asks for."
        )
    try:
        fault = yield from json_schema.fault(wanted.schema, value)
    except json_schema.UnverifiableError as error:
        return f"The answer could not be verified: {error}."
    return None if fault is None else f"The answer is not of the schema: {fault}."


def verified(answer: Answer, wanted: ResponseFormat | None) -> Answer:
    """Return an answer without a fault as what it is: JSON, if that was wanted and meant."""
    if wanted is None or answer.finish_reason in _NOT_MEANT:
        return answer
    return msgspec.structs.replace(answer, is_json=True)


def problem_of(fault: str, wish: StructuredOutput) -> Problem:
    """Return the failure of an attempt whose answer has a fault."""
    return Problem(code="provider_error", message=fault, field=FIELD, retryable=wish == "retry")
