"""Every public command is submitted to a real fleet: carried out, or refused in an event."""

import sys
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from bus.ids import new_id
from bus.streams.spec import inbox_stream
from bus.subjects import fill
from schemas import catalog
from schemas.identity import OPERATOR_ACTIONS
from tests.contract.examples import example
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.servers import PATIENCE

SECONDS = 20.0 * PATIENCE

SCRIPT = {"type": "scripted", "responses": ["hi"], "delay_ms": 0}

ROOT = Path(__file__).parents[2]
FIND = {"words": "glossary"}
ASKING = {
    "type": "scripted",
    "delay_ms": 0,
    "responses": [{"calls": [{"name": "find_section", "arguments": FIND}]}, "Done."],
}

FLOW: dict[str, Any] = {
    "places": [
        {"id": "a", "type": "initial"},
        {"id": "w", "type": "waiting"},
        {"id": "h"},
        {"id": "p"},
        {"id": "z", "type": "terminal"},
    ],
    "transitions": [
        {"id": "split", "from_places": ["a"], "to_places": ["w", "h", "p"]},
        {"id": "end", "from_places": ["w"], "to_place": "z", "manual": True},
        {
            "id": "ask",
            "from_places": ["h"],
            "to_place": "z",
            "action": {"type": "human", "title": "Look"},
        },
        {
            "id": "try",
            "from_places": ["p"],
            "to_place": "z",
            "action": {"type": "agent", "agent_id": "nobody", "task": "t"},
            "on_error": {"then": "pause"},
        },
    ],
}
"""A manual transition, a person who is asked (firing 4), and an agent that is not there (5)."""

INSTANCES = ["fired", "filled", "told", "replied", "stopped", "held", "retried", "skipped"]

SOUND: dict[str, dict[str, Any]] = {
    "agents.apply": {"id": "applied", "provider": SCRIPT},
    "agents.create": {"id": "created", "provider": SCRIPT},
    "templates.apply": {"id": "form", "agent": {"provider": SCRIPT}},
    "templates.delete": {"id": "doomed"},
    "agents.update": {"id": "standing", "description": "changed"},
    "agents.toggle": {"id": "standing", "status": "OFFLINE"},
    "agents.delete": {"id": "condemned"},
    "agents.execute": {"agent_id": "working", "task": "t", "id": "executed"},
    "llm.generate": {
        "provider": SCRIPT,
        "messages": [{"role": "user", "content": "t"}],
        "id": "generated",
    },
    "executions.cancel": {"execution_id": "endless", "reason": "enough"},
    "executions.delete": {"execution_id": "over"},
    "conversations.delete": {"agent_id": "working", "session": "over"},
    "budgets.set": {"id": "set", "limit_pico": 10**12},
    "budgets.remove": {"id": "old"},
    "budgets.top_up": {"id": "up", "budget_id": "standing", "amount_pico": 10**9},
    "budgets.adjust": {
        "id": "down",
        "budget_id": "standing",
        "amount_pico": 10**9,
        "reason": "a mistake",
    },
    "limits.set": {"requests_per_hour": 1000},
    "tools.call": {"server": "guide", "tool": "find_section", "arguments": FIND, "id": "called"},
    "executions.approve": {"execution_id": "allowed", "call_id": "call_0_0"},
    "executions.reject": {"execution_id": "forbidden", "call_id": "call_0_0"},
    "mcp.servers.apply": {"id": "known", "server": {"url": "http://127.0.0.1:9/mcp"}},
    "mcp.servers.delete": {"id": "gone"},
    "workflows.apply": {"id": "drawn", "net": FLOW},
    "workflows.delete": {"id": "dropped"},
    "workflows.start": {"workflow_id": "flow", "id": "begun"},
    "workflows.fire": {"instance_id": "fired", "transition": "end"},
    "workflows.put_token": {"instance_id": "filled", "place": "w"},
    "workflows.update_token": {"instance_id": "told", "token": "1", "data": {"n": 1}},
    "workflows.signal": {"instance_id": "told", "subject": "crm.lead"},
    "workflows.answer": {"instance_id": "replied", "firing": "4"},
    "workflows.cancel": {"instance_id": "stopped"},
    "workflows.suspend": {"instance_id": "held"},
    "workflows.resume": {"instance_id": "told"},
    "workflows.migrate": {"instance_id": "told"},
    "workflows.retry": {"instance_id": "retried", "firing": "5"},
    "workflows.skip": {"instance_id": "skipped", "firing": "5"},
    "workflows.fork": {"instance_id": "told", "at": 1, "id": "forked"},
    "members.invite": {"id": "eve", "role": "MEMBER"},
    "members.set_role": {"id": "ann", "role": "ADMIN"},
    "members.remove": {"id": "bob"},
    "keys.revoke": {"id": ""},
}
"""A body of each command that the tenant of ``prepared`` can have carried out."""

COMMANDS = {
    row.name: row
    for row in catalog.requests()
    if row.submit is not None and row.action not in OPERATOR_ACTIONS
}


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    """Two processes that read inboxes, one that owns accounts, and one that calls tools."""
    folder = tmp_path_factory.mktemp("fleet")
    server = ROOT / "deploy/examples/lookup/server.py"
    command = [sys.executable, str(server), str(ROOT / "bus/README.md")]
    servers = folder / "servers.json"
    servers.write_bytes(msgspec.json.encode({"guide": {"command": command}}))
    async with running_fleet(folder, agents=2, MCP_SERVERS_FILE=str(servers)) as fleet:
        await fleet.start("pricing.0")
        await fleet.start("mcp_pool.0")
        await fleet.start("workflow.0")
        await fleet.start("identity.0")
        await fleet.ready(7)
        yield fleet


@pytest.fixture
async def prepared(client: PlainClient) -> PlainClient:
    """A tenant with what its commands are about."""
    for agent in ("standing", "condemned", "working"):
        await client.script(agent, "hi")
    await client.script("slow", *["word " * 400], delay_ms=50)
    await client.ask("agents.execute", {"agent_id": "slow", "task": "t", "id": "endless"})
    await client.ask("templates.apply", {"id": "doomed", "agent": {"provider": SCRIPT}})
    for over in ({"id": "over"}, {"id": "turn", "session": "over"}):
        await client.ask("agents.execute", {"agent_id": "working", "task": "t", **over})
        await client.ended(over["id"])
    await client.ask("mcp.servers.apply", {"id": "gone", "server": {"url": "http://127.0.0.1:9"}})
    await client.reached("guide")
    tools = [{"server": "guide", "requires_approval": True}]
    asker = await client.ask("agents.apply", {"id": "asker", "provider": ASKING, "tools": tools})
    assert asker.get("type") != "problem", asker
    for execution in ("allowed", "forbidden"):
        begun = {"agent_id": "asker", "task": "t", "id": execution}
        answer = await client.ask("agents.execute", begun)
        assert answer.get("type") != "problem", answer
        with anyio.fail_after(SECONDS):
            while await _status(client, execution) != "WAITING":
                await anyio.sleep(0.05)
    for workflow in ("flow", "dropped"):
        answer = await client.ask("workflows.apply", {"id": workflow, "net": FLOW})
        assert answer.get("type") != "problem", answer
    for instance in INSTANCES:
        await client.ask("workflows.start", {"workflow_id": "flow", "id": instance})
    for instance in ("retried", "skipped"):
        with anyio.fail_after(SECONDS):
            while await _phase(client, instance) != "paused":
                await anyio.sleep(0.05)
    for budget in ("old", "standing"):
        answer = await client.ask("budgets.set", {"id": budget, "limit_pico": 10**12})
        assert answer.get("type") != "problem", answer
    for member in ("ann", "bob"):
        await client.ask("members.invite", {"id": member, "role": "MEMBER"})
    made = await client.ask("keys.create", {"scopes": ["agents:read"]})
    SOUND["keys.revoke"] = {"id": made["key"]["id"]}
    return client


async def _phase(client: PlainClient, instance: str) -> str:
    run = await client.ask("workflows.get_run", {"instance_id": instance})
    return run["firings"][-1]["phase"]


async def _status(client: PlainClient, execution: str) -> str:
    return (await client.ask("executions.get", {"execution_id": execution}))["status"]


async def submit(client: PlainClient, name: str, body: bytes, **headers: str) -> Any:
    subject = f"cb.{client.tenant}.submit.{name}"
    return await client.nats.jetstream().publish(subject, body, timeout=SECONDS, headers=headers)


async def emptied(client: PlainClient, *, seconds: float = SECONDS) -> None:
    stream = inbox_stream(client.tenant)
    with anyio.fail_after(seconds):
        while (await client.nats.jetstream().stream_info(stream)).state.messages:
            await anyio.sleep(0.05)


def test_there_is_a_body_for_every_command_of_the_contract():
    assert SOUND.keys() == COMMANDS.keys()


async def test_every_command_that_is_submitted_is_carried_out(prepared: PlainClient):
    told = await prepared.nats.subscribe(f"cb.{prepared.tenant}.events.command.rejected.*")
    for name, body in SOUND.items():
        receipt = await submit(prepared, name, msgspec.json.encode(body))
        assert receipt.stream == inbox_stream(prepared.tenant)
    await emptied(prepared)

    assert told.pending_msgs == 0
    await _were_carried_out(prepared)


async def _were_carried_out(client: PlainClient) -> None:
    agents = {agent["id"]: agent for agent in (await client.ask("agents.list", {}))["agents"]}
    assert agents.keys() == {"applied", "created", "standing", "working", "slow", "asker"}
    workflows = (await client.ask("workflows.list", {}))["workflows"]
    assert [each["id"] for each in workflows] == ["drawn", "flow"]
    runs = (await client.ask("workflows.list_runs", {}))["runs"]
    assert {run["instance_id"] for run in runs} == {*INSTANCES, "begun", "forked"}
    assert [run["instance_id"] for run in runs if run["status"] == "CANCELLED"] == ["stopped"]
    templates = (await client.ask("templates.list", {}))["templates"]
    assert [template["id"] for template in templates] == ["form"]
    standing = await client.ask("agents.get", {"id": "standing"})
    assert (standing["description"], standing["status"]) == ("changed", "OFFLINE")
    assert (await client.ended("executed"))["status"] == "COMPLETED"
    assert (await client.ended("generated"))["status"] == "COMPLETED"
    assert (await client.ended("endless"))["status"] == "CANCELLED"
    assert (await client.ended("called"))["status"] == "COMPLETED"
    decided = [(await client.ended(each))["tools"] for each in ("allowed", "forbidden")]
    assert [call["outcome"] for [call] in decided] == ["ok", "declined"]
    servers = (await client.ask("mcp.servers.list", {}))["servers"]
    assert [server["id"] for server in servers] == ["guide", "known"]
    members = (await client.ask("members.list", {}))["members"]
    assert [(each["id"], each["role"]) for each in members] == [("ann", "ADMIN"), ("eve", "MEMBER")]
    [key] = (await client.ask("keys.list", {}))["keys"]
    assert key["revoked_at"] is not None
    for gone in ("over", "turn"):
        answer = await client.ask("executions.get", {"execution_id": gone})
        assert answer["code"] == "not_found"
    listed = await client.ask("budgets.list", {})
    budgets = {state["budget"]["id"]: state["balances"] for state in listed["budgets"]}
    assert budgets.keys() == {"cost-alert", "set", "standing"}
    [balance] = budgets["standing"]
    assert (balance["spent_pico"], balance["granted_pico"]) == (10**9, 10**9)
    assert [limits["requests_per_hour"] for limits in listed["limits"]] == [1000]


async def test_every_command_that_is_refused_says_so_in_an_event(client: PlainClient):
    told = await client.nats.subscribe(f"cb.{client.tenant}.events.command.rejected.*")
    await client.nats.flush()
    for name in COMMANDS:
        await submit(client, name, b'{"no_such_field": 1}')
    events = [
        msgspec.json.decode((await told.next_msg(SECONDS)).data) for _ in range(len(COMMANDS))
    ]
    await emptied(client)

    subjects = {f"cb.{client.tenant}.submit.{name}" for name in COMMANDS}
    assert {event["command"] for event in events} == subjects
    assert {event["error"]["code"] for event in events} == {"validation"}


async def test_every_question_that_is_submitted_is_rejected(client: PlainClient):
    questions = [row for row in catalog.requests() if row.submit is None]
    told = await client.nats.subscribe(f"cb.{client.tenant}.events.command.rejected.*")
    await client.nats.flush()
    for row in questions:
        await submit(client, row.name, msgspec.json.encode(example(row.message)))
    for _ in questions:
        event = msgspec.json.decode((await told.next_msg(SECONDS)).data)
        assert "question" in event["error"]["message"]
    await emptied(client)


async def test_every_command_without_a_reply_subject_is_carried_out(prepared: PlainClient):
    for name, body in SOUND.items():
        subject = fill(COMMANDS[name].subject, tenant=prepared.tenant)
        await prepared.nats.publish(subject, msgspec.json.encode(body))
    with anyio.fail_after(SECONDS):
        while True:
            try:
                return await _were_carried_out(prepared)
            except (AssertionError, KeyError):
                await anyio.sleep(0.2)


async def total(client: PlainClient) -> int:
    listed = await client.ask("executions.list", {"agent_id": "quick", "limit": 500})
    return int(listed["total"])


@pytest.mark.timeout(150 * PATIENCE)
async def test_readers_that_are_killed_lose_and_double_nothing(tmp_path: Path):
    """Commands go on being submitted while both readers die, one after the other."""
    async with (
        running_fleet(tmp_path, agents=2) as fleet,
        fleet.client(f"new-{new_id()[-6:]}") as client,
    ):
        await fleet.ready(3)
        await client.script("quick", "hi")
        changed = await client.nats.subscribe(f"cb.{client.tenant}.events.execution.accepted.*")
        ids: list[str] = []
        for n in range(240):
            body = {"agent_id": "quick", "task": f"{n}"}
            receipt = await submit(
                client, "agents.execute", msgspec.json.encode(body), **{"Nats-Msg-Id": f"m{n}"}
            )
            ids.append(f"{receipt.stream}-{receipt.seq}")
            if n in (80, 160):
                name = f"agents.{n // 160}"
                await fleet.kill(name)
                await fleet.start(name)
        # What a dead process had in hand is handed out again after half a minute.
        await emptied(client, seconds=60 * PATIENCE)
        heard: Counter[str] = Counter()
        with anyio.move_on_after(SECONDS):
            while len(heard) < len(ids):
                message = await changed.next_msg(SECONDS)
                heard[msgspec.json.decode(message.data)["execution_id"]] += 1
        assert len(heard) == len(set(ids)) == 240
        # Lists follow the journal by a moment.
        with anyio.fail_after(SECONDS):
            while await total(client) < 240:
                await anyio.sleep(0.05)
        assert await total(client) == 240
