"""The demo's agent: who reviews, and the form of the review."""

from typing import Annotated, Any, Literal

import msgspec

from schemas.agents import AgentLimits, ApplyAgent, Prompts
from schemas.llm import JsonSchemaFormat, ModelConfig
from schemas.providers import Provider, Scripted

AGENT = "demo_reviewer"

SYSTEM = """\
You review a design decision of a software project. Say in the summary what was decided and why.
Then give two or three points: what is good about it and what its price is."""

MAX_TOKENS = 400
TEMPERATURE = 0.0
FREQUENCY_PENALTY = 0.6
"""Without it a model this small repeats itself."""

WORD_MILLISECONDS = 70


class Review(msgspec.Struct, forbid_unknown_fields=True):
    """The answer. Its lengths are bounded because a small model does not find an end by itself."""

    summary: Annotated[str, msgspec.Meta(min_length=20, max_length=300)]
    points: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=10, max_length=160)]],
        msgspec.Meta(min_length=2, max_length=3),
    ]
    verdict: Literal["accept", "revise"]


SCRIPT = Review(
    summary=(
        "A work item that comes a second time is not simply done again. Its first worker may be "
        "dead or only slow, so the owner journals a new attempt under a new segment of the stream."
    ),
    points=[
        "Each attempt has one writer, so a reader never sees two answers mixed into one.",
        "A worker that turns out to be alive after all is refused, and what it spent is counted.",
        "The price is a repeated call to the provider, and a pause until the loss is noticed.",
    ],
    verdict="accept",
)


def scripted() -> Provider:
    """Return a provider that plays a review without a model."""
    text = msgspec.json.format(msgspec.json.encode(SCRIPT)).decode()
    return Scripted(responses=[text], delay_ms=WORD_MILLISECONDS)


def reviewer(provider: Provider) -> ApplyAgent:
    """Return the command that defines the agent."""
    return ApplyAgent(
        id=AGENT,
        name="Demo reviewer",
        provider=provider,
        config=ModelConfig(
            temperature=TEMPERATURE,
            frequency_penalty=FREQUENCY_PENALTY,
            max_tokens=MAX_TOKENS,
            response_format=JsonSchemaFormat(schema=_schema(), name="review"),
        ),
        prompts=Prompts(system=SYSTEM, user_template="The text:\n\n{input_data}"),
        limits=AgentLimits(timeout_seconds=60),
    )


def _schema() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components([Review])
    return schemas["Review"]
