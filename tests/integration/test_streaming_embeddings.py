"""Embeddings over HTTP: several calls at a time, put together; refusals typed, usage reported."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.embedding import Embedder, Embedding, Vectors
from actors.streaming.flow.generation import Generator, Means
from actors.streaming.flow.switchboard import Switchboard
from bus.errors import ProblemError
from bus.security.egress import Egress
from schemas.bodies import BodyReference
from schemas.embeddings import Embeddings
from schemas.lifecycle import EmbedWork, FailGeneration, FinishGeneration
from schemas.llm import AnswerWarning, EmbedRequest, StoredVectors
from schemas.policy import Policy
from schemas.problems import Problem
from schemas.providers import Anthropic, Bedrock, Google, Ollama, Provider
from schemas.usage import Usage
from schemas.vectors import unpacked
from tests.attempts import KEY, NOW, SECRETS, at, config, ignore, work
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    breaking,
    fake_provider,
    in_turn,
    never_beginning,
    refusing,
)

STORED = StoredVectors(parts=[BodyReference(name="n", digest="d", bytes=8)], count=1, dimensions=2)


@asynccontextmanager
async def embedding() -> AsyncGenerator[Embedder]:
    async with open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers:
        yield Embedder(providers, lambda: NOW)


def asked(
    wanted: EmbedRequest, *, tenant: str = "acme", patience: float = 5.0, **more: Any
) -> EmbedWork:
    """Return an attempt that has so much time."""
    deadline = NOW + timedelta(seconds=patience)
    return EmbedWork(
        execution_id="ex1",
        tenant=tenant,
        step=1,
        attempt=1,
        deadline=deadline,
        request=wanted,
        **more,
    )


async def embedded(embedder: Embedder, wanted: EmbedRequest, **more: Any) -> Embeddings:
    return await vectors_of(embedder.embedding(asked(wanted, **more)))


async def vectors_of(attempt: Embedding) -> Embeddings:
    """Return the vectors of an attempt as numbers, to seven digits."""
    found = await attempt.embedded()
    return Embeddings(
        vectors=[[float(f"{number:.7g}") for number in unpacked(row)] for row in found.rows],
        dimensions=found.dimensions,
        model_served=found.model,
        usage=found.usage,
        warnings=found.warnings,
    )


async def reported(
    embedder: Embedder, wanted: EmbedRequest, **more: Any
) -> FinishGeneration | FailGeneration:
    """Return what a worker reports of an attempt."""

    async def store(_found: Vectors) -> StoredVectors:
        return STORED

    with anyio.fail_after(10):
        return await embedder.embedding(asked(wanted, **more)).run(store)


def used(report: FinishGeneration | FailGeneration) -> Usage | None:
    """Return what a report says that the calls of its attempt have used."""
    if isinstance(report, FailGeneration):
        return report.usage
    usages = [report.answer.usage, *(each.usage for each in report.detours if each.usage)]
    return sum(usages[1:], usages[0])


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
        wanted = EmbedRequest(provider=at(fake, secret="local"), texts=texts)
        with anyio.fail_after(20):
            found = await embedded(embedder, wanted)

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
        wanted = EmbedRequest(provider=at(fake), texts=["a", "b"], dimensions=3)
        found = await embedded(embedder, wanted)
        strict = await reported(embedder, replace(wanted, dimensions_strict=True))

    assert found.vectors == [[1.0, 0.1], [1.0, 0.1]]
    message = "3 dimensions were asked for; the vectors have 2."
    assert found.warnings == [AnswerWarning(field="dimensions", message=message)]
    assert isinstance(strict, FailGeneration)
    problem = strict.problem
    assert (problem.field, problem.details) == ("dimensions", {"asked": 3, "found": 2})
    assert strict.usage == Usage(input=2)


async def test_vectors_of_two_calls_must_be_of_one_size():
    async def as_long_as_the_batch(request: web.Request) -> web.StreamResponse:
        texts: list[str] = msgspec.json.decode(await request.read())["input"]
        rows = [{"index": n, "embedding": [0.5] * len(texts)} for n in range(len(texts))]
        return web.json_response({"data": rows})

    texts = ["x" * 200_000, "y" * 200_000, "z"]
    async with fake_provider(as_long_as_the_batch) as fake, embedding() as embedder:
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, EmbedRequest(provider=at(fake), texts=texts))

    assert refused.value.problem == Problem(
        code="provider_error", message="The provider sent vectors of different sizes: 1, 2."
    )


async def test_an_empty_wallet_under_success_leaves_the_texts_to_another_key_for_nothing():
    async def by_key(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == f"Bearer {KEY}":
            return await in_openais_form(request)
        return web.json_response({"vectors": None, "base_resp": {"status_code": 1008}})

    async with fake_provider(by_key) as fake, embedding() as embedder:
        wanted = EmbedRequest(provider=at(fake), texts=["a"])
        report = await reported(embedder, wanted, policy=Policy(keys=["bad", "local"]))

    assert isinstance(report, FinishGeneration)
    assert used(report) == Usage(input=1)
    assert [(each.key, each.problem, each.usage) for each in report.detours] == [
        ("bad", "rate_limited", None)
    ]


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
        found = await embedded(embedder, EmbedRequest(provider=_at(kind, fake), texts=["a"]))

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
            await embedded(embedder, EmbedRequest(provider=at(fake), texts=["a"]))

    problem = refused.value.problem
    assert (problem.code, problem.retryable, problem.retry_after) == ("rate_limited", True, 7.0)


async def test_silence_is_a_timeout():
    async with fake_provider(never_beginning) as fake, embedding() as embedder:
        with anyio.fail_after(10), pytest.raises(ProblemError) as refused:
            await embedded(embedder, EmbedRequest(provider=at(fake), texts=["a"]), patience=0.2)

    assert refused.value.problem.code == "timeout"


async def test_who_has_no_embeddings_is_not_asked():
    async with embedding() as embedder:
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, EmbedRequest(provider=Anthropic(model="claude"), texts=["a"]))

    assert (refused.value.problem.code, refused.value.problem.field) == ("validation", "provider")


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
            found = await embedded(embedder, EmbedRequest(provider=at(fake), texts=["abc"]))

        assert len(fake.bodies) == 3
    assert found.vectors == [[3.0, 0.1]]


async def test_where_money_is_held_no_call_is_repeated_that_may_have_to_be_paid():
    async def calls(first: Behaviour, *, held: bool) -> int:
        async with fake_provider(in_turn(first, in_openais_form)) as fake, embedding() as embedder:
            wanted = EmbedRequest(provider=at(fake), texts=["abc"])
            assert used(await reported(embedder, wanted, held=held)) is not None
            return len(fake.bodies)

    soon = {"retry-after-ms": "20"}
    assert await calls(breaking(), held=False) == 2
    assert await calls(breaking(), held=True) == 1
    assert await calls(refusing(503, headers=soon), held=True) == 2


@pytest.mark.parametrize(
    "refused", [refusing(400), refusing(503, headers={"x-should-retry": "false"})]
)
async def test_what_waiting_does_not_cure_is_asked_once(refused: Behaviour):
    async with fake_provider(refused) as fake, embedding() as embedder:
        with pytest.raises(ProblemError):
            await embedded(embedder, EmbedRequest(provider=at(fake), texts=["a"]))

        assert len(fake.bodies) == 1


async def test_a_refused_key_rests_and_the_next_of_the_pool_is_taken():
    keys = of_keys(("bad-key-0123456789", refusing(401)), (KEY, in_openais_form))
    async with fake_provider(keys) as fake, embedding() as embedder:
        wanted = EmbedRequest(provider=at(fake), texts=["a"])
        first = await embedded(embedder, wanted, policy=Policy(keys=["bad", "local"]))
        second = await embedded(embedder, wanted, policy=Policy(keys=["bad", "local"]))

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
        so_far = len(fake.bodies)
        embedder = Embedder(providers, lambda: NOW, switchboard)
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, EmbedRequest(provider=at(fake), texts=["a"]), patience=1.0)

        assert len(fake.bodies) == so_far
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
        wanted = EmbedRequest(provider=at(fake), texts=["a"])
        await embedded(embedder, wanted)
        with pytest.raises(ProblemError) as refused:
            await embedded(embedder, wanted)

        assert len(fake.bodies) == 1
    assert refused.value.problem.message == "The key's rate limit is used up."


async def test_calls_that_failed_on_the_way_are_part_of_what_was_used():
    torn = in_turn(breaking(b"{"), in_openais_form)
    async with fake_provider(torn) as fake, embedding() as embedder:
        report = await reported(
            embedder, EmbedRequest(provider=at(fake), texts=["a" * 40, "b" * 40])
        )

    assert isinstance(report, FinishGeneration)
    assert (report.answer.usage, report.answer.model_served) == (Usage(input=2), "e-1")
    assert used(report) == Usage(input=22, quality="estimated")


# What they have used


async def test_an_attempt_reports_where_its_vectors_are_and_what_it_has_used():
    async with fake_provider(in_openais_form) as fake, embedding() as embedder:
        report = await reported(embedder, EmbedRequest(provider=at(fake), texts=["a", "b"]))

    assert isinstance(report, FinishGeneration)
    assert (report.answer.vectors, used(report)) == (STORED, Usage(input=2))


async def test_embeddings_that_were_refused_have_used_nothing():
    async with fake_provider(refusing(400)) as fake, embedding() as embedder:
        report = await reported(embedder, EmbedRequest(provider=at(fake), texts=["a"]))

    assert isinstance(report, FailGeneration)
    assert (report.usage, report.final) == (None, True)


async def test_calls_without_an_answer_may_be_billed_and_are_estimated():
    async with fake_provider(never_beginning) as fake, embedding() as embedder:
        wanted = EmbedRequest(provider=at(fake), texts=["a" * 40, "b" * 40])
        report = await reported(embedder, wanted, patience=0.2)

    assert isinstance(report, FailGeneration)
    assert report.usage == Usage(input=20, quality="estimated")
    assert report.problem.code == "timeout"


async def test_an_attempt_that_is_called_off_reports_what_it_may_have_used():
    async with fake_provider(never_beginning) as fake, embedding() as embedder:
        attempt = embedder.embedding(asked(EmbedRequest(provider=at(fake), texts=["a" * 40])))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt.embedded)
            with anyio.fail_after(5):
                while not fake.bodies:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        report = attempt.failed(Problem(code="cancelled", message="no longer needed"))

    assert report.usage == Usage(input=10, quality="estimated")
    assert [(each.problem, each.usage) for each in report.detours] == [
        ("cancelled", Usage(input=10, quality="estimated"))
    ]


async def test_vectors_that_cannot_be_stored_are_paid_for_all_the_same():
    async def store(_found: Vectors) -> StoredVectors:
        raise ProblemError(Problem(code="unavailable", message="full"))

    async with fake_provider(in_openais_form) as fake, embedding() as embedder:
        wanted = asked(EmbedRequest(provider=at(fake), texts=["a", "b"]))
        report = await embedder.embedding(wanted).run(store)

    assert isinstance(report, FailGeneration)
    assert (report.problem.code, report.usage) == ("unavailable", Usage(input=2))
