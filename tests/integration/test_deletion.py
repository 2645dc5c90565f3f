"""Deleting, keeping for a time and finding again, on a real fleet and server."""

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from bus.connection import NatsAddress, connect
from bus.ids import new_id
from bus.jetstream.reading import StreamReader
from bus.streams.api import JetStream
from bus.streams.spec import CONVERSATIONS, LIVE, RECORDS
from tests.fleet import PlainClient, RunningFleet, running_fleet

SECRET = "heliotrope"
BRIEF = "brief"
"""A tenant whose executions are kept for three seconds."""


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    directory = tmp_path_factory.mktemp("fleet")
    quotas = directory / "quotas.yaml"
    quotas.write_text(f"{BRIEF}: {{retention_days: {3 / 86_400}}}", encoding="utf-8")
    async with running_fleet(directory, CALLBOARD_QUOTAS_FILE=str(quotas)) as fleet:
        yield fleet


@pytest.fixture
async def client(fleet: RunningFleet) -> AsyncGenerator[PlainClient]:
    async with fleet.client(f"tenant-{new_id()[-8:]}") as client:
        await client.script("greeter", "Hello.")
        yield client


async def execute(client: PlainClient, **more: Any) -> str:
    wanted = {"agent_id": "greeter", "task": f"What is {SECRET}?", **more}
    handle = await client.ask("agents.execute", wanted)
    assert "execution_id" in handle, handle
    await client.ended(handle["execution_id"])
    return handle["execution_id"]


async def places(fleet: RunningFleet, tenant: str) -> set[str]:
    """Return the subjects of a tenant under which the secret or a stream is stored."""
    found = set[str]()
    subjects = {
        RECORDS: f"cb.{tenant}.record.>",
        LIVE: f"cb.{tenant}.stream.*",
        CONVERSATIONS: f"_cb.conversation.{tenant}.>",
    }
    async with connect(NatsAddress(urls=fleet.server.urls, name="test")) as transport:
        reader = StreamReader(transport)
        for stream, subject in subjects.items():
            for read in await reader._read(stream, subject, 1, 100):
                if stream == LIVE or SECRET.encode() in read.data:
                    found.add(read.subject)
    return found


async def stored(fleet: RunningFleet, tenant: str, *executions: str) -> None:
    """Return when the records of executions are there: they follow a moment after the end."""
    records = {f"cb.{tenant}.record.{execution}" for execution in executions}
    with anyio.fail_after(20):
        while not await places(fleet, tenant) >= records:
            await anyio.sleep(0.05)


async def listed(client: PlainClient, **query: Any) -> list[str]:
    answer = await client.ask("executions.list", query)
    assert answer["total"] == len(answer["executions"])
    return [row["execution_id"] for row in answer["executions"]]


async def test_a_deleted_execution_is_gone_when_it_is_answered_and_under_the_next_owner(
    fleet: RunningFleet, client: PlainClient
):
    execution = await execute(client, session="s1")
    kept = await execute(client, session="s1")
    await stored(fleet, client.tenant, execution, kept)
    assert len(await places(fleet, client.tenant)) == 5
    wanted = {"execution_id": execution}

    assert await client.ask("executions.delete", wanted) == wanted

    left = await places(fleet, client.tenant)
    assert left == {
        f"cb.{client.tenant}.record.{kept}",
        f"cb.{client.tenant}.stream.{kept}",
        f"_cb.conversation.{client.tenant}.greeter.s1",
    }
    turns = await client.ask("conversations.get", {"agent_id": "greeter", "session": "s1"})
    assert [turn["execution_id"] for turn in turns["turns"]] == [kept]
    await fleet.kill("agents.0")
    await fleet.start("agents.0")
    await fleet.ready(2)
    for verb in ("executions.get", "executions.delete", "executions.cancel", "streams.read"):
        assert (await client.ask(verb, wanted))["code"] == "not_found", verb
    assert await listed(client) == [kept]
    await anyio.sleep(1)
    assert await places(fleet, client.tenant) == left


async def test_a_conversation_goes_with_its_executions_once_all_have_ended(
    fleet: RunningFleet, client: PlainClient
):
    session = {"agent_id": "greeter", "session": "s1"}
    for _ in range(3):
        await execute(client, session="s1")
    other = await execute(client, session="s2")
    await client.script("slow", "Well, well.", delay_ms=60_000)
    slow = await client.ask("agents.execute", {"agent_id": "slow", "task": "x", "session": "s3"})
    running = await client.ask("conversations.delete", {"agent_id": "slow", "session": "s3"})
    assert (running["code"], running["field"]) == ("conflict", "session")
    assert slow["execution_id"] in running["message"]
    await client.ask("executions.cancel", {"execution_id": slow["execution_id"]})
    await stored(fleet, client.tenant, other)

    answer = await client.ask("conversations.delete", session)

    assert answer == {**session, "executions": 3}
    assert await places(fleet, client.tenant) == {
        f"cb.{client.tenant}.record.{other}",
        f"cb.{client.tenant}.stream.{other}",
        f"cb.{client.tenant}.stream.{slow['execution_id']}",
        f"_cb.conversation.{client.tenant}.greeter.s2",
    }
    for verb in ("conversations.get", "conversations.delete"):
        assert (await client.ask(verb, session))["code"] == "not_found"
    sessions = await client.ask("conversations.list", {"agent_id": "greeter"})
    assert [row["session"] for row in sessions["conversations"]] == ["s2"]


async def test_what_a_tenant_keeps_for_a_time_goes_by_itself(fleet: RunningFleet):
    async with fleet.client(BRIEF) as client:
        await client.script("greeter", "Hello.")
        execution = await execute(client, session="s1")
        record = await client.ask("executions.get", {"execution_id": execution})
        assert record["expires_at"] > record["completed_at"]
        with anyio.fail_after(20):
            while await places(fleet, BRIEF) != {f"cb.{BRIEF}.stream.{execution}"}:
                await anyio.sleep(0.2)
        answer = await client.ask("executions.get", {"execution_id": execution})
        assert answer["code"] == "not_found"


async def test_executions_are_found_by_label_user_project_and_time(client: PlainClient):
    whose = {"user": "ann", "project": "spring", "labels": {"token": "t1", "stage": "draft"}}
    first = await execute(client, **whose)
    second = await execute(client, user="ann", labels={"token": "t2"})
    handle = await client.ask(
        "llm.generate",
        {
            "provider": {"type": "scripted", "responses": ["Hello."]},
            "messages": [{"role": "user", "content": "x"}],
            "labels": {"token": "t1"},
        },
    )
    third = handle["execution_id"]
    rows = (await client.ask("executions.list", {"limit": 1, "offset": 2}))["executions"]

    assert {name: rows[0][name] for name in whose} == whose
    assert await listed(client, user="ann") == [second, first]
    assert await listed(client, project="spring") == [first]
    assert await listed(client, labels={"token": "t1"}) == [third, first]
    assert await listed(client, labels={"token": "t1", "stage": "draft"}) == [first]
    assert await listed(client, labels={"token": "t1"}, user="bob") == []
    began = (await client.ask("executions.get", {"execution_id": second}))["created_at"]
    assert await listed(client, until=began) == [first]
    assert await listed(client, since=began, user="ann") == [second]


async def test_the_state_at_rest_is_replaced_by_a_tombstone(fleet: RunningFleet):
    tenant = f"tenant-{new_id()[-8:]}"
    async with fleet.client(tenant) as client:
        await client.script("greeter", "Hello.")
        execution = await execute(client)
        await client.ask("executions.delete", {"execution_id": execution})
    async with connect(NatsAddress(urls=fleet.server.urls, name="test")) as transport:
        states = StreamReader(transport)
        subject = f"_cb.ended.execution.*.{tenant}.{execution}"
        with anyio.fail_after(30):
            while not (found := await states.read_subject("JOURNAL_EXECUTION", subject, limit=1)):
                await anyio.sleep(0.1)
        assert SECRET.encode() not in found[0].data
        assert b"deleted_at" in found[0].data
        assert (await JetStream(transport).stream_info(CONVERSATIONS))["config"]["allow_msg_ttl"]
