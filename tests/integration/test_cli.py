"""The command line against a real fleet: everything a person or a script does with it."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors.cli.secrets import EXAMPLE
from bus.client import Client, follow
from bus.codec import encode
from bus.connection import NatsAddress, connect
from bus.ids import new_id
from schemas.executions import ExecuteAgent, ExecutionHandle
from schemas.streams import Completed, ContentChunk, StreamEvent
from tests.architecture.readme import blocks, commands
from tests.architecture.test_requirements import exists
from tests.integration.waiting import until
from tests.price_lists import offer_file
from tests.providers_fake import answering, fake_provider
from tests.running import (
    READY_SECONDS,
    STOP_SECONDS,
    RunningFleet,
    environment,
    free_port,
    lives,
    started,
    started_on_cluster,
)
from tests.servers import ON_CLUSTER

LESS_THAN_A_DRAIN = 5.0

AGENTS = (Path(__file__).parent / "cli_agents.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """A fleet for all tests of the module, with its agents."""
    start = started_on_cluster if ON_CLUSTER else started
    with start(tmp_path_factory.mktemp("fleet")) as fleet:
        anyio.run(fleet.is_ready)
        fleet.run("agents", "apply", "-", text=AGENTS)
        yield fleet


def execution_of(fleet: RunningFleet, agent: str) -> str:
    listed = json.loads(fleet.run("executions", "list", "--agent", agent, "--json").stdout)
    return str(listed["executions"][0]["execution_id"])


@pytest.mark.single_server
def test_the_ready_file_names_the_bus_and_every_process(fleet: RunningFleet):
    summary = fleet.summary()
    assert summary["url"] == fleet.url
    light = ["agents.1", "identity.1", "mcp_pool.1", "pricing.1", "workflow.1"]
    assert sorted(fleet.pids()) == sorted([*light, "streaming.1", "streaming.2"])
    for pid in (summary["server_pid"], *fleet.pids().values()):
        os.kill(pid, 0)


async def test_the_fleet_says_that_agents_may_call_this_machine_in_json_beside_its_processes(
    fleet: RunningFleet,
):
    assert "fleet.loopback_allowed" in fleet.log
    # What a process says may come after it is known to be ready.
    name = '"name":"agents.1+pricing.1+mcp_pool.1+identity.1+workflow.1","at":'
    await until(lambda: name in fleet.log)
    assert fleet.summary()["metrics"].startswith("http://127.0.0.1:")


def test_doctor_finds_a_fleet_well_and_says_what_lacks(fleet: RunningFleet):
    well = fleet.run("doctor", "--wait", "20", "--expect", "agents=1,streaming=2").stdout
    assert "providers" in well
    missing = fleet.run("doctor", "--expect", "streaming=3", code=1).stdout
    assert "2 ready of 2 alive, 3 wanted" in missing


def test_an_answer_is_printed_and_the_execution_stored(fleet: RunningFleet):
    run_id = new_id()
    assert fleet.run("run", "echo", "hello", "--id", run_id).stdout == "one two three four five\n"
    answer = fleet.run("executions", "get", run_id, "--only", "output").stdout
    assert answer == "one two three four five\n"
    record = json.loads(fleet.run("executions", "get", run_id, "--json").stdout)
    assert (record["status"], record["task"]) == ("COMPLETED", "hello")


def test_the_same_id_is_the_same_run(fleet: RunningFleet):
    run_id = new_id()
    first = fleet.run("run", "echo", "hello", "--id", run_id, "--json").stdout
    assert fleet.run("run", "echo", "hello", "--id", run_id, "--json").stdout == first
    refused = fleet.run("run", "echo", "another task", "--id", run_id, code=1)
    assert refused.stderr.startswith("conflict: ")


def test_an_answer_that_begins_again_ends_whole(fleet: RunningFleet):
    done = fleet.run("run", "stumbler", "hello")
    assert done.stdout.endswith("\none two three four five\n")
    assert "begins again: provider_overloaded" in done.stderr


def test_a_failed_execution_is_a_failed_command_that_names_the_problem(fleet: RunningFleet):
    done = fleet.run("run", "broken", "hello", code=1)
    assert (done.stdout, done.stderr.splitlines()[-1].split(":")[0]) == ("", "unauthorized")


async def test_a_model_can_be_asked_without_an_agent(fleet: RunningFleet):
    async with fake_provider(answering("Hel", "lo")) as fake:
        options = ("--base-url", fake.base_url, "--system", "Be brief.", "--temperature", "0.5")
        asked = partial(fleet.run, "generate", "custom/m", "Greet me.", *options)
        assert (await anyio.to_thread.run_sync(asked)).stdout == "Hello\n"
        assert fake.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}
        assert fake.bodies[0]["temperature"] == 0.5
    refused = fleet.run("generate", "unheard/m", "x", code=1)
    assert refused.stderr.startswith("validation: ")


def test_how_the_called_providers_fare_is_listed(fleet: RunningFleet):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        host, port = nobody.getsockname()
    called = f"custom/unreachable@{host}:{port}"
    address = f"http://{host}:{port}/v1"
    fleet.run("generate", "custom/unreachable", "x", "--base-url", address, code=1)

    told = json.loads(fleet.run("provider", "list", "--json").stdout)
    failures = [
        state["failures"]
        for process in told
        for state in process["endpoints"]
        if state["endpoint"] == called
    ]
    assert sum(failures) > 0
    assert called in fleet.run("provider", "list").stdout


def test_a_stream_can_be_read_late_and_from_a_cursor(fleet: RunningFleet):
    fleet.run("run", "echo", "hello")
    execution = execution_of(fleet, "echo")
    events = [
        json.loads(line) for line in fleet.run("stream", execution, "--json").stdout.splitlines()
    ]
    assert events[-1]["type"] == "completed"
    cursor = f"{events[1]['segment']}.{events[1]['sequence']}"
    rest = fleet.run("stream", execution, "--after", cursor, "--json").stdout.splitlines()
    assert [json.loads(line) for line in rest] == events[2:]
    refused = fleet.run("stream", execution, "--after", "x", code=1).stderr
    assert refused.startswith("validation: ")
    assert "(after)" in refused


def test_an_execution_can_be_cancelled(fleet: RunningFleet):
    run_id = new_id()
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from actors.cli.commands import main; main()",
            "run",
            "slow",
            "x",
            "--id",
            run_id,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(fleet.url),
    ) as running:
        assert running.stdout is not None
        assert running.stdout.read(1) == "a"
        fleet.run("executions", "cancel", run_id, "--reason", "enough")
        _, errors = running.communicate(timeout=STOP_SECONDS)
    assert (running.returncode, errors) == (1, f"[execution {run_id}]\ncancelled: enough\n")


def test_definitions_are_read_listed_taken_out_of_service_and_deleted(fleet: RunningFleet):
    text = '{"id": "passing", "provider": {"type": "scripted", "responses": ["x"], "delay_ms": 0}}'
    file = fleet.folder / "passing.json"
    file.write_text(text, encoding="utf-8")
    assert fleet.run("agents", "apply", str(file), "--only", "version").stdout == "1\n"
    stored = json.loads(fleet.run("agents", "get", "passing", "--json").stdout)
    assert (stored["id"], stored["version"]) == ("passing", 1)
    toggled = fleet.run("agents", "toggle", "passing", "--status", "OFFLINE", "--only", "status")
    assert toggled.stdout == "OFFLINE\n"
    assert fleet.run("run", "passing", "x", code=1).stderr
    assert "IDLE" in fleet.run("agents", "toggle", "passing", code=2).stderr
    fleet.run("agents", "toggle", "passing", "--status", "IDLE")
    assert "passing" in fleet.run("agents", "list").stdout
    fleet.run("agents", "delete", "passing")
    assert "passing" not in fleet.run("agents", "list").stdout


def test_what_was_said_in_a_session_can_be_read(fleet: RunningFleet):
    session = new_id()
    fleet.run("run", "echo", "hello", "--session", session)
    found = json.loads(fleet.run("conversations", "get", "echo", session, "--json").stdout)
    assert [(turn["user"], turn["assistant"]) for turn in found["turns"]] == [
        ("hello", "one two three four five")
    ]
    assert session in fleet.run("conversations", "list", "echo").stdout


def test_a_problem_is_said_on_standard_error_with_its_field(fleet: RunningFleet):
    done = fleet.run("run", "nobody", "hello", code=1)
    assert done.stderr == "not_found: there is no agent nobody (agent_id)\n"
    assert "(id)" in fleet.run("agents", "apply", "-", text="id: a b", code=1).stderr


def test_every_shard_is_listed_with_its_owner(fleet: RunningFleet):
    fleet.run("run", "echo", "hello")
    rows = json.loads(fleet.run("shards", "--entity", "execution", "--json").stdout)
    (owner,) = (p["process"] for p in fleet.summary()["processes"] if p["actor"] == "agents")

    assert [(row["entity"], row["shard"]) for row in rows] == [
        ("execution", shard) for shard in range(16)
    ]
    assert {(row["state"], row["owner"]) for row in rows} == {("serving", owner)}
    assert all(row["commit"] and row["committed_at"] for row in rows)
    table = fleet.run("shards", "--entity", "execution").stdout
    assert table.count(owner) == 16


def test_no_letter_is_dead_in_a_healthy_fleet(fleet: RunningFleet):
    assert fleet.run("dead", "list", "--json").stdout == "[]\n"
    assert fleet.run("dead", "redrive", "7", code=1).stderr == "7: there is no such letter\n"


async def test_a_command_can_be_submitted_and_a_question_cannot(fleet: RunningFleet):
    run_id = new_id()
    line = ("agents", "execute", "echo", "--task", "hello", "--id", run_id, "--submit", "--json")
    receipt = json.loads((await fleet.told(*line)).stdout)
    assert receipt["subject"] == "cb.local.submit.agents.execute"
    assert receipt["sequence"] > 0
    with anyio.fail_after(STOP_SECONDS):
        while True:
            listed = await fleet.told("executions", "list", "--agent", "echo", "--json")
            if run_id in listed.stdout:
                break
            await anyio.sleep(0.05)
    refused = await fleet.told("agents", "list", "--submit", code=2)
    assert "No such option" in refused.stderr


async def test_a_dead_letter_is_handed_in_again_and_dead_no_more(fleet: RunningFleet):
    agent, execution = "latecomer", new_id()
    command = ExecuteAgent(agent_id=agent, task="hello", id=execution)
    async with connect(NatsAddress(urls=(fleet.url,), name="submitter")) as transport:
        ack = await transport.request("cb.local.submit.agents.execute", encode(command), timeout=10)
        assert b'"stream"' in ack.data
    found = await letters(fleet)
    with anyio.fail_after(STOP_SECONDS):
        while not found:
            found = await letters(fleet)
    [dead] = found
    assert dead["letter"]["subject"] == "cb.local.submit.agents.execute"
    assert dead["letter"]["reason"].startswith("not_found: ")

    unknown = await fleet.told("dead", "redrive", "1000000", code=1)
    assert unknown.stderr == "1000000: there is no such letter\n"
    text = f"id: {agent}\nprovider: {{type: scripted, responses: [better late], delay_ms: 0}}"
    await fleet.told("agents", "apply", "-", text=text)
    done = await fleet.told("dead", "redrive", str(dead["sequence"]))

    assert done.stdout == "1 found, 0 failed\n"
    assert await letters(fleet) == []
    assert (await fleet.told("stream", execution)).stdout == "better late\n"


async def letters(fleet: RunningFleet) -> list[dict[str, Any]]:
    return json.loads((await fleet.told("dead", "list", "--json")).stdout)


def test_the_contract_can_be_printed_without_a_fleet(fleet: RunningFleet):
    assert "cb.{tenant}.agents.execute" in fleet.run("subjects").stdout
    assert json.loads(fleet.run("schema", "asyncapi").stdout)["asyncapi"] == "3.0.0"
    assert "$defs" in json.loads(fleet.run("schema", "json").stdout)
    assert "CALLBOARD_TENANT" in fleet.run("config", "reference").stdout
    assert "acme-alice" in fleet.run("nats", "permissions", "acme:alice").stdout
    assert fleet.run("version").stdout


def test_without_a_fleet_a_command_says_how_to_start_one(fleet: RunningFleet):
    done = fleet.run("--url", f"nats://127.0.0.1:{free_port()}", "agents", "list", code=1)
    assert "callboard up" in done.stderr


@pytest.mark.single_server
def test_a_port_that_is_taken_is_named(fleet: RunningFleet):
    data = str(fleet.folder / "other")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from actors.cli.commands import main; main()",
            "up",
            "--port",
            str(fleet.port),
            "--data",
            data,
        ],
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
        env=environment(None),
    )
    assert done.returncode == 78
    assert f"port {fleet.port} of 127.0.0.1 is taken" in done.stderr


@pytest.mark.single_server
async def test_a_reader_follows_through_the_death_of_the_bus_and_of_a_worker(fleet: RunningFleet):
    events: list[StreamEvent] = []
    async with connect(NatsAddress(urls=(fleet.url,), name="test")) as transport:
        client = Client(transport)
        wanted = ExecuteAgent(agent_id="slow", task="x")
        handle: ExecutionHandle = await client.request("local", wanted)
        with anyio.fail_after(40):
            async with aclosing(follow(client, "local", handle.execution_id)) as stream:
                async for event in stream:
                    events.append(event)
                    if len([e for e in events if isinstance(e, ContentChunk)]) == 4:
                        os.kill(fleet.summary()["server_pid"], signal.SIGKILL)
    end = events[-1]
    assert isinstance(end, Completed)
    places = [(event.segment, event.sequence) for event in events]
    assert places == sorted(set(places))
    text = "".join(
        event.content
        for event in events
        if isinstance(event, ContentChunk) and event.segment == end.segment - 1
    )
    assert text == end.final_response


async def test_a_process_that_is_killed_is_started_again(fleet: RunningFleet):
    before = fleet.pids()
    os.kill(before["streaming.1"], signal.SIGKILL)
    await until(lambda: fleet.pids()["streaming.1"] != before["streaming.1"], seconds=STOP_SECONDS)
    os.kill(fleet.pids()["streaming.1"], 0)


@pytest.mark.single_server
async def test_a_fleet_ends_cleanly_and_leaves_nothing_behind(tmp_path: Path):
    with started(tmp_path) as fleet:
        await fleet.is_ready()
        pids = [fleet.summary()["server_pid"], *fleet.pids().values()]
        fleet.process.send_signal(signal.SIGINT)
        assert fleet.process.wait(STOP_SECONDS) == 0
    assert not fleet.ready_file.exists()
    assert not any(lives(pid) for pid in pids)


@pytest.mark.single_server
async def test_a_second_signal_kills_a_fleet_that_still_drains(tmp_path: Path):
    words = " ".join(["word"] * 600)
    text = f"id: endless\nprovider: {{type: scripted, responses: [{words}], delay_ms: 100}}"
    with started(tmp_path) as fleet:
        await fleet.is_ready()
        await fleet.told("agents", "apply", "-", text=text)
        async with connect(NatsAddress(urls=(fleet.url,), name="asker")) as transport:
            wanted = ExecuteAgent(agent_id="endless", task="go on")
            handle: ExecutionHandle = await Client(transport).request("local", wanted)
            async with aclosing(follow(Client(transport), "local", handle.execution_id)) as stream:
                await anext(stream)
        pids = [fleet.summary()["server_pid"], *fleet.pids().values()]

        fleet.process.send_signal(signal.SIGINT)
        await until(lambda: "fleet.stopping" in fleet.log)
        fleet.process.send_signal(signal.SIGINT)
        await until(lambda: fleet.process.poll() is not None, seconds=LESS_THAN_A_DRAIN)
    assert "fleet.killing" in fleet.log
    assert not fleet.ready_file.exists()
    assert not any(lives(pid) for pid in pids)


@pytest.mark.single_server
async def test_the_processes_of_a_killed_fleet_end(tmp_path: Path):
    with started(tmp_path) as fleet:
        await fleet.is_ready()
        pids = [fleet.summary()["server_pid"], *fleet.pids().values()]
        fleet.process.kill()
        fleet.process.wait(STOP_SECONDS)
        await until(lambda: not any(lives(pid) for pid in pids), seconds=STOP_SECONDS)


TRIED_ELSEWHERE = {
    "callboard up": (
        "tests/integration/test_cli.py::test_doctor_finds_a_fleet_well_and_says_what_lacks"
    ),
    "callboard up --replicas streaming=4 --replicas agents=2": (
        "tests/unit/fleet/test_plan.py::test_actors_and_their_numbers_can_be_chosen"
    ),
    "NATS_URL=nats://bus.example:4222 callboard up --actors streaming --replicas streaming=8": (
        "tests/unit/fleet/test_plan.py::test_actors_and_their_numbers_can_be_chosen"
    ),
    "CALLBOARD_DURABILITY=r3 NATS_URL=nats://127.0.0.1:4222,nats://127.0.0.1:4223,"
    "nats://127.0.0.1:4224 callboard up": (
        "tests/integration/test_cluster.py::"
        "test_the_script_runs_a_cluster_on_which_a_fleet_starts_and_stops_it_cleanly"
    ),
    "callboard local-model --port 11435": (
        "tests/unit/cli/test_agent_file.py::test_the_local_model_says_what_it_needs"
    ),
    "callboard mcp check notion": (
        "tests/integration/test_mcp_pool.py::"
        "test_questions_are_answered_by_a_server_that_the_pool_has_started"
    ),
    "callboard mcp login notes": (
        "tests/unit/cli/test_mcp_login.py::test_a_login_is_kept_and_forgotten"
    ),
    "OPENAI_ADMIN_KEY=… callboard costs reconcile openai --since 2026-11-01": (
        "tests/integration/test_reconciliation.py::"
        "test_the_command_says_what_differs_and_nothing_where_all_agree"
    ),
    "callboard provider check openai/gpt-4o-mini": (
        "tests/integration/test_conformance.py::test_a_sound_endpoint_passes_every_case"
    ),
    "callboard provider check anthropic/local --base-url http://127.0.0.1:8080 --only text"
    " --only usage": (
        "tests/integration/test_conformance.py::test_a_sound_endpoint_passes_every_case"
    ),
}
"""Lines of the guides that start fleets, or ask servers that are not of this machine."""


@pytest.mark.single_server
def test_every_command_that_the_guides_show_runs_as_it_is_shown(
    fleet: RunningFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greeter.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    (tmp_path / "secrets.yaml").write_text(EXAMPLE, encoding="utf-8")
    (tmp_path / "index.json").write_bytes(offer_file())
    (tmp_path / "server.yaml").write_text("id: notes\nserver: {url: 'http://127.0.0.1:9'}\n")
    shown = [line for line in commands() if "callboard " in line]

    assert [each for each in TRIED_ELSEWHERE.values() if not exists(each)] == []
    assert TRIED_ELSEWHERE.keys() <= set(shown)
    for line in shown:
        if line not in TRIED_ELSEWHERE:
            if "agents new" in line:
                (tmp_path / "greeter.yaml").unlink()
            fleet.run(*shlex.split(line.partition(" >")[0])[1:])
