"""Three nats-servers of our own: they start, agree, and outlive the loss of one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.errors import ConfigError, FencedError, UnavailableError
from bus.ports import Journal, StoredMessage
from bus.server import EmbeddedCluster, settings
from bus.server.cluster import SIZE, Ports, node_name, ports_from
from bus.server.settings import ClusterMember
from bus.streams.api import JetStream
from bus.streams.provision import differences, provision
from bus.streams.spec import StreamSpec, stream_specs
from bus.subjects import journal_subject
from bus.testing import NatsWorld
from tests.architecture.tree import ROOT
from tests.chaos.minority import journal_at, leader_of
from tests.chaos.routes import Cut, open_routes
from tests.integration.waiting import until
from tests.running import cluster_port, free_port

SUBJECT = journal_subject("execution", 0)
SCRIPT = ROOT / "deploy" / "cluster" / "run.py"
SECONDS = 60.0

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncGenerator[EmbeddedCluster]:
    async with EmbeddedCluster(tmp_path) as running:
        yield running


async def test_streams_on_it_have_three_copies_and_every_setting_asked_for(
    cluster: EmbeddedCluster,
):
    async with NatsWorld(cluster, ("execution",)).process() as bus:
        listed = await bus.jetstream.call("STREAM.LIST")
    configs = {info["config"]["name"]: info["config"] for info in listed["streams"]}
    specs = stream_specs(("execution",), Timing())

    assert {spec.name: differences(spec.settings("r3"), configs[spec.name]) for spec in specs} == {
        spec.name: {} for spec in specs
    }
    assert {config["num_replicas"] for config in configs.values()} == {SIZE}


async def test_processes_that_start_at_once_wherever_they_connect_all_find_their_streams(
    cluster: EmbeddedCluster,
):
    """Each asks for another first sequence, so that only one of them can be given it."""

    async def start(number: int) -> None:
        address = NatsAddress(urls=(cluster.urls[number % SIZE],), name=f"process {number}")
        async with connect(address) as transport:
            for spec in specs:
                first = 1000 * number
                await provision(JetStream(transport), [spec], "r3", first_sequence=first)

    for turn in range(4):
        specs = [
            StreamSpec(
                name=f"S{turn}-{n}", subjects=(f"s.{turn}.{n}",), max_bytes=1024**2, dated=True
            )
            for n in range(3)
        ]
        async with anyio.create_task_group() as tasks:
            for number in range(1, 7):
                tasks.start_soon(start, number)


@pytest.mark.parametrize("lost", range(SIZE))
async def test_a_journal_goes_on_though_a_server_is_lost_and_comes_back(
    cluster: EmbeddedCluster, lost: int
):
    async with NatsWorld(cluster, ("execution",)).process() as bus:
        journal = bus.journal("execution")
        first = await journal.append(SUBJECT, b"1", expected=0)
        await cluster.nodes[lost].kill()
        second = await _appended(bus.journal("execution"), b"2", first)
        await cluster.start()
        third = await _appended(bus.journal("execution"), b"3", second)
        with pytest.raises(FencedError):
            await _appended(journal, b"x", second)

        stored = [message.data async for message in journal.read(SUBJECT, start=1)]

    assert stored == [b"1", b"2", b"3"]
    assert (first, second, third) == (1, 2, 3)


async def test_a_taken_port_is_said_and_leaves_no_server_behind(
    cluster: EmbeddedCluster, tmp_path: Path
):
    taken = cluster.nodes[1].port
    ports = [Ports(free_port(), free_port()) for _ in range(SIZE)]
    ports[1] = ports[1]._replace(client=taken)
    other = EmbeddedCluster(tmp_path / "other", ports=ports)

    with pytest.raises(ConfigError, match=f"port {taken} "):
        async with other:
            pass

    assert [node.pid for node in other.nodes] == [None] * SIZE


@pytest.mark.parametrize("cut", ["silent", "broken"])
async def test_a_leader_that_is_cut_off_from_the_others_acknowledges_nothing_and_yields_to_them(
    tmp_path: Path, cut: Cut
):
    async with (
        open_routes() as routes,
        EmbeddedCluster(tmp_path, ports=routes.ports, routes=routes.reached) as cluster,
        NatsWorld(cluster, ("execution",)).process() as bus,
    ):
        first = await bus.journal("execution").append(SUBJECT, b"before", expected=0)
        leader = await leader_of(bus, "execution")
        others = [node for number, node in enumerate(cluster.nodes) if number != leader]
        async with (
            journal_at(cluster.nodes[leader]) as minority,
            journal_at(others[0]) as majority,
        ):
            routes.isolate(leader, cut)
            with pytest.raises(UnavailableError):
                await minority.append(SUBJECT, b"of the minority", expected=first)
            second = await _appended(majority, b"of the majority", first)
            routes.heal(leader)
            await cluster.agreed()
            with pytest.raises(FencedError):
                await _appended(minority, b"of the minority, again", first)

        stored = await _read_up_to(bus.journal("execution"), second)

    assert stored == [b"before", b"of the majority"]
    assert first < second


async def _read_up_to(journal: Journal, newest: int) -> list[bytes]:
    """Read all, again while a server answers that has not yet learned what it was cut off from."""
    with anyio.fail_after(SECONDS):
        while True:
            stored = [message async for message in journal.read(SUBJECT, start=1)]
            if stored[-1].sequence >= newest:
                return [message.data for message in stored]
            await anyio.sleep(0.05)


async def _appended(journal: Journal, data: bytes, expected: int) -> int:
    """Append, however long the election of a leader takes; return the sequence."""
    with anyio.fail_after(SECONDS):
        while True:
            try:
                return await journal.append(SUBJECT, data, expected=expected)
            except UnavailableError:
                await anyio.sleep(0.05)
            except FencedError:
                newest = await _newest(journal)
                if newest is None or newest.data != data:
                    raise
                return newest.sequence


async def _newest(journal: Journal) -> StoredMessage | None:
    """Read the newest message; a server that was cut off answers when it knows its leader."""
    while True:
        try:
            return await journal.last(SUBJECT)
        except UnavailableError:
            await anyio.sleep(0.05)


# What is there for people


def _settings_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*(\w+): *(.+?) *$", text, re.MULTILINE))


@pytest.mark.parametrize("number", range(1, SIZE + 1))
def test_the_files_for_people_say_what_our_own_servers_are_told(number: int):
    ports = ports_from(4222)
    member = ClusterMember(
        name=node_name(number),
        route_port=ports[number - 1].route,
        routes=[each.route for each in ports],
    )
    told = _settings_of(
        settings.render(
            host="127.0.0.1", port=ports[number - 1].client, data_dir=Path("d"), member=member
        )
    )
    file = ROOT / "deploy" / "cluster" / f"{node_name(number)}.conf"
    written = _settings_of(file.read_text(encoding="utf-8"))
    ours = {"http", "store_dir", "pid_file", "ports_file_dir", "log_file", *settings.LOG}

    assert {name: told[name] for name in told if name not in ours} == {
        name: written[name] for name in written if name not in ("http", "store_dir")
    }


async def test_the_script_runs_a_cluster_on_which_a_fleet_starts_and_stops_it_cleanly(
    tmp_path: Path,
):
    port = cluster_port()
    command = [sys.executable, str(SCRIPT), "--port", str(port), "--data", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    async with await anyio.open_process(
        command, cwd=tmp_path, env=environment, stderr=subprocess.STDOUT
    ) as script:
        said = await _said(script, "callboard up")
        pids = [int(pid) for pid in re.findall(r"process (\d+)", said)]
        os.kill(pids[1], signal.SIGKILL)
        said = await _said(script, "is back")
        script.send_signal(signal.SIGINT)
        with anyio.fail_after(SECONDS):
            assert await script.wait() == 0

    assert len(pids) == SIZE
    assert "callboard-2 is back" in said
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def _said(script: Process, words: str) -> str:
    """Return what a program has printed once certain words are among it."""
    printed = ""
    assert script.stdout is not None
    with anyio.fail_after(SECONDS):
        while words not in printed:
            printed += (await script.stdout.receive()).decode()
    return printed
