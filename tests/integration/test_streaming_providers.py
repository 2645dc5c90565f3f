"""Answers and failures of a real HTTP server, through the providers to the report on an attempt."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest

from actors.streaming.adapters.generation import Generator
from actors.streaming.adapters.providers import open_providers
from actors.streaming.config import StreamingConfig
from bus.egress import Egress
from bus.secrets import SecretEntry, Secrets
from schemas.lifecycle import Deltas, FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import (
    Answer,
    ChatMessage,
    Custom,
    GenerateRequest,
    Groq,
    ModelConfig,
    OpenAI,
    Provider,
    Scripted,
    ScriptedFailure,
    ToolCall,
)
from schemas.problems import Problem
from schemas.streams import ContentChunk, StreamEvent, Thinking, ToolCalled
from schemas.usage import Usage
from tests.providers_fake import (
    DONE,
    USAGE,
    Behaviour,
    FakeProvider,
    answer,
    answering,
    begin,
    breaking,
    chunk,
    event,
    fake_provider,
    falling_silent,
    in_turn,
    never_beginning,
    refusing,
    sending,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = "sk-test-0123456789"
SECRETS = Secrets({"local": SecretEntry(env="KEY", hosts=("127.0.0.1",))}, {"KEY": KEY})
ESTIMATE = Usage(input=6, quality="estimated")
NOTHING = Deltas(count=1, sha256=hashlib.sha256().hexdigest())


def config(**settings: Any) -> StreamingConfig:
    patience = {"connect_timeout": 5.0, "first_byte_timeout": 5.0, "idle_timeout": 5.0}
    return StreamingConfig(**{**patience, **settings})


@asynccontextmanager
async def generating(
    settings: StreamingConfig | None = None, egress: Egress | None = None
) -> AsyncGenerator[Generator]:
    open_egress = egress or Egress(allow_loopback=True)
    async with open_providers(settings or config(), open_egress, SECRETS) as providers:
        yield Generator(providers, lambda: NOW)


def work(
    provider: Provider,
    *,
    attempt: int = 1,
    deadline: timedelta = timedelta(seconds=30),
    **more: Any,
) -> GenerateWork:
    messages = [ChatMessage(role="user", content="Hello")]
    return GenerateWork(
        execution_id="ex1",
        tenant="acme",
        step=1,
        attempt=attempt,
        segment=2,
        deadline=NOW + deadline,
        request=GenerateRequest(provider=provider, messages=messages, **more),
    )


def at(fake: FakeProvider, **more: Any) -> Custom:
    return Custom(model="m", base_url=fake.base_url, **more)


async def attempt(
    behaviour: Behaviour, **settings: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent]]:
    """Run one attempt against the behaviour. What it published is the second part."""
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    with anyio.fail_after(20):
        async with fake_provider(behaviour) as fake, generating(config(**settings)) as generator:
            return await generator.run(work(at(fake)), emit), events


async def ignore(_events: list[StreamEvent]) -> None:
    await anyio.lowlevel.checkpoint()


def place(sequence: int) -> dict[str, Any]:
    place = {"execution_id": "ex1", "segment": 2, "step": 1, "attempt": 1, "at": NOW}
    return {**place, "sequence": sequence}


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, ContentChunk))


# Answers


async def test_an_answer_is_published_as_it_comes_and_reported_whole():
    result, events = await attempt(answering("Hel", "lo ", "\u2028😀"))

    assert events[0] == Thinking(status="Asking m", **place(0))
    assert [event.sequence for event in events] == list(range(len(events)))
    assert text_of(events) == "Hello \u2028😀"
    assert result == FinishGeneration(
        step=1,
        attempt=1,
        answer=Answer(
            text="Hello \u2028😀",
            finish_reason="stop",
            usage=Usage(input=7, output=2),
            model_served="fake-1",
        ),
        deltas=Deltas(
            count=len(events), sha256=hashlib.sha256("Hello \u2028😀".encode()).hexdigest()
        ),
        started_at=NOW,
    )


async def test_the_deltas_of_one_read_are_one_event():
    _, events = await attempt(sending(b"".join(answer("a", "b", "c"))))

    assert events[1:] == [ContentChunk(content="abc", **place(1))]


async def test_while_publishing_waits_what_arrives_is_gathered_into_one_event():
    """Write the second half only when the first is being published, and release that afterwards."""
    publishing, written = anyio.Event(), anyio.Event()
    events: list[StreamEvent] = []

    async def two_halves(request: Any) -> Any:
        writes = answer("a", "b", "c", "d")
        response = await begin(request, writes[:2])
        await publishing.wait()
        for data in writes[2:]:
            await response.write(data)
        await response.write_eof()
        written.set()
        return response

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)
        if isinstance(batch[-1], ContentChunk) and not publishing.is_set():
            publishing.set()
            await written.wait()
            await anyio.wait_all_tasks_blocked()

    with anyio.fail_after(20):
        async with fake_provider(two_halves) as fake, generating() as generator:
            await generator.run(work(at(fake)), emit)

    assert [event.content for event in events if isinstance(event, ContentChunk)] == ["a", "bcd"]


async def test_a_tool_call_is_published_once_and_whole():
    first = {"index": 0, "id": "a", "function": {"name": "time", "arguments": '{"zone":'}}
    second = {"index": 0, "function": {"arguments": '"CET"}'}}
    writes = [event(chunk(tool_calls=[first])), event(chunk(tool_calls=[second]))]

    result, events = await attempt(sending(*writes, *answer(finish="tool_calls")))

    called = ToolCalled(call_id="a", tool_name="time", arguments={"zone": "CET"}, **place(1))
    assert events[1:] == [called]
    assert isinstance(result, FinishGeneration)
    assert result.answer.finish_reason == "tool_calls"
    assert result.answer.tool_calls == [ToolCall(id="a", name="time", arguments='{"zone":"CET"}')]


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(sending(*answer("Hello")[:-1]), id="no [DONE]"),
        pytest.param(sending(event(chunk("Hello")), DONE), id="no finish reason"),
        pytest.param(sending(event(chunk("Hello", finish="stop"))[:-2]), id="no blank line"),
        pytest.param(breaking(event(chunk("Hello", finish="stop"))), id="broken after the end"),
        pytest.param(falling_silent(*answer("Hello")), id="open after [DONE]"),
        pytest.param(falling_silent(*answer("Hello")[:-1]), id="silent after the finish reason"),
        pytest.param(sending(*answer("Hello"), b"data: garbage\n\n"), id="garbage after [DONE]"),
    ],
)
async def test_a_whole_answer_counts_however_untidily_it_ends(behaviour: Behaviour):
    result, events = await attempt(behaviour, trailing_timeout=0.2)

    assert text_of(events) == "Hello"
    assert isinstance(result, FinishGeneration)
    assert (result.answer.text, result.answer.finish_reason) == ("Hello", "stop")


# Faults


def failed(problem: Problem, usage: Usage | None, deltas: Deltas = NOTHING) -> FailGeneration:
    return FailGeneration(
        step=1, attempt=1, problem=problem, deltas=deltas, started_at=NOW, usage=usage
    )


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (
            refusing(401, {"code": "invalid_api_key", "message": f"Incorrect key {KEY}"}),
            Problem(
                code="unauthorized",
                message="The provider does not accept the key.",
                details={"status": 401, "provider_code": "invalid_api_key"},
            ),
        ),
        (
            refusing(429, {"type": "rate_limit_error"}, {"Retry-After": "7"}),
            Problem(
                code="rate_limited",
                message="The provider limits the rate of requests.",
                retryable=True,
                retry_after=7.0,
                details={"status": 429, "provider_type": "rate_limit_error"},
            ),
        ),
        (
            refusing(429, {"code": "insufficient_quota"}, {"retry-after": "7"}),
            Problem(
                code="rate_limited",
                message="The quota or credit at the provider is used up.",
                details={"status": 429, "provider_code": "insufficient_quota"},
            ),
        ),
        (
            refusing(500, body=b"<html>secret words</html>"),
            Problem(
                code="provider_error",
                message="The provider failed.",
                retryable=True,
                details={"status": 500},
            ),
        ),
        (
            refusing(529, {"type": "overloaded_error"}, {"Retry-After-Ms": "1500"}),
            Problem(
                code="provider_overloaded",
                message="The provider is overloaded.",
                retryable=True,
                retry_after=1.5,
                details={"status": 529, "provider_type": "overloaded_error"},
            ),
        ),
        (
            refusing(307, headers={"Location": "http://169.254.169.254/"}),
            Problem(
                code="provider_error",
                message="The provider refused the request.",
                details={"status": 307},
            ),
        ),
        (
            refusing(500, body=b"x" * 10_000_000),
            Problem(
                code="provider_error",
                message="The provider failed.",
                retryable=True,
                details={"status": 500},
            ),
        ),
    ],
    ids=["401", "429", "quota", "500", "529", "redirect", "endless error"],
)
async def test_a_refusal_is_typed_and_costs_nothing(behaviour: Behaviour, problem: Problem):
    result, _ = await attempt(behaviour)

    assert result == failed(problem, usage=None)


CUT = Problem(
    code="provider_error",
    message="The provider ended the stream in mid-answer.",
    retryable=True,
)
BROKEN = Problem(
    code="provider_error", message="The provider broke the connection.", retryable=True
)
NO_CHUNK = Problem(
    code="provider_error",
    message="The provider sent something that is no chunk.",
    retryable=True,
)
FAILED = Problem(code="provider_error", message="The provider failed.", retryable=True)
HALF = event(chunk("Hello"))


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        pytest.param(sending(), CUT, id="nothing at all"),
        pytest.param(sending(HALF), CUT, id="end before the terminal event"),
        pytest.param(sending(HALF, b'data: {"choices":[{"delta"'), NO_CHUNK, id="half a chunk"),
        pytest.param(breaking(HALF), BROKEN, id="broken connection"),
        pytest.param(sending(HALF, b"\x00\xff\xfe garbage"), CUT, id="garbage"),
        pytest.param(sending(HALF, b"data: \xff\x00\n\n"), NO_CHUNK, id="garbage as data"),
        pytest.param(sending(b"<html>hello</html>"), CUT, id="a web page"),
        pytest.param(
            sending(HALF, event({"error": {"message": "secret words"}}), DONE), FAILED, id="error"
        ),
        pytest.param(
            sending(event(chunk("x", finish="length") | {"error": {"code": 502}}), DONE),
            Problem(
                code="provider_error",
                message="The provider failed.",
                retryable=True,
                details={"provider_code": 502},
            ),
            id="error beside choices",
        ),
        pytest.param(
            sending(HALF, b"data: " + b"x" * (9 * 1024 * 1024)),
            Problem(code="provider_error", message="The provider sent an event beyond all bounds."),
            id="endless line",
        ),
    ],
)
async def test_an_answer_that_breaks_off_is_a_typed_failure_with_estimated_usage(
    behaviour: Behaviour, problem: Problem
):
    result, _ = await attempt(behaviour)

    assert isinstance(result, FailGeneration)
    assert result.problem == problem
    assert result.usage is not None
    assert result.usage.quality == "estimated"


async def test_a_cut_answer_reports_what_was_published_until_then():
    result, events = await attempt(sending(HALF))

    deltas = Deltas(count=2, sha256=hashlib.sha256(b"Hello").hexdigest())
    assert events[1:] == [ContentChunk(content="Hello", **place(1))]
    assert result == failed(CUT, Usage(input=6, output=2, quality="estimated"), deltas)


async def test_usage_that_came_before_the_cut_is_kept_as_such():
    telling = event(chunk("Hello") | {"usage": USAGE})

    result, _ = await attempt(sending(telling))

    assert isinstance(result, FailGeneration)
    assert result.usage == Usage(input=7, output=2, quality="partial_stream")


async def test_silence_in_an_answer_is_a_timeout():
    result, events = await attempt(falling_silent(HALF), idle_timeout=0.1)

    silent = Problem(code="timeout", message="The provider fell silent.", retryable=True)
    assert text_of(events) == "Hello"
    assert isinstance(result, FailGeneration)
    assert result.problem == silent


async def test_comments_keep_a_slow_answer_alive():
    async def thinking_aloud(request: Any) -> Any:
        response = await begin(request, [])
        for _ in range(6):
            await anyio.sleep(0.1)
            await response.write(b": still here\n\n")
        for data in answer("Hello"):
            await response.write(data)
        await response.write_eof()
        return response

    result, _ = await attempt(thinking_aloud, idle_timeout=0.4)

    assert isinstance(result, FinishGeneration)


async def test_a_slow_beginning_has_its_own_patience():
    async def slow(request: Any) -> Any:
        await anyio.sleep(0.3)
        return await answering("Hello")(request)

    patient, _ = await attempt(slow, idle_timeout=0.1, first_byte_timeout=5.0)
    impatient, _ = await attempt(never_beginning, first_byte_timeout=0.1)

    assert isinstance(patient, FinishGeneration)
    late = Problem(code="timeout", message="The provider did not begin in 0.1 s.", retryable=True)
    assert impatient == failed(late, ESTIMATE)


async def test_a_refused_connection_is_unavailable_and_costs_nothing(free_tcp_port: int):
    async with generating() as generator:
        provider = Custom(model="m", base_url=f"http://127.0.0.1:{free_tcp_port}/v1")
        result = await generator.run(work(provider), ignore)

    reached = Problem(code="unavailable", message="The provider cannot be reached.", retryable=True)
    assert result == failed(reached, usage=None)


async def test_the_executions_deadline_ends_an_attempt_and_leaves_the_provider():
    with anyio.fail_after(20):
        async with fake_provider(falling_silent(HALF)) as fake, generating() as generator:
            item = work(at(fake), deadline=timedelta(seconds=0.3))
            result = await generator.run(item, ignore)
            await fake.abandoned.wait()

    over = Problem(code="timeout", message="The execution's time is over.")
    assert isinstance(result, FailGeneration)
    assert (result.problem, result.usage) == (over, Usage(input=6, output=2, quality="estimated"))


async def test_an_attempt_past_its_deadline_asks_nobody():
    async with fake_provider(answering("x")) as fake, generating() as generator:
        result = await generator.run(work(at(fake), deadline=timedelta(seconds=-1)), ignore)

        assert isinstance(result, FailGeneration)
        assert fake.bodies == []


@pytest.mark.parametrize("behaviour", [falling_silent(HALF), never_beginning])
async def test_cancelling_closes_the_providers_connection(behaviour: Behaviour):
    with anyio.fail_after(20):
        async with fake_provider(behaviour) as fake, generating() as generator:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(generator.run, work(at(fake)), ignore)
                while not fake.bodies:
                    await anyio.sleep(0.001)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()

            await fake.abandoned.wait()


# Requests


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
    async def setting_one(request: Any) -> Any:
        response = await begin(request, [])
        for data in answer("x"):
            await response.write(data)
        await response.write_eof()
        return response

    async with (
        fake_provider(in_turn(refusing(500, headers={"Set-Cookie": "a=b"}), setting_one)) as fake,
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
        settings = config(openai_base_url=fake.base_url)
        loopback = Egress(allow_loopback=True)
        async with open_providers(settings, loopback, Secrets.load(environ)) as providers:
            result = await Generator(providers, lambda: NOW).run(work(OpenAI(model="m")), ignore)

    assert isinstance(result, FinishGeneration)
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("provider", "problem"),
    [
        (
            OpenAI(model="m"),
            Problem(
                code="unauthorized",
                message="There is no secret named openai here.",
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
        assert await generator.run(work(provider), ignore) == failed(problem, usage=None)


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


async def test_connections_are_kept_for_the_next_call_and_opened_for_all_that_run_at_once():
    async with fake_provider(answering("x")) as fake, generating() as generator:
        for _ in range(5):
            await generator.run(work(at(fake)), ignore)
        assert len(fake.connections) == 1

        async with anyio.create_task_group() as tasks:
            for _ in range(150):
                tasks.start_soon(generator.run, work(at(fake)), ignore)
        assert len(fake.bodies) == 155


async def test_a_key_shows_up_in_no_report():
    leaking = refusing(401, {"message": KEY, "code": KEY, "type": KEY})
    async with fake_provider(leaking) as fake, generating() as generator:
        result = await generator.run(work(at(fake, secret="local")), ignore)

    assert KEY not in repr(result)


# The scripted provider


async def play(
    generator: Generator, script: Scripted, *, attempt: int = 1, **settings: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent]]:
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    item = work(script, attempt=attempt, config=ModelConfig(**settings))
    return await generator.run(item, emit), events


async def test_a_script_is_played_word_by_word_and_its_responses_in_turn():
    script = Scripted(responses=["one two", "three"], delay_ms=0)
    async with generating() as generator:
        first, events = await play(generator, script)
        second, _ = await play(generator, script)
        other, _ = await play(generator, Scripted(responses=["one two", "four"], delay_ms=0))
        third, _ = await play(generator, script)

    assert events == [
        Thinking(status="Playing the script of scripted", **place(0)),
        ContentChunk(content="one", **place(1)),
        ContentChunk(content=" two", **place(2)),
    ]
    texts = [
        each.answer.text
        for each in (first, second, other, third)
        if isinstance(each, FinishGeneration)
    ]
    assert texts == ["one two", "three", "one two", "one two"]


async def test_a_scripted_failure_strikes_the_first_attempt_and_spares_the_second():
    fails = ScriptedFailure(call=0, code="provider_overloaded", after_words=1, retry_after=0.5)
    script = Scripted(responses=["one two"], delay_ms=0, failures=[fails])
    async with generating() as generator:
        first, events = await play(generator, script)
        second, _ = await play(generator, script, attempt=2)

    overloaded = Problem(
        code="provider_overloaded",
        message="The provider is overloaded, as scripted.",
        retryable=True,
        retry_after=0.5,
    )
    published = Deltas(count=2, sha256=hashlib.sha256(b"one").hexdigest())
    assert text_of(events) == "one"
    assert first == failed(
        overloaded, Usage(input=1, output=1, quality="partial_stream"), published
    )
    assert isinstance(second, FinishGeneration)


async def test_words_come_apart_by_the_delay_and_the_deadline_cuts_them():
    script = Scripted(responses=["one two"], delay_ms=60_000)
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    async with generating() as generator:
        item = work(script, deadline=timedelta(seconds=0.2))
        result = await generator.run(item, emit)

    assert text_of(events) == "one"
    assert isinstance(result, FailGeneration)
    assert result.problem.code == "timeout"
