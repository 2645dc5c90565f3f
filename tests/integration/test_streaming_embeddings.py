"""Embeddings over HTTP: several calls at a time, put together; refusals typed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from actors.streaming.actor import Streaming
from actors.streaming.adapters.embedding import Embedder
from actors.streaming.adapters.generation import Generator
from actors.streaming.adapters.providers import open_providers
from actors.streaming.adapters.switchboard import Switchboard
from bus.codec import decode
from bus.egress import Egress
from bus.errors import ProblemError
from bus.jetstream import NatsBus
from bus.service import Caller
from bus.testing import NatsWorld
from schemas.embeddings import Embed, Embeddings
from schemas.events import EmbeddedEvent
from schemas.providers import Anthropic, Bedrock, Google, Ollama, Provider
from schemas.usage import Usage
from tests.attempts import KEY, NOW, SECRETS, at, config, ignore, work
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    breaking,
    fake_provider,
    never_beginning,
    refusing,
)


@asynccontextmanager
async def embedding(patience: float = 5.0) -> AsyncGenerator[Embedder]:
    async with open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers:
        yield Embedder(providers, patience=patience)


async def embedded(embedder: Embedder, tenant: str, wanted: Embed) -> Embeddings:
    return await embedder.embedding(tenant, wanted).embedded()


async def in_openais_form(request: web.Request) -> web.StreamResponse:
    """Answer with each text's length as its vector."""
    body: dict[str, Any] = msgspec.json.decode(await request.read())
    rows = [{"index": n, "embedding": [len(text), 0.1]} for n, text in enumerate(body["input"])]
    usage = {"prompt_tokens": len(rows), "total_tokens": len(rows)}
    return web.json_response({"data": rows[::-1], "model": "e-1", "usage": usage})


async def test_texts_become_vectors_in_their_order_however_many_calls_it_takes():
    texts = ["x" * length for length in range(1, 257)]
    texts[100] = "y" * 200_000
    texts[200] = "z" * 200_000
    async with fake_provider(in_openais_form) as fake, embedding() as embedder:
        wanted = Embed(provider=at(fake, secret="local"), texts=texts)
        with anyio.fail_after(20):
            found = await embedded(embedder, "acme", wanted)

        assert len(fake.bodies) == 2
        assert {headers["Authorization"] for headers in fake.headers} == {f"Bearer {KEY}"}
    assert found == Embeddings(
        vectors=[[float(len(text)), 0.1] for text in texts],
        dimensions=2,
        model_served="e-1",
        usage=Usage(input=256),
    )


@pytest.mark.parametrize("kind", ["google", "ollama", "bedrock"])
async def test_other_providers_are_asked_in_their_own_form(kind: str):
    answers = {
        "google": {"embeddings": [{"values": [1.0]}]},
        "ollama": {"embeddings": [[1.0]], "prompt_eval_count": 2},
        "bedrock": {"embedding": [1.0], "inputTextTokenCount": 2},
    }

    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.json_response(answers[kind])

    async with fake_provider(answering) as fake, embedding() as embedder:
        found = await embedded(embedder, "acme", Embed(provider=_at(kind, fake), texts=["a"]))

        assert found.vectors == [[1.0]]
        assert len(fake.bodies) == 1


def _at(kind: str, fake: FakeProvider) -> Provider:
    match kind:
        case "google":
            return Google(model="embedding", base_url=fake.base_url)
        case "ollama":
            return Ollama(model="embed", base_url=fake.base_url)
        case _:
            return Bedrock(
                model="amazon.titan-embed-text-v2:0",
                region="us-east-1",
                base_url=fake.base_url,
                secret="local",
            )


async def test_a_refusal_is_the_providers_and_ends_all_calls():
    async with (
        fake_provider(refusing(429, headers={"retry-after": "7"})) as fake,
        embedding() as embedder,
    ):
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, "acme", Embed(provider=at(fake), texts=["a"]))

    problem = refused.value.problem
    assert (problem.code, problem.retryable, problem.retry_after) == ("rate_limited", True, 7.0)


async def test_silence_is_a_timeout():
    async with fake_provider(never_beginning) as fake, embedding(0.2) as embedder:
        with anyio.fail_after(10), pytest.raises(ProblemError) as refused:
            await embedded(embedder, "acme", Embed(provider=at(fake), texts=["a"]))

    assert refused.value.problem.code == "timeout"


async def test_who_has_no_embeddings_is_not_asked():
    async with embedding() as embedder:
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, "acme", Embed(provider=Anthropic(model="claude"), texts=["a"]))

    assert (refused.value.problem.code, refused.value.problem.field) == ("validation", "provider")


# What they have used


@pytest.fixture
async def nats_bus(shared_nats: NatsWorld) -> AsyncGenerator[NatsBus]:
    async with shared_nats.process("test") as process:
        yield process


async def told(bus: NatsBus, tenant: str) -> list[EmbeddedEvent]:
    """Return what is stored of the tenant's embeddings, but for its id and times."""
    await bus.outbox.flush(timeout=5)
    everything = f"cb.{tenant}.events.llm.embedded.*"
    stored = [one async for one in bus.stored("EVENTS").read(everything, start=1)]
    events = [decode(EmbeddedEvent, one.data) for one in stored]
    return [replace(event, id="", at=NOW, duration_ms=0) for event in events]


def expected(usage: Usage, **more: Any) -> EmbeddedEvent:
    return EmbeddedEvent(
        id="", provider="custom", model="m", texts=2, usage=usage, at=NOW, duration_ms=0, **more
    )


@asynccontextmanager
async def actor(bus: NatsBus, patience: float = 5.0) -> AsyncGenerator[Streaming]:
    async with open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers:
        embedder = Embedder(providers, patience=patience)
        yield Streaming(Generator(providers, bus.clock), embedder, bus)


async def test_what_embeddings_have_used_is_told_and_kept(nats_bus: NatsBus, fresh: str):
    async with fake_provider(in_openais_form) as fake, actor(nats_bus) as streaming:
        wanted = Embed(provider=at(fake), texts=["a", "b"], user="ann", project="search")
        with anyio.fail_after(10):
            await streaming.do_embed(Caller(tenant=fresh), wanted)

        assert await told(nats_bus, fresh) == [
            expected(Usage(input=2), model_served="e-1", user="ann", project="search")
        ]


async def test_embeddings_that_were_refused_have_used_nothing(nats_bus: NatsBus, fresh: str):
    async with fake_provider(refusing(429)) as fake, actor(nats_bus) as streaming:
        with pytest.raises(ProblemError):
            await streaming.do_embed(Caller(tenant=fresh), Embed(provider=at(fake), texts=["a"]))

        assert await told(nats_bus, fresh) == []


async def test_calls_without_an_answer_may_be_billed_and_are_estimated(
    nats_bus: NatsBus, fresh: str
):
    async with fake_provider(never_beginning) as fake, actor(nats_bus, patience=0.2) as streaming:
        wanted = Embed(provider=at(fake), texts=["a" * 40, "b" * 40])
        with anyio.fail_after(10), pytest.raises(ProblemError) as late:
            await streaming.do_embed(Caller(tenant=fresh), wanted)

        guess = Usage(input=20, quality="estimated")
        assert await told(nats_bus, fresh) == [expected(guess, error=late.value.problem)]


async def test_embeddings_that_are_called_off_are_estimated(nats_bus: NatsBus, fresh: str):
    async with fake_provider(never_beginning) as fake, actor(nats_bus) as streaming:
        wanted = Embed(provider=at(fake), texts=["a" * 40, "b" * 40])
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(streaming.do_embed, Caller(tenant=fresh), wanted)
                while not fake.bodies:
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()

        (event,) = await told(nats_bus, fresh)
        assert event.usage == Usage(input=20, quality="estimated")
        assert event.error is not None
        assert event.error.code == "cancelled"


# What befalls streams befalls them too


def of_keys(*by_key: tuple[str, Behaviour]) -> Behaviour:
    """Answer each key in its own way."""

    async def respond(request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await dict(by_key)[key](request)

    return respond


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Answer each call in the next way, and all further ones in the last."""
    left = list(behaviours)

    async def respond(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return respond


async def test_what_fails_in_passing_is_asked_again_when_the_provider_wants_it():
    soon = {"retry-after-ms": "20"}
    failing = in_turn(refusing(503, headers=soon), refusing(429, headers=soon), in_openais_form)
    async with fake_provider(failing) as fake, embedding() as embedder:
        with anyio.fail_after(10):
            found = await embedded(embedder, "acme", Embed(provider=at(fake), texts=["abc"]))

        assert len(fake.bodies) == 3
    assert found.vectors == [[3.0, 0.1]]


@pytest.mark.parametrize(
    "refused", [refusing(400), refusing(503, headers={"x-should-retry": "false"})]
)
async def test_what_waiting_does_not_cure_is_asked_once(refused: Behaviour):
    async with fake_provider(refused) as fake, embedding() as embedder:
        with pytest.raises(ProblemError):
            await embedded(embedder, "acme", Embed(provider=at(fake), texts=["a"]))

        assert len(fake.bodies) == 1


async def test_a_refused_key_rests_and_the_next_of_the_pool_is_taken():
    keys = of_keys(("bad-key-0123456789", refusing(401)), (KEY, in_openais_form))
    async with fake_provider(keys) as fake, embedding() as embedder:
        wanted = Embed(provider=at(fake), texts=["a"], keys=["bad", "local"])
        first = await embedded(embedder, "acme", wanted)
        second = await embedded(embedder, "acme", wanted)

        assert first == second
        assert [one["Authorization"].removeprefix("Bearer ") for one in fake.headers] == [
            "bad-key-0123456789",
            KEY,
            KEY,
        ]


async def test_one_circuit_stands_for_streams_and_embeddings():
    switchboard = Switchboard()
    async with (
        fake_provider(refusing(500)) as fake,
        open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers,
    ):
        generator = Generator(providers, lambda: NOW, switchboard=switchboard)
        for _ in range(5):
            await generator.run(work(at(fake)), ignore)
        asked = len(fake.bodies)
        embedder = Embedder(providers, switchboard, patience=1.0)
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, "acme", Embed(provider=at(fake), texts=["a"]))

        assert len(fake.bodies) == asked
    assert (refused.value.problem.code, refused.value.problem.details) == (
        "unavailable",
        {"circuit": "open"},
    )


async def test_a_rate_limit_that_is_used_up_is_not_run_into():
    used_up = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "5m"}

    async def limited(request: web.Request) -> web.StreamResponse:
        response = await in_openais_form(request)
        response.headers.update(used_up)
        return response

    async with fake_provider(limited) as fake, embedding() as embedder:
        wanted = Embed(provider=at(fake), texts=["a"])
        await embedded(embedder, "acme", wanted)
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, "acme", wanted)

        assert len(fake.bodies) == 1
    assert refused.value.problem.message == "The key's rate limit is used up."


async def test_calls_that_failed_on_the_way_are_part_of_what_was_used(
    nats_bus: NatsBus, fresh: str
):
    torn = in_turn(breaking(b"{"), in_openais_form)
    async with fake_provider(torn) as fake, actor(nats_bus) as streaming:
        wanted = Embed(provider=at(fake), texts=["a" * 40, "b" * 40])
        with anyio.fail_after(10):
            await streaming.do_embed(Caller(tenant=fresh), wanted)

        both = Usage(input=22, quality="estimated")
        assert await told(nats_bus, fresh) == [expected(both, model_served="e-1")]
