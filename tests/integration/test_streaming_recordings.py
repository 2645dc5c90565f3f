"""Recorded streams over real HTTP: the endpoint, the connection and the reader together.

How each answer reads is the matter of ``tests/unit/streaming/test_recordings.py``; here it must
read the same from a socket, over connections that are kept.
"""

import base64
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web

from schemas.lifecycle import FailGeneration, FinishGeneration
from tests.attempts import generating, ignore, work
from tests.providers_fake import begin, fake_provider, refusing
from tests.unit.streaming.test_recordings import FOLDER, FORMATS, asked, recorded
from tests.wires import answered, cut

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the recorded streams are not beside this repository"
)

CONTENT_TYPES = {
    "bedrock-converse": "application/vnd.amazon.eventstream",
    "bedrock-invoke": "application/vnd.amazon.eventstream",
    "ollama-chat": "application/x-ndjson",
    "ollama-generate": "application/x-ndjson",
}


@pytest.mark.parametrize("name", FORMATS)
async def test_a_recorded_stream_reads_from_a_socket_as_from_its_bytes(name: str):
    rows = recorded(name, "stream")
    bodies = [base64.b64decode(row["response"]["body_base64"]) for row in rows]
    left = list(bodies)

    async def replaying(request: web.Request) -> web.StreamResponse:
        kind = CONTENT_TYPES.get(name, "text/event-stream")
        response = await begin(request, cut(left.pop(0), len(left)), {"content-type": kind})
        await response.write_eof()
        return response

    with anyio.fail_after(50):
        async with fake_provider(replaying) as fake, generating() as generator:
            at: dict[str, Any] = {"base_url": fake.base_url, "secret": "local"}
            for row, body in zip(rows, bodies, strict=True):
                request = asked(name, row)
                provider = msgspec.structs.replace(request.provider, **at)
                result = await generator.run(work(provider), ignore)
                assert isinstance(result, FinishGeneration), result
                assert result.answer == answered(FORMATS[name].reader(request), [body])[1]


@pytest.mark.parametrize("name", FORMATS)
async def test_a_recorded_refusal_becomes_a_typed_failure_that_costs_nothing(name: str):
    for row in recorded(name, "error"):
        told, body = row["response"], base64.b64decode(row["response"]["body_base64"])
        refusal = refusing(told["status"], headers=told["headers"], body=body)
        with anyio.fail_after(20):
            async with fake_provider(refusal) as fake, generating() as generator:
                at: dict[str, Any] = {"base_url": fake.base_url, "secret": "local"}
                provider = msgspec.structs.replace(asked(name, row).provider, **at)
                result = await generator.run(work(provider), ignore)

        assert isinstance(result, FailGeneration)
        assert result.problem.code in {"provider_error", "not_found"}
        assert (result.problem.retryable, result.usage) == (False, None)
