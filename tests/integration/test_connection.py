"""Being let in, being sent away, and what is said about it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
import structlog

from bus.connection import NatsAddress, NatsTransport, client, connect
from bus.connection.client import ErrorLog
from bus.errors import ConfigError, UnavailableError
from bus.server import EmbeddedServer
from bus.server.embedded import find_server
from bus.testing import Server
from tests.integration.waiting import Inbox, until

CONFIG = """
listen: "127.0.0.1:-1"
ports_file_dir: {directory}
authorization {{ user: "{user}", password: "{password}" }}
"""


class GuardedServer:
    """A nats-server that asks for a user and password, and can be told of others."""

    def __init__(self, directory: Path) -> None:
        self._config = directory / "guarded.conf"
        self._directory = directory

    async def start(self, user: str, password: str) -> None:
        self._write(user, password)
        command = [str(find_server()), "-c", str(self._config)]
        self._process = await anyio.open_process(command, stderr=subprocess.DEVNULL)
        await until(lambda: bool(list(self._directory.glob("*.ports"))))
        await until(lambda: "}" in self._ports())
        self.port = self._ports().split('"nats://127.0.0.1:')[1].split('"')[0]

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()

    def url(self, user: str, password: str) -> str:
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"

    async def admit_only(self, user: str, password: str) -> None:
        self._write(user, password)
        await anyio.run_process(
            [str(find_server()), "--signal", f"reload={self._process.pid}"], check=True
        )

    def _write(self, user: str, password: str) -> None:
        text = CONFIG.format(directory=self._directory, user=user, password=password)
        self._config.write_text(text)

    def _ports(self) -> str:
        return next(self._directory.glob("*.ports")).read_text()


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncGenerator[GuardedServer]:
    server = GuardedServer(tmp_path)
    await server.start("fleet", "right")
    try:
        yield server
    finally:
        await server.stop()


@pytest.mark.single_server
async def test_a_user_and_password_in_the_url_are_used(guarded: GuardedServer):
    address = NatsAddress(urls=(guarded.url("fleet", "right"),), name="test")

    async with connect(address) as transport:
        assert transport.connected


@pytest.mark.parametrize("user", ["fleet:wrong@", ""])
@pytest.mark.single_server
async def test_a_user_who_is_refused_is_told_at_once_and_without_the_password(
    guarded: GuardedServer, user: str
):
    address = NatsAddress(
        urls=(f"nats://{user}127.0.0.1:{guarded.port}",), name="test", patience=60
    )

    with anyio.fail_after(10), pytest.raises(ConfigError) as caught:
        async with connect(address):
            pass

    assert caught.value.name == "NATS_URL"
    assert "wrong" not in str(caught.value)


async def test_a_server_that_is_not_there_is_waited_for_within_bounds():
    address = NatsAddress(urls=("nats://127.0.0.1:1",), name="test", patience=0.3)

    with anyio.fail_after(10), pytest.raises(UnavailableError, match=r"no server .* NATS_URL"):
        async with connect(address):
            pass


@pytest.mark.single_server
async def test_a_server_that_comes_up_in_time_is_found(tmp_path: Path):
    async with EmbeddedServer(tmp_path) as server:
        await server.stop()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.start)
            async with connect(NatsAddress(urls=(server.url,), name="test")) as transport:
                assert transport.connected


@pytest.mark.single_server
async def test_when_the_server_sends_a_user_away_for_good_the_work_ends(guarded: GuardedServer):
    address = NatsAddress(urls=(guarded.url("fleet", "right"),), name="test")

    async def until_sent_away() -> None:
        async with connect(address) as transport:
            await transport.client.close()
            await anyio.sleep_forever()

    with anyio.fail_after(10), pytest.raises(UnavailableError, match="the connection is closed"):
        await until_sent_away()


@pytest.mark.single_server
async def test_a_user_who_is_admitted_again_is_back(guarded: GuardedServer):
    async with connect(
        NatsAddress(urls=(guarded.url("fleet", "right"),), name="test")
    ) as transport:
        await guarded.admit_only("others", "only")
        await until(lambda: not transport.connected)
        await guarded.admit_only("fleet", "right")
        await until(lambda: transport.connected)


@pytest.mark.single_server
async def test_a_server_that_reads_no_more_is_left_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(client, "PING_SECONDS", 0.1)
    async with EmbeddedServer(tmp_path / "1") as one, EmbeddedServer(tmp_path / "2") as other:
        servers = {server.url: server for server in (one, other)}
        async with (
            connect(NatsAddress(urls=tuple(servers), name="test")) as transport,
            anyio.create_task_group() as tasks,
        ):
            first = _server_of(transport)
            os.kill(servers[first].pid or 0, signal.SIGSTOP)
            try:
                tasks.start_soon(_flood, transport)
                await until(lambda: transport.connected and _server_of(transport) != first)
            finally:
                os.kill(servers[first].pid or 0, signal.SIGCONT)
                tasks.cancel_scope.cancel()


def _server_of(transport: NatsTransport) -> str:
    url = transport.client.connected_url
    return f"nats://{url.netloc}" if url else ""


async def _flood(transport: NatsTransport) -> None:
    """Send more than the sockets between us and a server hold."""
    with contextlib.suppress(UnavailableError):
        for _ in range(200):
            await transport.publish("t.flood", bytes(64 * 1024))


async def test_inboxes_have_the_prefix_that_permissions_demand(shared_server: Server):
    inbox = Inbox()
    urls = (shared_server.url,)

    async with (
        connect(NatsAddress(urls=urls, name="one")) as one,
        connect(NatsAddress(urls=urls, name="two", inbox_prefix="_INBOX.acme")) as two,
        one.subscription("t.prefix", inbox.take),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_ask, two)
        await inbox.holds(1)
        await one.publish(inbox.deliveries[0].reply, b"")

    assert inbox.deliveries[0].reply.startswith("_INBOX.acme.")


async def _ask(transport: NatsTransport) -> None:
    await transport.request("t.prefix", b"", timeout=5)


async def test_the_same_error_is_logged_once_in_a_while():
    errors = ErrorLog("test")

    with structlog.testing.capture_logs() as lines:
        for number in range(1000):
            await errors.note(OSError(f"lost {number}"))
        await errors.note(ValueError("another"))

    assert [(line["kind"], line["error"]) for line in lines] == [
        ("OSError", "lost 0"),
        ("ValueError", "another"),
    ]


@pytest.mark.single_server
async def test_a_server_that_stood_still_for_longer_than_a_confirmation_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with (
        EmbeddedServer(tmp_path / "nats") as server,
        connect(NatsAddress(urls=(server.url,), name="test")) as transport,
    ):
        lost: list[bool] = []
        transport.on_loss(lambda: lost.append(True))
        os.kill(server.pid or 0, signal.SIGSTOP)
        await until(lambda: _stands_still(server.pid))
        with monkeypatch.context() as impatient:
            impatient.setattr(client, "CONNECT_TRY_SECONDS", 0.2)
            with pytest.raises(UnavailableError, match="timeout"):
                await transport.may_publish("anything")
        os.kill(server.pid or 0, signal.SIGCONT)

        inbox = Inbox()
        async with transport.subscription("anything", inbox.take):
            await transport.publish("anything", b"afterwards")
            await inbox.holds(1)
    assert not lost


def _stands_still(pid: int | None) -> bool:
    """Say whether all threads of a process are stopped (proc(5)): they are one after another."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    states = [stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] for stat in threads]
    return set(states) == {"T"}
