"""Large requests on a real fleet: stored once, read by every attempt, shown whole, then gone."""

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import msgspec
import pytest

from bus.connection import NatsAddress
from bus.ids import new_id
from bus.jetstream import NatsBus, open_bus
from bus.streams.spec import BLOBS, CONVERSATIONS
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.integration.waiting import SECONDS
from tests.providers_fake import answering, breaking, chunk, event, fake_provider, in_turn

LARGE = "A line of a long text, as somebody pasted it. " * 1200
JOURNAL = "JOURNAL_EXECUTION"


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    async with running_fleet(tmp_path_factory.mktemp("fleet"), agents=2, streaming=2) as fleet:
        yield fleet


@pytest.fixture
async def client(fleet: RunningFleet) -> AsyncGenerator[PlainClient]:
    async with fleet.client(f"tenant-{new_id()[-8:]}") as client:
        yield client


@pytest.fixture
async def bus(fleet: RunningFleet) -> AsyncGenerator[NatsBus]:
    async with open_bus(NatsAddress(urls=fleet.server.urls, name="test")) as on_nats:
        yield on_nats


async def bodies(bus: NatsBus, tenant: str) -> dict[str, int]:
    """Return the parts of bodies that are stored for a tenant."""
    pattern = f"_cb.blob.body.execution.*.{tenant}.>"
    info = await bus.jetstream.stream_info(BLOBS, subjects=pattern)
    return info["state"].get("subjects") or {}


async def gone(bus: NatsBus, tenant: str) -> None:
    with anyio.fail_after(SECONDS):
        while await bodies(bus, tenant):
            await anyio.sleep(0.1)


async def size(bus: NatsBus, stream: str) -> int:
    return int((await bus.jetstream.stream_info(stream))["state"]["bytes"])


def asking(base_url: str, task: str = LARGE, **more: Any) -> dict[str, Any]:
    provider = {"type": "openai", "model": "fake-1", "base_url": base_url}
    return {"provider": provider, "messages": [{"role": "user", "content": task}], **more}


async def agent(client: PlainClient, base_url: str, **more: Any) -> None:
    provider = {"type": "openai", "model": "fake-1", "base_url": base_url}
    answer = await client.ask("agents.apply", {"id": "reader", "provider": provider, **more})
    assert answer.get("type") != "problem", answer


async def test_a_large_request_is_answered_shown_whole_and_leaves_nothing_behind(
    client: PlainClient, bus: NatsBus
):
    before = await size(bus, JOURNAL)
    async with fake_provider(answering("Read.")) as fake:
        handle = await client.ask("llm.generate", asking(fake.base_url))
        record = await client.ended(handle["execution_id"])

    assert record["status"] == "COMPLETED", record
    assert record["task"] == LARGE
    assert fake.bodies[0]["messages"][-1]["content"] == LARGE
    # Neither the commits nor the states at rest hold the text.
    assert await size(bus, JOURNAL) - before < len(LARGE) / 4
    await gone(bus, client.tenant)
    # From here on the stored record has it.
    again = await client.ask("executions.get", {"execution_id": handle["execution_id"]})
    assert again["task"] == LARGE
    stored = await bus.records.last(f"cb.{client.tenant}.record.{handle['execution_id']}")
    assert stored is not None
    assert msgspec.json.decode(stored.data)["task"] == LARGE


async def test_a_large_task_stands_in_the_conversation_that_the_next_turn_reads(
    client: PlainClient, bus: NatsBus
):
    async with fake_provider(answering("Read.")) as fake:
        await agent(client, fake.base_url, memory={"strategy": "last_n"})
        for task in (LARGE, "And in short?"):
            wanted = {"agent_id": "reader", "task": task, "session": "s1"}
            handle = await client.ask("agents.execute", wanted)
            await client.ended(handle["execution_id"])

    found = await client.ask("conversations.get", {"agent_id": "reader", "session": "s1"})
    assert [turn["user"] for turn in found["turns"]] == [LARGE, "And in short?"]
    said = [message["content"] for message in fake.bodies[1]["messages"]]
    assert said == [LARGE, "Read.", "And in short?"]
    await gone(bus, client.tenant)
    assert await size(bus, CONVERSATIONS) > len(LARGE)


async def test_each_attempt_asks_the_same_whoever_makes_it(client: PlainClient):
    broken = breaking(event(chunk("Re")))
    async with fake_provider(in_turn(broken, answering("Read."))) as fake:
        handle = await client.ask("llm.generate", asking(fake.base_url))
        record = await client.ended(handle["execution_id"])

    assert (record["status"], record["attempts"]) == ("COMPLETED", 2)
    assert [body["messages"] for body in fake.bodies] == [fake.bodies[0]["messages"]] * 2
    assert fake.bodies[0]["messages"][-1]["content"] == LARGE


async def test_policy_and_settings_of_a_large_request_hold_as_well(client: PlainClient):
    fallback = {"type": "scripted", "responses": ["From the fallback."]}
    policy = {"fallbacks": [{"provider": fallback}]}
    async with fake_provider(breaking()) as fake:
        wanted = asking(fake.base_url, policy=policy, config={"temperature": 0.5})
        handle = await client.ask("llm.generate", wanted)
        record = await client.ended(handle["execution_id"])

    assert record["output"] == "From the fallback."
    assert record["provider"] == "scripted"
    assert fake.bodies[0]["temperature"] == 0.5


async def test_a_small_request_stores_no_body(client: PlainClient, bus: NatsBus):
    before = (await bus.jetstream.stream_info(BLOBS))["state"]["last_seq"]
    await client.script("greeter", "Hello.")
    wanted = {"agent_id": "greeter", "task": "Greet."}
    await client.ended((await client.ask("agents.execute", wanted))["execution_id"])

    assert (await bus.jetstream.stream_info(BLOBS))["state"]["last_seq"] == before


async def test_an_execution_whose_body_is_gone_fails_and_its_shard_is_served(
    client: PlainClient, bus: NatsBus
):
    held = {"type": "scripted", "responses": ["Hello."], "delay_ms": 100}
    wanted = asking("http://127.0.0.1:1", limits={"max_attempts": 4, "timeout_seconds": 40})
    handle = await client.ask("llm.generate", wanted)
    await bus.jetstream.call(
        f"STREAM.PURGE.{BLOBS}", {"filter": f"_cb.blob.body.execution.*.{client.tenant}.>"}
    )

    record = await client.ended(handle["execution_id"])

    assert record["status"] == "FAILED"
    assert record["error"]["code"] == "corrupt"
    assert LARGE[:40] not in str(record["error"])
    small = {"provider": held, "messages": [{"role": "user", "content": "Hi."}]}
    handle = await client.ask("llm.generate", small)
    assert (await client.ended(handle["execution_id"]))["status"] == "COMPLETED"


async def test_a_full_store_refuses_large_requests_alone(client: PlainClient, bus: NatsBus):
    config = (await bus.jetstream.stream_info(BLOBS))["config"]
    await bus.jetstream.call(f"STREAM.UPDATE.{BLOBS}", config | {"max_bytes": 20_000})
    try:
        with anyio.fail_after(SECONDS):
            # What is known of the room may be a second old.
            while "store" not in (await refused(client)).get("details", {}):
                await anyio.sleep(0.2)
        refusal = await refused(client)
        await client.script("greeter", "Hello.")
        handle = await client.ask("agents.execute", {"agent_id": "greeter", "task": "Greet."})
        record = await client.ended(handle["execution_id"])
    finally:
        await bus.jetstream.call(f"STREAM.UPDATE.{BLOBS}", config)

    assert (refusal["code"], refusal["retryable"]) == ("unavailable", True)
    assert record["status"] == "COMPLETED"


async def refused(client: PlainClient) -> Any:
    return await client.ask("llm.generate", asking("http://127.0.0.1:1"))


async def test_a_killed_fleet_goes_on_with_large_requests(fleet: RunningFleet, bus: NatsBus):
    async with fleet.client(f"tenant-{new_id()[-8:]}") as client:
        slow = in_turn(breaking(event(chunk("Re"))), answering("Read."))
        async with fake_provider(slow) as fake:
            handle = await client.ask("llm.generate", asking(fake.base_url))
            for name in ("agents.0", "streaming.0"):
                await fleet.kill(name)
                await fleet.start(name)
            record = await client.ended(handle["execution_id"])
            texts = {body["messages"][-1]["content"] for body in fake.bodies}
        assert (record["status"], record["task"], texts) == ("COMPLETED", LARGE, {LARGE})
        await gone(bus, client.tenant)
