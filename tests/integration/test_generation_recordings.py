"""Recorded streams through the whole fleet: what a user sees, is told at the end, and finds stored.

How each answer reads is the matter of ``tests/unit/streaming/test_recordings.py``.
"""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from schemas.providers import Provider
from schemas.streams import Completed, ContentChunk, StreamEvent, ThinkingChunk, ToolCalled
from tests.fleet import PlainClient
from tests.providers_fake import FakeProvider, begin, fake_provider, refusing
from tests.unit.streaming.test_recordings import FOLDER, FORMATS, asked, recorded
from tests.wires import answered, cut

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the recorded streams are not beside this repository"
)


def bodies(name: str, mode: str) -> Iterator[tuple[Any, bytes]]:
    for row in recorded(name, mode):
        yield row, base64.b64decode(row["response"]["body_base64"])


async def generated(
    client: PlainClient, provider: Provider, fake: FakeProvider
) -> tuple[Any, list[StreamEvent]]:
    """Ask a server that plays a recording; return the record and all events."""
    told = msgspec.to_builtins(provider) | {"base_url": fake.base_url}
    messages = [{"role": "user", "content": "Hello"}]
    wanted = {"provider": told, "messages": messages, "limits": {"max_attempts": 1}}
    handle = await client.ask("llm.generate", wanted)
    assert "execution_id" in handle, handle
    events = await client.events(handle["execution_id"])
    return await client.ask("executions.get", {"execution_id": handle["execution_id"]}), events


@pytest.mark.parametrize("name", FORMATS)
async def test_a_recorded_stream_is_told_live_and_at_the_end_and_stored_as_it_reads(
    name: str, client: PlainClient
):
    left = list(bodies(name, "stream"))

    async def replaying(request: web.Request) -> web.StreamResponse:
        _, body = left[0]
        response = await begin(request, cut(body, len(left)), {"content-type": "text/plain"})
        await response.write_eof()
        return response

    async with fake_provider(replaying) as fake:
        while left:
            row, body = left[0]
            request = asked(name, row)
            answer = answered(FORMATS[name].reader(request), [body])[1]

            record, events = await generated(client, request.provider, fake)

            end = events[-1]
            assert isinstance(end, Completed), end
            seen = [each.content for each in events if isinstance(each, ContentChunk)]
            thought = [each.content for each in events if isinstance(each, ThinkingChunk)]
            called = [each.call_id for each in events if isinstance(each, ToolCalled)]
            calls = msgspec.to_builtins(answer.tool_calls)
            usage = msgspec.to_builtins(answer.usage)
            assert "".join(seen) == end.text == record["text"] == answer.text
            assert "".join(thought) == end.reasoning == (record["reasoning"] or "")
            assert end.reasoning == answer.reasoning
            assert msgspec.to_builtins(end.tool_calls) == record["tool_calls"] == calls
            assert called == [call["id"] for call in calls]
            assert end.finish_reason == record["finish_reason"] == answer.finish_reason
            assert msgspec.to_builtins(end.usage) == record["usage"] == usage
            assert end.model_served == record["model_served"] == answer.model_served
            left.pop(0)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_recorded_refusal_ends_a_generation_with_a_typed_problem(
    name: str, client: PlainClient
):
    for row, body in bodies(name, "error"):
        told = row["response"]
        refusal = refusing(told["status"], headers=told["headers"], body=body)
        async with fake_provider(refusal) as fake:
            record, _ = await generated(client, asked(name, row).provider, fake)

        assert record["status"] == "FAILED"
        assert record["error"]["code"] in {"provider_error", "not_found"}
        assert record["error"]["details"]["status"] == told["status"]
