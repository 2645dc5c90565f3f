"""Executions on a real fleet, seen by a plain NATS client."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from itertools import pairwise
from typing import Any

import anyio
import msgspec
import pytest
from nats.errors import NoRespondersError

from bus.client import Client, follow
from bus.connection import NatsAddress, connect
from bus.ids import new_id
from schemas.assembly import Assembly
from schemas.executions import MAX_TASK_CHARACTERS
from schemas.streams import TERMINAL_TYPES, AttemptRestarted, Completed, StreamEvent, Thinking
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.providers_fake import (
    answering,
    breaking,
    chunk,
    event,
    fake_provider,
    falling_silent,
    in_turn,
    refusing,
)


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    async with running_fleet(tmp_path_factory.mktemp("fleet"), agents=2, streaming=2) as fleet:
        yield fleet


@pytest.fixture
async def client(fleet: RunningFleet) -> AsyncGenerator[PlainClient]:
    async with fleet.client(f"tenant-{new_id()[-8:]}") as client:
        yield client


def assembled(events: list[StreamEvent]) -> Assembly:
    assembly = Assembly()
    for each in events:
        assembly.add(each)
    return assembly


async def test_an_execution_streams_completes_and_is_stored(client: PlainClient):
    await client.script("greeter", "Hello there, dear reader.", delay_ms=5)
    handle = await client.ask("agents.execute", {"agent_id": "greeter", "task": "Greet."})
    assert handle == {
        "execution_id": handle["execution_id"],
        "stream": f"cb.{client.tenant}.stream.{handle['execution_id']}",
        "status": "PENDING",
        "warnings": [],
    }

    record = await client.ended(handle["execution_id"])
    events = await client.events(handle["execution_id"])

    assert isinstance(events[0], Thinking)
    assert isinstance(events[-1], Completed)
    assert [(e.segment, e.sequence) for e in events] == sorted(
        (e.segment, e.sequence) for e in events
    )
    assert assembled(events).text == record["output"] == "Hello there, dear reader."
    assert record["status"] == "COMPLETED"
    assert (record["attempts"], record["task"], record["agent_id"]) == (1, "Greet.", "greeter")
    assert record["tokens_used"] == record["usage"]["input"] + record["usage"]["output"] > 0
    assert record["logs"][0]["message"] == "accepted"


async def test_events_arrive_live_on_the_stream_subject(client: PlainClient):
    await client.script("slow", "one two three four", delay_ms=30)
    execution = new_id()
    live = await client.nats.subscribe(f"cb.{client.tenant}.stream.{execution}")
    await client.nats.flush()
    await client.ask("agents.execute", {"agent_id": "slow", "task": "t", "id": execution})
    seen: list[StreamEvent] = []
    with anyio.fail_after(10):
        while not seen or not isinstance(seen[-1], TERMINAL_TYPES):
            message = await live.next_msg(10)
            seen.append(msgspec.json.decode(message.data, type=StreamEvent))
    assert assembled(seen).text == "one two three four"
    assert len(seen) >= 6


async def test_the_same_id_is_one_run_for_two_clients_at_once(
    fleet: RunningFleet, client: PlainClient
):
    await client.script("greeter", "first", "second", delay_ms=10)
    body = {"agent_id": "greeter", "task": "t", "id": "order-42"}
    answers: list[Any] = []

    async def ask(one: PlainClient) -> None:
        answers.append(await one.ask("agents.execute", body))

    async with fleet.client(client.tenant) as other, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask, client)
            tasks.start_soon(ask, other)
    assert {answer["execution_id"] for answer in answers} == {"order-42"}
    events = await client.events("order-42")
    assert sum(isinstance(each, TERMINAL_TYPES) for each in events) == 1
    assert (await client.ended("order-42"))["attempts"] == 1


async def test_the_same_id_with_another_request_is_a_conflict(client: PlainClient):
    await client.script("greeter", "hi")
    await client.ask("agents.execute", {"agent_id": "greeter", "task": "one", "id": "same"})
    refused = await client.ask(
        "agents.execute", {"agent_id": "greeter", "task": "two", "id": "same"}
    )
    assert (refused["type"], refused["code"], refused["field"]) == ("problem", "conflict", "id")


async def test_a_stream_is_read_from_any_cursor(client: PlainClient):
    await client.script("counter", " ".join(str(n) for n in range(40)))
    handle = await client.ask("agents.execute", {"agent_id": "counter", "task": "t"})
    execution = handle["execution_id"]
    events = await client.events(execution)
    for place, each in enumerate(events):
        page = await client.ask("streams.read", {"execution_id": execution, "after": each.cursor})
        assert len(page["events"]) == len(events) - place - 1
    paged: list[Any] = []
    cursor = None
    while True:
        question = {"execution_id": execution, "limit": 7} | ({"after": cursor} if cursor else {})
        page = await client.ask("streams.read", question)
        paged += page["events"]
        cursor = page["next"]
        if not page["more"]:
            break
    assert msgspec.convert(paged, list[StreamEvent]) == events
    places = [(each["segment"], each["sequence"]) for each in paged]
    assert all(one < other for one, other in pairwise(places))


async def test_two_hundred_clients_watch_one_stream(fleet: RunningFleet, client: PlainClient):
    """Ten on each of twenty connections."""
    await client.script("speaker", " ".join(["word"] * 30), delay_ms=5)
    execution, subject = new_id(), f"cb.{client.tenant}.stream."
    texts: list[str] = []

    async def watch(subscription: Any) -> None:
        assembly = Assembly()
        while assembly.terminal is None:
            message = await subscription.next_msg(20)
            assembly.add(msgspec.json.decode(message.data, type=StreamEvent))
        texts.append(assembly.text)

    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        for _ in range(20):
            watcher = await stack.enter_async_context(fleet.client(client.tenant))
            for _ in range(10):
                tasks.start_soon(watch, await watcher.nats.subscribe(subject + execution))
            await watcher.nats.flush()
        await client.ask("agents.execute", {"agent_id": "speaker", "task": "t", "id": execution})

    assert texts == [" ".join(["word"] * 30)] * 200


async def test_a_subscription_to_a_kind_of_event_or_to_one_execution_hears_just_that(
    client: PlainClient,
):
    await client.script("well", "hi")
    await client.script("ill", "hi", failures=[{"call": 0, "code": "unauthorized"}])
    heard: dict[str, list[str]] = {}

    async def note(message: Any) -> None:
        _, _, subject = message.subject.split(".", 2)
        heard.setdefault(subject, []).append(msgspec.json.decode(message.data)["type"])

    for subject in ("events.execution.completed.*", "events.execution.failed.*", "stream.one"):
        await client.nats.subscribe(f"cb.{client.tenant}.{subject}", cb=note)
    await client.nats.flush()
    for agent, name in (("well", "one"), ("ill", "two")):
        await client.ask("agents.execute", {"agent_id": agent, "task": "t", "id": name})
        await client.ended(name)
    with anyio.fail_after(10):
        while len(heard) < 3 or heard["stream.one"][-1] != "completed":
            await anyio.sleep(0.01)

    assert len(heard.pop("stream.one")) >= 2
    assert heard == {
        "events.execution.completed.one": ["execution.completed"],
        "events.execution.failed.two": ["execution.failed"],
    }


async def test_a_reader_slower_than_its_stream_misses_nothing_with_a_small_buffer(
    fleet: RunningFleet, client: PlainClient
):
    await client.script("speaker", " ".join(str(n) for n in range(80)), delay_ms=2)
    handle = await client.ask("agents.execute", {"agent_id": "speaker", "task": "t"})
    execution = handle["execution_id"]
    read: list[StreamEvent] = []
    address = NatsAddress(urls=(fleet.server.url,), name="slow-reader")
    async with connect(address) as transport:
        events = follow(Client(transport), client.tenant, execution, buffer_size=4)
        async with aclosing(events):
            async for each in events:
                if not read:
                    await client.ended(execution)
                read.append(each)
    assert read == await client.events(execution)


async def test_submitting_is_a_plain_publish_with_a_receipt(client: PlainClient):
    await client.script("greeter", "hi")
    command = msgspec.json.encode({"agent_id": "greeter", "task": "t"})
    receipt = await client.nats.jetstream().publish(
        f"cb.{client.tenant}.submit.agents.execute", command
    )
    record = await client.ended(f"{receipt.stream}-{receipt.seq}")
    assert (record["status"], record["output"]) == ("COMPLETED", "hi")


async def test_a_request_without_reply_subject_is_submitted(client: PlainClient):
    await client.script("greeter", "hi")
    body = {"agent_id": "greeter", "task": "t", "id": "fire-and-forget"}
    await client.nats.publish(f"cb.{client.tenant}.agents.execute", msgspec.json.encode(body))
    with anyio.fail_after(10):
        while (await client.ask("executions.get", {"execution_id": body["id"]})).get("code"):
            await anyio.sleep(0.02)
    assert (await client.ended("fire-and-forget"))["status"] == "COMPLETED"


async def test_a_refused_submission_is_told_and_laid_aside(client: PlainClient):
    told = await client.nats.subscribe(f"cb.{client.tenant}.events.command.rejected.*")
    await client.nats.flush()
    await client.nats.jetstream().publish(
        f"cb.{client.tenant}.submit.agents.execute", b'{"agent_id":"nobody","task":"t"}'
    )
    rejected = msgspec.json.decode((await told.next_msg(10)).data)
    assert (rejected["error"]["code"], rejected["error"]["field"]) == ("not_found", "agent_id")


async def test_cancelling_ends_an_execution_once(client: PlainClient):
    await client.script("endless", " ".join(["word"] * 500), delay_ms=50)
    handle = await client.ask("agents.execute", {"agent_id": "endless", "task": "t"})
    question = {"execution_id": handle["execution_id"], "reason": "enough"}
    cancelled = await client.ask("executions.cancel", question)
    again = await client.ask("executions.cancel", question)
    assert cancelled["status"] == again["status"] == "CANCELLED"
    events = await client.events(handle["execution_id"])
    ends = [each for each in events if isinstance(each, TERMINAL_TYPES)]
    assert [type(end).__name__ for end in ends] == ["Cancelled"]


async def test_an_execution_that_takes_too_long_times_out(client: PlainClient):
    provider = {"type": "scripted", "responses": ["word " * 500], "delay_ms": 50}
    await client.ask(
        "agents.apply", {"id": "slow", "provider": provider, "limits": {"timeout_seconds": 0.4}}
    )
    handle = await client.ask("agents.execute", {"agent_id": "slow", "task": "t"})
    record = await client.ended(handle["execution_id"])
    assert (record["status"], record["error"]["code"]) == ("TIMED_OUT", "timeout")


async def test_a_failed_attempt_is_retried_in_a_new_segment(client: PlainClient):
    failures = [{"call": 0, "code": "provider_overloaded", "after_words": 2}]
    await client.script("flaky", "one two three four", failures=failures)
    handle = await client.ask("agents.execute", {"agent_id": "flaky", "task": "t"})
    record = await client.ended(handle["execution_id"])
    events = await client.events(handle["execution_id"])
    assert (record["status"], record["attempts"]) == ("COMPLETED", 2)
    assert assembled(events).text == record["output"] == "one two three four"
    assert [each.dropped_segment for each in events if isinstance(each, AttemptRestarted)] == [1]


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ([refusing(401)], "unauthorized"),
        ([breaking(event(chunk("Half")))] * 3, "provider_error"),
    ],
    ids=["401", "cut off"],
)
async def test_provider_faults_end_in_a_typed_failure(
    client: PlainClient, faults: list[Any], code: str
):
    async with fake_provider(in_turn(*faults)) as fake:
        record = await run_against(client, fake.base_url, max_attempts=len(faults))
    assert (record["status"], record["error"]["code"]) == ("FAILED", code)
    assert record["output"] is None


async def test_a_provider_that_recovers_is_asked_again(client: PlainClient):
    faults = in_turn(refusing(429), refusing(500), answering("All", " good"))
    async with fake_provider(faults) as fake:
        record = await run_against(client, fake.base_url, max_attempts=4)
    assert (record["status"], record["output"], record["attempts"]) == ("COMPLETED", "All good", 3)


async def test_nobody_listening_is_a_typed_failure(client: PlainClient):
    record = await run_against(client, "http://127.0.0.1:1/v1", max_attempts=1)
    assert (record["status"], record["error"]["code"]) == ("FAILED", "unavailable")


async def test_cancelling_closes_the_provider_connection(client: PlainClient):
    async with fake_provider(falling_silent(event(chunk("Half")))) as fake:
        await apply_custom(client, fake.base_url, 1)
        handle = await client.ask("agents.execute", {"agent_id": "remote", "task": "t"})
        with anyio.fail_after(10):
            while not fake.bodies:
                await anyio.sleep(0.01)
            await client.ask("executions.cancel", {"execution_id": handle["execution_id"]})
            await fake.abandoned.wait()


async def apply_custom(client: PlainClient, base_url: str, max_attempts: int) -> None:
    provider = {"type": "custom", "model": "fake", "base_url": base_url}
    limits = {"max_attempts": max_attempts}
    applied = {"id": "remote", "provider": provider, "limits": limits}
    answer = await client.ask("agents.apply", applied)
    assert answer.get("type") != "problem", answer


async def run_against(client: PlainClient, base_url: str, *, max_attempts: int) -> Any:
    await apply_custom(client, base_url, max_attempts)
    handle = await client.ask("agents.execute", {"agent_id": "remote", "task": "t"})
    return await client.ended(handle["execution_id"], timeout=25)


@pytest.mark.parametrize(
    ("verb", "body", "code", "field"),
    [
        ("agents.execute", b"{not json", "validation", None),
        ("agents.execute", b"[]", "validation", None),
        ("agents.execute", {"agent_id": "a"}, "validation", "task"),
        ("agents.execute", {"agent_id": "a", "task": 5}, "validation", "task"),
        ("agents.execute", {"agent_id": "a.b", "task": "t"}, "validation", "agent_id"),
        ("agents.execute", {"agent_id": "*", "task": "t"}, "validation", "agent_id"),
        ("agents.execute", {"agent_id": "a b", "task": "t"}, "validation", "agent_id"),
        ("agents.execute", {"agent_id": "a\n", "task": "t"}, "validation", "agent_id"),
        ("agents.execute", {"agent_id": "a", "task": "t", "id": ">"}, "validation", "id"),
        ("agents.execute", {"agent_id": "a", "task": "t", "nope": 1}, "validation", "nope"),
        ("agents.execute", {"agent_id": "ghost", "task": "t"}, "not_found", "agent_id"),
        (
            "agents.execute",
            {"agent_id": "a", "task": "t", "max_tokens": 0},
            "validation",
            "max_tokens",
        ),
        (
            "agents.execute",
            {"agent_id": "a", "task": "x" * (MAX_TASK_CHARACTERS * 10)},
            "validation",
            "task",
        ),
        ("executions.get", {"execution_id": "ghost"}, "not_found", "execution_id"),
        ("executions.cancel", {"execution_id": "ghost"}, "not_found", "execution_id"),
        ("streams.read", {"execution_id": "ghost"}, "not_found", "execution_id"),
        ("streams.read", {"execution_id": "x", "after": "soon"}, "validation", "after"),
        ("executions.list", {"limit": 100_000}, "validation", "limit"),
    ],
)
async def test_bad_input_is_refused_and_names_the_field(
    client: PlainClient, verb: str, body: Any, code: str, field: str | None
):
    refused = await client.ask(verb, body)
    assert (refused["type"], refused["code"], refused.get("field")) == ("problem", code, field)
    assert (await client.ask("executions.list", {}))["total"] == 0


async def test_a_hostile_tenant_reaches_nobody(client: PlainClient):
    with pytest.raises(NoRespondersError):
        await client.nats.request("cb.a.b.agents.execute", b"{}", timeout=2)


async def test_executions_are_listed_by_status_and_agent(client: PlainClient):
    await client.script("one", "hi")
    await client.script("two", "hi")
    for agent in ("one", "one", "two"):
        handle = await client.ask("agents.execute", {"agent_id": agent, "task": "t"})
        await client.ended(handle["execution_id"])
    with anyio.fail_after(10):
        while True:
            page = await client.ask("executions.list", {"status": "COMPLETED", "agent_id": "one"})
            if page["total"] == 2:
                break
            await anyio.sleep(0.02)
    assert len((await client.ask("executions.list", {"limit": 1}))["executions"]) == 1


async def test_a_session_remembers_what_was_said(client: PlainClient):
    async with fake_provider(answering("Nice to meet you.")) as fake:
        await apply_custom(client, fake.base_url, 1)
        for task in ("I am Ada.", "Who am I?"):
            body = {"agent_id": "remote", "task": task, "session": "s1"}
            handle = await client.ask("agents.execute", body)
            await client.ended(handle["execution_id"])
        said = [(each["role"], each["content"]) for each in fake.bodies[1]["messages"]]
    assert said == [
        ("user", "I am Ada."),
        ("assistant", "Nice to meet you."),
        ("user", "Who am I?"),
    ]
    listed = await client.ask("conversations.list", {"agent_id": "remote"})
    assert [row["session"] for row in listed["conversations"]] == ["s1"]


async def test_a_killed_worker_loses_nothing(fleet: RunningFleet, client: PlainClient):
    await client.script("steady", " ".join(str(n) for n in range(60)), delay_ms=40)
    handles = [
        await client.ask("agents.execute", {"agent_id": "steady", "task": "t"}) for _ in range(8)
    ]
    await client.nats.flush()
    await fleet.kill("streaming.0")
    records = [await client.ended(handle["execution_id"], timeout=30) for handle in handles]
    await fleet.start("streaming.0")
    assert {record["status"] for record in records} == {"COMPLETED"}
    for record in records:
        events = await client.events(record["execution_id"])
        assert assembled(events).text == record["output"] == " ".join(str(n) for n in range(60))
        assert sum(isinstance(each, TERMINAL_TYPES) for each in events) == 1


async def test_a_list_that_is_asked_for_after_a_reply_knows_of_it(client: PlainClient):
    await client.script("echo", "one two three four", delay_ms=500)
    begun: list[str] = []
    for number in range(10):
        handle = await client.ask("agents.execute", {"agent_id": "echo", "task": f"t{number}"})
        begun.insert(0, handle["execution_id"])
        page = await client.ask("executions.list", {"agent_id": "echo"})
        assert [row["execution_id"] for row in page["executions"]] == begun
        assert page["total"] == len(begun)
    cancelled = await client.ask("executions.cancel", {"execution_id": begun[0]})
    assert cancelled["status"] == "CANCELLED"
    page = await client.ask("executions.list", {"status": "CANCELLED"})
    assert [row["execution_id"] for row in page["executions"]] == begun[:1]
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = await client.ask("executions.list", {"limit": 4} | (cursor or {}))
        seen.extend(row["execution_id"] for row in page["executions"])
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == begun
    refused = await client.ask("executions.list", {"cursor": "nonsense"})
    assert (refused["code"], refused["field"]) == ("validation", "cursor")
    for execution in begun:
        await client.ask("executions.cancel", {"execution_id": execution})


async def test_the_end_of_an_execution_is_waited_for(client: PlainClient):
    await client.script("slow", "one two three", delay_ms=150)
    handle = await client.ask("agents.execute", {"agent_id": "slow", "task": "t"})
    execution = {"execution_id": handle["execution_id"]}
    early = await client.ask("executions.await", execution | {"timeout_seconds": 0})
    assert early["ended"] is False
    assert early["execution"]["status"] in {"PENDING", "RUNNING"}

    ended: list[dict[str, Any]] = []

    async def wait() -> None:
        ended.append(await client.ask("executions.await", execution))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            # Of both processes some, and more than one works on at once.
            for _ in range(300):
                tasks.start_soon(wait)
            # Nobody else is kept waiting by those.
            await client.ask("executions.get", execution)
    assert all(each["ended"] for each in ended)
    assert {each["execution"]["output"] for each in ended} == {"one two three"}
    again = await client.ask("executions.await", execution)
    assert again["execution"]["status"] == "COMPLETED"
    ghost = await client.ask("executions.await", {"execution_id": "ghost"})
    assert (ghost["code"], ghost["field"]) == ("not_found", "execution_id")


async def test_sessions_are_listed_by_agent_and_user_with_their_turns(client: PlainClient):
    for agent in ("one", "two"):
        await client.script(agent, "hi")
    talks = [("one", "s1", "ann"), ("one", "s1", "ann"), ("one", "s2", "bob"), ("two", "s1", "bob")]
    for agent, session, user in talks:
        body = {"agent_id": agent, "task": "t", "session": session, "user": user}
        handle = await client.ask("agents.execute", body)
        await client.ended(handle["execution_id"])

    async def listed(**query: Any) -> list[tuple[Any, ...]]:
        page = await client.ask("conversations.list", query)
        assert page["total"] == len(page["conversations"])
        keys = ("agent_id", "session", "user", "turns")
        return [tuple(row[key] for key in keys) for row in page["conversations"]]

    first, second, third = ("one", "s1", "ann", 2), ("one", "s2", "bob", 1), ("two", "s1", "bob", 1)
    assert await listed(agent_id="one") == [second, first]
    assert await listed(agent_id="two") == [third]
    assert await listed(agent_id="one", user="bob") == [second]
    assert await listed(agent_id="one", user="nobody") == []
