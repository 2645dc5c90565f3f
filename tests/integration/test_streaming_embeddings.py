"""Embeddings over HTTP: several calls at a time, put together; refusals typed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from actors.streaming.actor import Streaming
from actors.streaming.adapters.askers import ATTEMPTS, Askers, enclosed
from actors.streaming.adapters.embedding import Embedder, Embedding
from actors.streaming.adapters.generation import Generator, Means
from actors.streaming.adapters.providers import open_providers
from actors.streaming.adapters.switchboard import Switchboard
from bus.caller import Caller
from bus.codec import decode, encode
from bus.config import Timing
from bus.egress import Egress
from bus.errors import ProblemError
from bus.ids import new_id
from bus.jetstream import NatsBus
from bus.ports import Delivery
from bus.rpc import command
from bus.testing import NatsWorld
from bus.worker import Worker
from schemas.embeddings import Embed, Embeddings, EmbedWork
from schemas.events import EmbeddedEvent
from schemas.llm import AnswerWarning
from schemas.problems import Problem
from schemas.providers import Anthropic, Bedrock, Custom, Google, Ollama, Provider
from schemas.usage import Usage
from schemas.work import Lost, Superseded, WorkItem
from tests.attempts import KEY, NOW, SECRETS, at, config, ignore, work
from tests.fleet import running_fleet
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    breaking,
    fake_provider,
    in_turn,
    never_beginning,
    refusing,
)


@asynccontextmanager
async def embedding(patience: float = 5.0) -> AsyncGenerator[Embedder]:
    async with open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers:
        yield Embedder(providers, patience=patience)


async def embedded(embedder: Embedder, tenant: str, wanted: Embed) -> Embeddings:
    return await vectors_of(embedder.embedding(tenant, wanted))


async def vectors_of(asked: Embedding) -> Embeddings:
    """Return what its asker is sent, decoded."""
    return decode(Embeddings, encode(await asked.embedded()))


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


async def test_vectors_of_another_size_come_with_a_warning_or_are_refused_and_paid_for():
    async with fake_provider(in_openais_form) as fake, embedding() as embedder:
        wanted = Embed(provider=at(fake), texts=["a", "b"], dimensions=3)
        found = await embedded(embedder, "acme", wanted)
        strict = embedder.embedding("acme", replace(wanted, dimensions_strict=True))
        with pytest.raises(ProblemError) as refused:
            await strict.embedded()

    assert found.vectors == [[1.0, 0.1], [1.0, 0.1]]
    message = "3 dimensions were asked for; the vectors have 2."
    assert found.warnings == [AnswerWarning(field="dimensions", message=message)]
    problem = refused.value.problem
    assert (problem.field, problem.details) == ("dimensions", {"asked": 3, "found": 2})
    event = strict.event("e", NOW, NOW)
    assert event is not None
    assert (event.usage, event.error) == (Usage(input=2), problem)


async def test_vectors_of_two_calls_must_be_of_one_size():
    async def as_long_as_the_batch(request: web.Request) -> web.StreamResponse:
        texts: list[str] = msgspec.json.decode(await request.read())["input"]
        rows = [{"index": n, "embedding": [0.5] * len(texts)} for n in range(len(texts))]
        return web.json_response({"data": rows})

    texts = ["x" * 200_000, "y" * 200_000, "z"]
    async with fake_provider(as_long_as_the_batch) as fake, embedding() as embedder:
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, "acme", Embed(provider=at(fake), texts=texts))

    assert refused.value.problem == Problem(
        code="provider_error", message="The provider sent vectors of different sizes: 1, 2."
    )


async def test_an_empty_wallet_under_success_leaves_the_texts_to_another_key_for_nothing():
    async def by_key(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == f"Bearer {KEY}":
            return await in_openais_form(request)
        return web.json_response({"vectors": None, "base_resp": {"status_code": 1008}})

    async with fake_provider(by_key) as fake, embedding() as embedder:
        asked = embedder.embedding(
            "acme", Embed(provider=at(fake), texts=["a"], keys=["bad", "local"])
        )
        found = await vectors_of(asked)
        event = asked.event("e", NOW, NOW)

    assert found.vectors == [[1.0, 0.1]]
    assert event is not None
    assert event.usage == Usage(input=1)


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


OFTEN = Timing(ack_wait_seconds=0.5, in_progress_seconds=0.1)
"""As the queue of the tests has it: who is silent for half a second is dead."""


class Actor:
    """A streaming process that embeds, and somebody who asks it."""

    def __init__(self, streaming: Streaming, bus: NatsBus) -> None:
        self._streaming = streaming
        self._bus = bus

    async def embed(self, tenant: str, wanted: Embed) -> Embeddings:
        """Ask, and wait for the answer; a Problem is raised."""
        inbox, answers = f"_INBOX.{new_id()}", list[bytes]()
        heard = anyio.Event()

        async def hear(delivery: Delivery) -> None:
            await anyio.lowlevel.checkpoint()
            answers.append(delivery.data)
            heard.set()

        async with self._bus.transport.subscription(inbox, hear):
            caller = Caller(tenant=tenant, reply=inbox)
            await self._streaming.do_ask_for_embeddings(caller, wanted)
            await heard.wait()
        answer = msgspec.json.decode(answers[0], type=Embeddings | Problem)
        if isinstance(answer, Problem):
            raise ProblemError(answer)
        return answer


@asynccontextmanager
async def actor(bus: NatsBus, patience: float = 5.0) -> AsyncGenerator[Actor]:
    async with (
        open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers,
        anyio.create_task_group() as tasks,
    ):
        embedder = Embedder(providers, patience=patience)
        streaming = Streaming(Generator(Means(providers=providers, clock=bus.clock)), embedder, bus)
        job = streaming.embed_job()
        tasks.start_soon(Worker(job, Askers(bus), "test", bus, OFTEN, capacity=4).run)
        yield Actor(streaming, bus)
        tasks.cancel_scope.cancel()


async def test_what_embeddings_have_used_is_told_and_kept(nats_bus: NatsBus, fresh: str):
    async with fake_provider(in_openais_form) as fake, actor(nats_bus) as streaming:
        wanted = Embed(provider=at(fake), texts=["a", "b"], user="ann", project="search")
        with anyio.fail_after(10):
            await streaming.embed(fresh, wanted)

        assert await told(nats_bus, fresh) == [
            expected(Usage(input=2), model_served="e-1", user="ann", project="search")
        ]


async def test_embeddings_that_were_refused_have_used_nothing(nats_bus: NatsBus, fresh: str):
    async with fake_provider(refusing(429)) as fake, actor(nats_bus) as streaming:
        with pytest.raises(ProblemError):
            await streaming.embed(fresh, Embed(provider=at(fake), texts=["a"]))

        assert await told(nats_bus, fresh) == []


async def test_calls_without_an_answer_may_be_billed_and_are_estimated(
    nats_bus: NatsBus, fresh: str
):
    async with fake_provider(never_beginning) as fake, actor(nats_bus, patience=0.2) as streaming:
        wanted = Embed(provider=at(fake), texts=["a" * 40, "b" * 40])
        with anyio.fail_after(10), pytest.raises(ProblemError) as late:
            await streaming.embed(fresh, wanted)

        guess = Usage(input=20, quality="estimated")
        assert await told(nats_bus, fresh) == [expected(guess, error=late.value.problem)]


async def test_a_request_outlives_the_process_that_is_killed_with_it_and_its_usage_too(
    tmp_path: Path,
):
    begun = anyio.Event()

    async def silent_once(request: web.Request) -> web.StreamResponse:
        if begun.is_set():
            return await in_openais_form(request)
        begun.set()
        return await never_beginning(request)

    async with (
        fake_provider(silent_once) as fake,
        running_fleet(tmp_path, agents=0) as fleet,
        fleet.client() as client,
    ):
        events = await client.nats.subscribe("cb.local.events.llm.embedded.*")
        wanted = Embed(provider=at(fake), texts=["a" * 40, "b" * 40])
        found: list[Embeddings] = []

        async def ask() -> None:
            answer = await client.ask("llm.embed", encode(wanted), timeout=20)
            found.append(msgspec.convert(answer, Embeddings))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await begun.wait()
                await fleet.kill("streaming.0")
                await fleet.start("streaming.1")
        told_of = [decode(EmbeddedEvent, (await events.next_msg(5)).data) for _ in range(2)]

    assert [one.vectors for one in found] == [[[40.0, 0.1], [40.0, 0.1]]]
    assert [(event.usage, event.error is None) for event in told_of] == [
        (Usage(input=20, quality="estimated"), False),
        (Usage(input=2), True),
    ]
    assert len({event.id for event in told_of}) == 2


async def test_a_request_that_kills_its_workers_is_not_made_for_ever(nats_bus: NatsBus, fresh: str):
    wanted = Embed(provider=Custom(model="m", base_url="http://127.0.0.1:9"), texts=["a", "b"])
    now = nats_bus.clock()
    answers: list[bytes] = []
    work = EmbedWork(
        id="r",
        tenant=fresh,
        reply=f"_INBOX.{fresh}",
        wanted=wanted,
        at=now,
        deadline=now + timedelta(minutes=1),
        most=Usage(input=20, quality="estimated"),
        attempt=ATTEMPTS,
    )

    async def hear(delivery: Delivery) -> None:
        await anyio.lowlevel.checkpoint()
        answers.append(delivery.data)

    async with nats_bus.transport.subscription(work.reply, hear):
        item = decode(WorkItem[msgspec.Raw], encode(enclosed(work, now, None)))
        lost = Lost(work=item.work, attempt=item.attempt, begun=True)
        mail = command("c", fresh, "r", lost)
        answer = decode(Superseded, await Askers(nats_bus)(item).ask(mail, timeout=5))
        with anyio.fail_after(5):
            while not answers:
                await anyio.sleep(0.01)

    assert answer.reason == "its worker has died"
    assert decode(Problem, answers[0]).code == "unavailable"
    (event,) = await told(nats_bus, fresh)
    assert event.usage == work.most


# What befalls streams befalls them too


def of_keys(*by_key: tuple[str, Behaviour]) -> Behaviour:
    """Answer each key in its own way."""

    async def respond(request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await dict(by_key)[key](request)

    return respond


async def test_what_fails_in_passing_is_asked_again_when_the_provider_wants_it():
    soon = {"retry-after-ms": "20"}
    failing = in_turn(refusing(503, headers=soon), refusing(429, headers=soon), in_openais_form)
    async with fake_provider(failing) as fake, embedding() as embedder:
        with anyio.fail_after(10):
            found = await embedded(embedder, "acme", Embed(provider=at(fake), texts=["abc"]))

        assert len(fake.bodies) == 3
    assert found.vectors == [[3.0, 0.1]]


async def test_where_money_is_held_no_call_is_repeated_that_may_have_to_be_paid():
    async def calls(first: Behaviour, *, is_held: bool) -> int:
        async with fake_provider(in_turn(first, in_openais_form)) as fake, embedding() as embedder:
            wanted = Embed(provider=at(fake), texts=["abc"])
            running = embedder.embedding("acme", wanted, is_held=is_held)
            with anyio.fail_after(10), suppress(ProblemError):
                await running.embedded()
            event = running.event("e1", NOW, NOW)
            assert event is not None
            return len(fake.bodies)

    soon = {"retry-after-ms": "20"}
    assert await calls(breaking(), is_held=False) == 2
    assert await calls(breaking(), is_held=True) == 1
    assert await calls(refusing(503, headers=soon), is_held=True) == 2


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
        generator = Generator(
            Means(providers=providers, clock=lambda: NOW, switchboard=switchboard)
        )
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
            await streaming.embed(fresh, wanted)

        both = Usage(input=22, quality="estimated")
        assert await told(nats_bus, fresh) == [expected(both, model_served="e-1")]
