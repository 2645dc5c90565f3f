"""A prompt is journalled once, however it comes into the request."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.decisions import decide
from actors.agents.core.execution import evolve
from actors.agents.core.folding import folded, unfolded
from bus.codec import decode, encode
from schemas.lifecycle import Accept, Accepted, Origin
from schemas.llm import ChatMessage, ContentPart, GenerateRequest, TextPart
from schemas.providers import Scripted

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TASK = "Tell me of the sea. " * 2500


def origin(task: str) -> Origin:
    return Origin(tenant="acme", execution_id="e1", task=task, digest="d", max_attempts=3)


def request(*messages: ChatMessage) -> GenerateRequest:
    return GenerateRequest(provider=Scripted(responses=["Hi."]), messages=list(messages))


@pytest.mark.parametrize(
    "content",
    [
        TASK,
        f"Please: {TASK} Thank you.",
        [TextPart(text=TASK)],
        [TextPart(text="First: "), TextPart(text=TASK)],
        [TextPart(text=TASK[:20_000]), TextPart(text=TASK[20_000:])],
    ],
)
def test_a_prompt_of_fifty_kilobytes_takes_hardly_more_in_the_journal(
    content: str | list[ContentPart],
):
    messages = (
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content=content),
    )
    command = Accept(origin=origin(TASK), request=request(*messages), timeout_seconds=60)

    accepted = decide(None, command, NOW).events[0]

    assert len(encode(accepted)) < len(TASK) + 1000
    restored = decode(Accepted, encode(accepted))
    assert evolve(None, restored).origin == command.origin


TEXTS = st.text(alphabet="ab ", min_size=0, max_size=600)


@given(TEXTS, TEXTS, TEXTS, st.booleans())
def test_the_task_comes_back_as_it_was(before: str, task: str, after: str, changed: bool):
    said = f"{before}{task[1:] if changed else task}{after}"
    asked = request(ChatMessage(role="user", content=said))

    short, place = folded(origin(task), asked)

    assert unfolded(short, asked, place) == origin(task)
    assert msgspec.structs.replace(short, task=task) == origin(task)
