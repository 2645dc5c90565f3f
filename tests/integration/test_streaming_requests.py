"""What a provider is sent: keys, headers, addresses, connections."""

import socket
from typing import Any

import anyio
import msgspec
import pytest

from actors.streaming.adapters.http import build_client
from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.generation import Generator, Means
from bus.security.egress import Egress
from bus.security.secrets import HOW
from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import ModelConfig
from schemas.problems import Problem
from schemas.provider_specs import usual_urls
from schemas.providers import Custom, Groq, OpenAI, Provider
from tests.attempts import KEY, NOW, at, config, failed, generating, ignore, work
from tests.operator_keys import loaded
from tests.providers_fake import (
    answer,
    answering,
    fake_provider,
    falling_silent,
    in_turn,
    refusing,
)


async def test_an_endpoint_gets_its_headers_and_its_key():
    async with fake_provider(answering("x")) as fake, generating() as generator:
        provider = at(fake, headers={"X-Title": "Callboard"}, secret="local")
        await generator.run(work(provider), ignore)

    sent = {name.lower(): text for name, text in fake.headers[0].items()}
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["x-title"] == "Callboard"
    assert sent["accept"] == "text/event-stream"
    assert sent["accept-encoding"] == "identity"
    assert "cookie" not in sent


async def test_no_cookie_is_ever_sent_back():
    async with (
        fake_provider(
            in_turn(refusing(500, headers={"Set-Cookie": "a=b"}), answering("x"))
        ) as fake,
        generating() as generator,
    ):
        for _ in range(2):
            await generator.run(work(at(fake)), ignore)

    assert [headers.get("Cookie") for headers in fake.headers] == [None, None]


async def test_groq_and_openai_definitions_may_name_a_server_of_their_own_and_get_no_default_key():
    async with fake_provider(answering("x")) as fake, generating() as generator:
        for provider in (
            OpenAI(model="m", base_url=fake.base_url),
            Groq(model="m", base_url=fake.base_url),
        ):
            assert isinstance(await generator.run(work(provider), ignore), FinishGeneration)

    assert [headers.get("Authorization") for headers in fake.headers] == [None, None]


async def test_the_operators_base_url_serves_definitions_that_name_none():
    async with fake_provider(answering("x")) as fake:
        environ = {"OPENAI_BASE_URL": fake.base_url, "OPENAI_API_KEY": KEY}
        settings = config(urls=usual_urls() | {"openai": fake.base_url})
        loopback = Egress(allow_loopback=True)
        async with open_providers(settings, loopback, loaded(environ)) as providers:
            result = await Generator(Means(providers=providers, clock=lambda: NOW)).run(
                work(OpenAI(model="m")), ignore
            )

    assert isinstance(result, FinishGeneration)
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("provider", "problem"),
    [
        (
            OpenAI(model="m"),
            Problem(
                code="unauthorized",
                message=f"There is no secret named openai here: {HOW}",
                field="provider.secret",
            ),
        ),
        (
            Custom(model="m", base_url="http://169.254.169.254/latest"),
            Problem(
                code="forbidden",
                message="This address is closed to connections of the fleet.",
                field="provider.base_url",
            ),
        ),
        (
            Custom(model="m", base_url="https://elsewhere.example/v1", secret="local"),
            Problem(
                code="forbidden",
                message="This secret must not be sent to that host.",
                field="provider.secret",
            ),
        ),
        (
            Custom(model="m", base_url="http://localhost/v1", headers={"Host": "x"}),
            Problem(
                code="validation", message="This header cannot be set.", field="provider.headers"
            ),
        ),
        (
            Custom(model="m", base_url="http://localhost/v1", headers={"X-A": "b\r\nx-c: d"}),
            Problem(
                code="validation",
                message="A header holds printable ASCII characters only.",
                field="provider.headers.X-A",
            ),
        ),
        (
            Custom(model="m", base_url="http://[::1/v1"),
            Problem(code="validation", message="This is no URL.", field="provider.base_url"),
        ),
    ],
    ids=["no key", "metadata", "foreign host", "host header", "header injection", "no URL"],
)
async def test_what_must_not_be_sent_fails_without_a_connection(
    provider: Provider, problem: Problem
):
    async with generating() as generator:
        assert await generator.run(work(provider), ignore) == failed(
            problem, usage=None, of=provider
        )


async def test_a_name_that_means_this_machine_is_closed_unless_the_operator_opens_it():
    async with fake_provider(answering("x")) as fake:
        url = fake.base_url.replace("127.0.0.1", "localhost")
        async with generating(egress=Egress()) as generator:
            closed = await generator.run(work(Custom(model="m", base_url=url)), ignore)
        async with generating(egress=Egress(allowed=["localhost"])) as generator:
            opened = await generator.run(work(Custom(model="m", base_url=url)), ignore)

    assert isinstance(closed, FailGeneration)
    assert closed.problem.code == "forbidden"
    assert isinstance(opened, FinishGeneration)
    assert len(fake.bodies) == 1


async def test_a_server_without_stream_options_is_asked_again_without_and_remembered():
    async def strict(request: Any) -> Any:
        if "stream_options" in msgspec.json.decode(await request.read()):
            return await refusing(400, {"message": "unknown field stream_options"})(request)
        return await answering("x")(request)

    async with fake_provider(strict) as fake, generating() as generator:
        for _ in range(2):
            assert isinstance(await generator.run(work(at(fake)), ignore), FinishGeneration)

    assert ["stream_options" in body for body in fake.bodies] == [True, False, False]


async def test_what_one_tenant_has_found_changes_no_request_of_another():
    async def strict_to_one(request: Any) -> Any:
        body = msgspec.json.decode(await request.read())
        if "stream_options" in body and body.get("user") == "acme":
            return await refusing(400, {"message": "unknown field stream_options"})(request)
        return await answering("x")(request)

    async with fake_provider(strict_to_one) as fake, generating() as generator:
        for tenant in ("acme", "other", "acme", "other"):
            asked = work(at(fake), config=ModelConfig(extra={"user": tenant}))
            asked = msgspec.structs.replace(asked, tenant=tenant)
            assert isinstance(await generator.run(asked, ignore), FinishGeneration)

    having = [(body["user"], "stream_options" in body) for body in fake.bodies]
    assert having == [
        ("acme", True),
        ("acme", False),
        ("other", True),
        ("acme", False),
        ("other", True),
    ]


@pytest.mark.parametrize(
    ("message", "answers", "sent"),
    [
        ("Unrecognized request argument supplied: stream_options_x", False, [True, True]),
        ("my-stream_options is unknown", False, [True, True]),
        ("body.stream_options: Extra inputs are not permitted", True, [True, False, False]),
        ("Unknown parameter: 'stream_options.include_usage'.", True, [True, False, False]),
        # It was not the reason: without it, the server refuses as well.
        ("unknown field stream_options", False, [True, False, True, False]),
    ],
)
async def test_a_field_is_left_out_where_it_was_named_and_is_known_to_be_the_reason(
    message: str, answers: bool, sent: list[bool]
):
    async def refusing_it(request: Any) -> Any:
        body = msgspec.json.decode(await request.read())
        if answers and "stream_options" not in body:
            return await answering("x")(request)
        return await refusing(400, {"message": message})(request)

    async with fake_provider(refusing_it) as fake, generating() as generator:
        for _ in range(2):
            result = await generator.run(work(at(fake)), ignore)
            assert isinstance(result, FinishGeneration) is answers

    assert ["stream_options" in body for body in fake.bodies] == sent


async def test_connections_are_kept_for_the_next_call_and_opened_for_all_that_run_at_once():
    async with fake_provider(answering("x")) as fake, generating() as generator:
        for _ in range(5):
            await generator.run(work(at(fake)), ignore)
        assert len(fake.connections) == 1

        async with anyio.create_task_group() as tasks:
            for _ in range(150):
                tasks.start_soon(generator.run, work(at(fake)), ignore)
        assert len(fake.bodies) == 155


async def test_a_kept_connection_that_the_server_has_closed_is_replaced_unseen():
    seen: set[Any] = set()

    async def closing_kept(request: Any) -> Any:
        peer = request.transport.get_extra_info("peername")
        if peer in seen:
            request.transport.abort()
            return await refusing(500)(request)
        seen.add(peer)
        return await answering("x")(request)

    async with fake_provider(closing_kept) as fake, generating() as generator:
        for _ in range(3):
            assert isinstance(await generator.run(work(at(fake)), ignore), FinishGeneration)

    assert len(seen) == 3


async def test_nothing_is_held_back_to_fill_packets():
    client = build_client(
        Egress(allow_loopback=True), connect_timeout=5, read_timeout=5, keep_alive=5
    )
    async with fake_provider(falling_silent(*answer("x"))) as fake, client:
        url = f"{fake.base_url}/chat/completions"
        async with client.stream("POST", url, json={}) as response:
            connection = response.extensions["answer"].connection
            open_socket = connection.transport.get_extra_info("socket")
            assert open_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_key_shows_up_in_no_report():
    leaking = refusing(401, {"message": KEY, "code": KEY, "type": KEY})
    async with fake_provider(leaking) as fake, generating() as generator:
        result = await generator.run(work(at(fake, secret="local")), ignore)

    assert KEY not in repr(result)
