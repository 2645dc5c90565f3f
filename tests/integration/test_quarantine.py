"""A journal poisoned by hand in every shard: the fleet serves, says so, and lets the damage go."""

import json
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from bus.codec import encode
from bus.connection import NatsAddress
from bus.jetstream import open_bus
from bus.subjects import journal_subject, shard_of
from schemas.journal import Commit, Entry
from schemas.lifecycle import Accepted, Origin
from schemas.llm import GenerateRequest
from schemas.providers import Scripted
from schemas.streams import Failed
from tests.contract.examples import example
from tests.fleet import RunningFleet
from tests.integration.test_journal_command import Commands
from tests.servers import PATIENCE, local_server

SHARDS = 16
AT = datetime(2026, 1, 2, tzinfo=UTC)
DEEP = b"[" * 972 + b"]" * 972

pytestmark = pytest.mark.single_server


def key_in(shard: int, prefix: str) -> str:
    names = (f"{prefix}{number}" for number in range(10_000))
    return next(name for name in names if shard_of("local", name, SHARDS) == shard)


def entry(key: str, *events: bytes, n: int = 2, **more: Any) -> Entry:
    """Return the ``n``-th entry of an execution, in the commit of the same number."""
    raws, place = [msgspec.Raw(event) for event in events], {"n": n, "after": n - 1}
    return Entry(tenant="local", key=key, command=key, kind="accept", events=raws, **place, **more)


def accepted(key: str) -> bytes:
    origin = msgspec.structs.replace(example(Origin), tenant="local", execution_id=key)
    request = GenerateRequest(provider=Scripted(responses=["x"]), messages=[])
    plain = json.loads(encode(example(Accepted)))
    plain |= {"origin": json.loads(encode(origin)), "request": json.loads(encode(request))}
    return encode(plain)


def poison(shard: int) -> list[bytes]:
    """Return the commits of a shard: an execution that is sound, and damage of another one."""
    bad = key_in(shard, "bad")
    sound = Commit(n=1, epoch=1, turn="t", at=AT, entries=[entry(bad, accepted(bad), n=1)])
    damaged = [
        entry(bad, b'{"type":"answered","k":%b}' % DEEP),
        entry(bad, b'{"type":"forgotten"}'),
        entry(bad, blob="0" * 64),
        entry(bad, b'{"type":"accepted","origin":7}'),
    ][shard % 4]
    commits = [sound, Commit(n=2, epoch=1, turn="t2", at=AT, entries=[damaged])]
    return [*map(encode, commits), *([b"garbage"] if shard % 2 else [])]


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    async with local_server(directory / "data") as server:
        address = NatsAddress(urls=server.urls, name="test")
        async with open_bus(address, entities=["execution"], durability=server.durability) as bus:
            journal = bus.journal("execution")
            for shard in range(SHARDS):
                expected = 0
                for data in poison(shard):
                    subject = journal_subject("execution", shard)
                    expected = await journal.append(subject, data, expected=expected)
        environ = {"NATS_URL": server.url, "CALLBOARD_DURABILITY": server.durability}
        fleet = RunningFleet(server, {**os.environ, **environ}, directory)
        try:
            for name in ("agents.0", "streaming.0", "pricing.0"):
                await fleet.start(name)
            await fleet.ready(3)
            yield fleet
        finally:
            await fleet.stop()


@pytest.fixture(scope="module")
def commands(fleet: RunningFleet) -> Commands:
    return Commands(fleet.server.url, tenant="local", shards=SHARDS)


async def test_poisoned_shards_are_served_and_what_is_corrupt_is_said(
    fleet: RunningFleet, commands: Commands
):
    async with fleet.client() as client:
        for shard in range(SHARDS):
            good = key_in(shard, "good")
            wanted = {
                "id": good,
                "provider": {"type": "scripted", "responses": ["hi"], "delay_ms": 0},
                "messages": [{"role": "user", "content": "x"}],
            }
            assert (await client.ask("llm.generate", wanted)).get("status") == "PENDING"
            assert (await client.ended(good))["status"] == "COMPLETED"
            named = {"execution_id": key_in(shard, "bad")}
            ended = await client.ask("executions.get", named)
            assert (ended.get("status"), ended["error"]["code"]) == ("FAILED", "corrupt")
            assert (await client.ask("executions.cancel", named)).get("status") == "FAILED"

    expected = "--expect", "agents=1,streaming=1"
    well = (await commands.run("doctor", "--wait", "20", *expected)).stdout
    assert f"{SHARDS} of {SHARDS} served; {SHARDS} entities are corrupt" in well
    rows = await commands.json("shards", "--entity", "execution", "--json")
    assert [row["corrupt"] for row in rows] == [1] * SHARDS
    letters = await commands.json("dead", "list", "--json")
    assert len(letters) == SHARDS


async def test_subscribers_of_a_corrupt_execution_get_an_end(fleet: RunningFleet):
    async with fleet.client() as client:
        *_, end = await client.events(key_in(0, "bad"))
    assert isinstance(end, Failed)
    assert end.error.code == "corrupt"


async def test_damage_is_shown_and_skipped_for_good(fleet: RunningFleet, commands: Commands):
    bad = key_in(2, "bad")
    moments = await commands.json("journal", "show", "execution", bad, "--json")
    assert any(moment.get("corrupt") for moment in moments)
    assert "corrupt" in (await commands.run("journal", "show", "execution", bad)).stdout

    assert "goes on" in (await commands.run("journal", "skip", "execution", bad)).stdout
    await commands.run("journal", "skip", "execution", bad, code=1)
    await fleet.kill("agents.0")
    await fleet.start("agents.1")
    await fleet.ready(3)
    async with fleet.client() as client:
        for key in (bad, key_in(3, "bad")):
            ended = await client.ask("executions.get", {"execution_id": key})
            assert ended["error"]["code"] == "corrupt"
    rows = await commands.json("shards", "--entity", "execution", "--json")
    assert [row["corrupt"] for row in rows] == [int(row["shard"] != 2) for row in rows]


async def test_doctor_fails_while_nobody_serves_the_shards(fleet: RunningFleet, commands: Commands):
    for name in [name for name in fleet.processes if name.startswith("agents")]:
        await fleet.drain(name)
    await anyio.sleep(PATIENCE)
    failed = await commands.run("doctor", "--expect", "agents=1,streaming=1", code=1)
    assert "nobody serves execution.0" in failed.stdout
