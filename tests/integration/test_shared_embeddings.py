"""Embedding calls that begin within a moment of each other are one call."""

import anyio
import anyio.lowlevel
import msgspec
from aiohttp import web

from actors.streaming.flow.embedding import Embedder
from schemas.embeddings import Embeddings
from schemas.llm import EmbedRequest
from schemas.providers import Provider
from schemas.usage import Usage
from tests.attempts import at
from tests.integration.test_streaming_embeddings import embedded, embedding, in_openais_form
from tests.providers_fake import (
    fake_provider,
    in_turn,
    never_beginning,
)


async def test_requests_that_come_within_a_moment_share_one_call_and_its_usage():
    async def counting(request: web.Request) -> web.StreamResponse:
        texts: list[str] = msgspec.json.decode(await request.read())["input"]
        rows = [{"index": n, "embedding": [len(text), 0.5]} for n, text in enumerate(texts)]
        used = {"prompt_tokens": 1001, "total_tokens": 1001}
        return web.json_response({"data": rows, "model": "e-1", "usage": used})

    answers: dict[str, Embeddings] = {}

    async def ask(embedder: Embedder, provider: Provider, tenant: str, text: str) -> None:
        wanted = EmbedRequest(provider=provider, texts=[text, text * 2])
        answers[f"{tenant}/{text}"] = await embedded(embedder, wanted, tenant=tenant)

    async with fake_provider(counting) as fake, embedding() as embedder:
        async with anyio.create_task_group() as tasks:
            for text in ("a", "bb", "ccc"):
                tasks.start_soon(ask, embedder, at(fake), "acme", text)
            tasks.start_soon(ask, embedder, at(fake), "other", "dddd")

        assert sorted(len(body["input"]) for body in fake.bodies) == [2, 6]
    assert [answers[f"acme/{text}"].vectors[1][0] for text in ("a", "bb", "ccc")] == [2, 4, 6]
    assert answers["other/dddd"].usage == Usage(input=1001)
    assert sum(answers[f"acme/{text}"].usage.input for text in ("a", "bb", "ccc")) == 1001


async def test_whoever_shares_a_call_that_is_called_off_asks_again():
    answers: list[Embeddings] = []

    async def ask(embedder: Embedder, provider: Provider, text: str) -> None:
        answers.append(await embedded(embedder, EmbedRequest(provider=provider, texts=[text])))

    behaviour = in_turn(never_beginning, in_openais_form)
    async with fake_provider(behaviour) as fake, embedding() as embedder:
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as first:
            first.start_soon(ask, embedder, at(fake), "a")
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(ask, embedder, at(fake), "bb")
            while not fake.bodies:
                await anyio.sleep(0.01)
            first.cancel_scope.cancel()

        assert [len(body["input"]) for body in fake.bodies] == [2, 1]
    assert [answer.vectors for answer in answers] == [[[2.0, 0.1]]]
