"""A real model on this machine, asked through the provider that serves OpenAI and all like it."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio.abc import Process

from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import ChatMessage, GenerateRequest, JsonSchemaFormat, ModelConfig
from schemas.providers import Custom
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


async def ask(
    url: str, task: str, **settings: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent]]:
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    config = ModelConfig(temperature=0.0, seed=1, **settings)
    item = work(Custom(model="local", base_url=url), deadline=timedelta(seconds=50))
    messages = [
        ChatMessage(role="system", content="You are a helpful assistant."),
        ChatMessage(role="user", content=task),
    ]
    request = GenerateRequest(provider=item.request.provider, messages=messages, config=config)
    async with generating() as generator:
        result = await generator.run(msgspec.structs.replace(item, request=request), emit)
    return result, events


async def test_a_real_model_answers_stops_at_its_limit_and_keeps_to_a_schema(tmp_path: Path):
    schema = {
        "type": "object",
        "properties": {"sentiment": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
        "required": ["sentiment", "score"],
    }

    async with local_model(tmp_path) as (url, process):
        answer, events = await ask(url, "What is the capital of France?", max_tokens=40)
        cut, _ = await ask(url, "Count from one to a hundred.", max_tokens=5)
        form = JsonSchemaFormat(schema=schema, name="review")
        review, _ = await ask(url, "Review: I love it.", max_tokens=60, response_format=form)

    assert process.returncode == 0

    assert isinstance(answer, FinishGeneration)
    assert "Paris" in answer.answer.text
    chunks = [event.content for event in events if isinstance(event, ContentChunk)]
    assert len(chunks) > 3
    assert "".join(chunks) == answer.answer.text
    assert answer.answer.usage.quality == "exact"
    assert answer.answer.usage.output >= len(chunks)
    assert answer.started_at == NOW

    assert isinstance(cut, FinishGeneration)
    assert (cut.answer.finish_reason, cut.answer.usage.output) == ("length", 5)

    assert isinstance(review, FinishGeneration)
    assert set(msgspec.json.decode(review.answer.text)) == {"sentiment", "score"}
