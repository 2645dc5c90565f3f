"""An answer that is to be JSON of a schema is verified, whatever its server made of the request."""

from typing import Any

import anyio
import msgspec
import pytest

from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import JsonObjectFormat, JsonSchemaFormat, ModelConfig, ResponseFormat
from schemas.policy import Fallback, Policy
from tests.attempts import at, generating, ignore, work
from tests.providers_fake import answering, fake_provider

GRADE = JsonSchemaFormat(
    schema={"type": "object", "required": ["grade"], "properties": {"grade": {"enum": ["A", "B"]}}}
)
FIELD = "config.response_format"


async def reported(
    text: str,
    wanted: ResponseFormat = GRADE,
    *,
    finish: str = "stop",
    otherwise: str | None = None,
    **policy: Any,
) -> FinishGeneration | FailGeneration:
    """Return the report on an attempt whose server says ``text``, its fallback ``otherwise``."""
    config = ModelConfig(response_format=wanted)
    with anyio.fail_after(20):
        async with (
            fake_provider(answering(text, finish=finish)) as fake,
            fake_provider(answering(otherwise or "")) as other,
            generating() as generator,
        ):
            others = [Fallback(provider=at(other))] if otherwise else []
            item = work(at(fake), config=config)
            item = msgspec.structs.replace(item, policy=Policy(fallbacks=others, **policy))
            return await generator.run(item, ignore)


@pytest.mark.parametrize(
    ("text", "wanted", "finish", "message"),
    [
        ("Well, A.", GRADE, "stop", "The answer is no JSON, though response_format asks for it."),
        ("{", GRADE, "length", "The answer was cut before its JSON was whole: raise max_tokens."),
        (
            '{"grade": "s3cret"}',
            GRADE,
            "stop",
            "The answer is not of the schema: grade: must be one of A, B.",
        ),
        (
            "[1]",
            JsonObjectFormat(),
            "stop",
            "The answer is no JSON object, which response_format asks for.",
        ),
    ],
)
async def test_what_is_not_of_the_format_fails_and_is_paid(
    text: str, wanted: ResponseFormat, finish: str, message: str
):
    report = await reported(text, wanted, finish=finish)

    assert isinstance(report, FailGeneration)
    assert (report.problem.code, report.problem.field) == ("provider_error", FIELD)
    assert (report.problem.message, report.problem.retryable) == (message, False)
    assert report.usage is not None
    assert report.usage.total > 0


async def test_what_is_of_the_format_is_an_answer():
    report = await reported('{"grade": "A"}')

    assert isinstance(report, FinishGeneration)
    assert report.answer.warnings == []
    assert report.answer.is_json


async def test_by_policy_it_is_accepted_with_a_warning():
    report = await reported("Well, A.", structured_output="warn")

    assert isinstance(report, FinishGeneration)
    assert [warning.field for warning in report.answer.warnings] == [FIELD]
    assert not report.answer.is_json


async def test_by_policy_the_owner_asks_again_and_fallbacks_are_asked_first():
    alone = await reported("Well, A.", structured_output="retry")
    beside = await reported("Well, A.", otherwise='{"grade": "B"}', structured_output="retry")

    assert isinstance(alone, FailGeneration)
    assert alone.problem.retryable
    assert isinstance(beside, FailGeneration)
    assert beside.next_place == 1


async def test_an_answer_that_says_itself_that_it_was_filtered_is_not_held_to_the_format():
    report = await reported("", finish="content_filter")

    assert isinstance(report, FinishGeneration)
