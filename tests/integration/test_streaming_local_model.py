"""A real model on this machine, asked in each of the three wire formats its server speaks."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio.abc import Process

from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import ChatMessage, GenerateRequest, JsonSchemaFormat, ModelConfig, TextPart
from schemas.providers import Anthropic, Custom, OpenAI, Provider
from schemas.streams import ContentChunk, StreamEvent
from tests.attempts import NOW, generating, work

SCRIPT = Path(__file__).parents[2] / "deploy" / "examples" / "local_model.py"
MISSING = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, check=False)

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(MISSING.returncode != 0, reason=MISSING.stderr.decode().strip() or "none"),
]


@asynccontextmanager
async def local_model(folder: Path) -> AsyncGenerator[tuple[str, Process]]:
    """Run the model's server in a process of its own; the URL is the first part."""
    port_file = folder / "port"
    async with await anyio.open_process(
        [sys.executable, str(SCRIPT), "--port-file", port_file]
    ) as process:
        try:
            with anyio.fail_after(30):
                while not port_file.exists():
                    assert process.returncode is None
                    await anyio.sleep(0.02)
            yield f"http://127.0.0.1:{port_file.read_text().strip()}/v1", process
        finally:
            if process.returncode is None:
                process.terminate()


FORMATS: dict[str, Callable[[str], Provider]] = {
    "chat": lambda url: Custom(model="local", base_url=url),
    "responses": lambda url: OpenAI(model="local", base_url=url, api="responses"),
    "messages": lambda url: Anthropic(model="local", base_url=url),
}


async def ask(
    provider: Provider, *messages: ChatMessage, **settings: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent]]:
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    config = ModelConfig(temperature=0.0, **settings)
    item = work(provider, deadline=timedelta(seconds=50))
    system = ChatMessage(role="system", content="You are a helpful assistant.")
    request = GenerateRequest(provider=provider, messages=[system, *messages], config=config)
    async with generating() as generator:
        result = await generator.run(msgspec.structs.replace(item, request=request), emit)
    return result, events


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_real_model_answers_in_every_format_it_speaks(name: str, tmp_path: Path):
    async with local_model(tmp_path) as (url, process):
        provider = FORMATS[name](url)
        answer, events = await ask(provider, user("What is the capital of France?"), max_tokens=40)
        cut, _ = await ask(provider, user("Count from one to a hundred."), max_tokens=5)

    assert process.returncode == 0

    assert isinstance(answer, FinishGeneration), answer
    assert "Paris" in answer.answer.text
    chunks = [event.content for event in events if isinstance(event, ContentChunk)]
    assert len(chunks) > 3
    assert "".join(chunks) == answer.answer.text
    assert answer.answer.usage.quality == "exact"
    assert answer.answer.usage.output >= len(chunks)
    assert answer.answer.usage.input > 0
    assert answer.answer.raw_usage
    assert answer.started_at == NOW

    assert isinstance(cut, FinishGeneration), cut
    # This server says of every response that it was completed.
    assert cut.answer.finish_reason == ("stop" if name == "responses" else "length")
    assert cut.answer.usage.output == 5


async def test_a_real_model_goes_on_with_a_conversation_of_parts_in_every_format(tmp_path: Path):
    talk = [
        ChatMessage(role="user", content=[TextPart(text="My name is "), TextPart(text="Ada.")]),
        ChatMessage(role="assistant", content="Nice to meet you, Ada!"),
        user("What is my name?"),
    ]

    async with local_model(tmp_path) as (url, _):
        answers = {
            name: await ask(provider(url), *talk, max_tokens=20)
            for name, provider in FORMATS.items()
        }

    for name, (result, _) in answers.items():
        assert isinstance(result, FinishGeneration), (name, result)
        assert "Ada" in result.answer.text, name


async def test_a_real_model_keeps_to_a_schema(tmp_path: Path):
    schema = {
        "type": "object",
        "properties": {"sentiment": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
        "required": ["sentiment", "score"],
    }
    form = JsonSchemaFormat(schema=schema, name="review")

    async with local_model(tmp_path) as (url, _):
        review, _ = await ask(
            FORMATS["chat"](url), user("Review: I love it."), max_tokens=60, response_format=form
        )

    assert isinstance(review, FinishGeneration)
    assert set(msgspec.json.decode(review.answer.text)) == {"sentiment", "score"}
