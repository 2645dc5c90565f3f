"""The demo's operating system processes: the actors, known by their heartbeats, and the model."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import Process

from bus.codec import decode
from bus.ports import Delivery, Transport
from bus.server import guard
from schemas.fleet import HEARTBEAT_SUBJECT, Alive

ROOT = Path(__file__).resolve().parents[2]

READY_SECONDS = 30.0
STOP_SECONDS = 12.0
"""An actor drains for at most 10 s."""

POLL_SECONDS = 0.02
LOG_LINES = 5


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class Program:
    """One process of ours. It ends with this process, however that ends."""

    def __init__(self, title: str, process: Process, log: Path) -> None:
        self.title = title
        self.process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def check(self) -> None:
        """Raise ``DemoError`` with the end of its log if the process has ended."""
        if self.process.returncode is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            end = "\n".join(lines[-LOG_LINES:]) or "it wrote no log"
            raise DemoError(f"{self.title} ended with {self.process.returncode}:\n{end}")

    async def kill(self) -> None:
        """End it as a crash would, and return when it is gone."""
        self.process.kill()
        await self.process.wait()

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    async def stopped(self) -> None:
        """Wait for the end that was asked for; insist after a while."""
        with anyio.move_on_after(STOP_SECONDS):
            await self.process.wait()
        if self.process.returncode is None:
            await self.kill()


async def start(
    title: str, arguments: list[str], folder: Path, environment: dict[str, str]
) -> Program:
    """Start Python with these arguments; its output goes to a file in ``folder``.

    A session of its own keeps Ctrl-C from it, so that this process can stop all in good order.
    """
    log = folder / f"{title.replace(' ', '-')}.log"
    tied_to_us = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid())]
    with log.open("wb") as output:
        process = await anyio.open_process(
            [*tied_to_us, sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    return Program(title, process, log)


@dataclass(frozen=True, slots=True)
class Member:
    """An actor's process and the name it has among the others."""

    program: Program
    name: str


class Fleet:
    """Actors as processes of their own. All are stopped when the context closes."""

    def __init__(
        self, folder: Path, url: str, transport: Transport, settings: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._environment = {
            **_without_settings(),
            **settings,
            "NATS_URL": url,
            "CALLBOARD_ALLOW_LOOPBACK": "true",
            "CALLBOARD_LOG_FORMAT": "json",
        }
        self._heartbeats = transport.subscription(HEARTBEAT_SUBJECT, self._hear)
        self._heard: dict[str, Alive] = {}
        self._programs: list[Program] = []
        self._members: list[Member] = []

    async def __aenter__(self) -> Self:
        """Listen to heartbeats."""
        await self._heartbeats.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop every process."""
        with anyio.CancelScope(shield=True):
            for program in self._programs:
                program.ask_to_stop()
            for program in self._programs:
                await program.stopped()
            await self._heartbeats.__aexit__(kind, error, trace)

    async def add(self, title: str, actor: str) -> Member:
        """Start an actor and return when it serves. Not two of the same actor at a time.

        Raises:
            DemoError: it ended, or does not get ready.
        """
        known = set(self._heard)
        program = await start(title, ["-m", f"actors.{actor}"], self._folder, self._environment)
        self._programs.append(program)
        with anyio.move_on_after(READY_SECONDS):
            while True:
                program.check()
                for alive in self._heard.values():
                    if alive.actor == actor and alive.ready and alive.process not in known:
                        member = Member(program, alive.process)
                        self._members.append(member)
                        return member
                await anyio.sleep(POLL_SECONDS)
        raise DemoError(f"{title} is not ready after {READY_SECONDS:g} s")

    async def generating(self, seconds: float) -> Member:
        """Wait for the process whose heartbeat says that it is generating.

        Raises:
            DemoError: none says so in time.
        """
        with anyio.move_on_after(seconds):
            while True:
                for member in self._members:
                    if self._heard[member.name].running > 0:
                        return member
                await anyio.sleep(POLL_SECONDS)
        raise DemoError("no streaming process says that it is generating")

    async def _hear(self, delivery: Delivery) -> None:
        alive = decode(Alive, delivery.data)
        self._heard[alive.process] = alive


@asynccontextmanager
async def local_model(folder: Path) -> AsyncGenerator[Program]:
    """Run the local model's server; ``serving`` tells when it answers."""
    script = str(ROOT / "deploy" / "examples" / "local_model.py")
    port_file = str(_port_file(folder))
    program = await start("model", [script, "--port-file", port_file], folder, dict(os.environ))
    try:
        yield program
    finally:
        with anyio.CancelScope(shield=True):
            program.ask_to_stop()
            await program.stopped()


async def serving(model: Program, folder: Path) -> str:
    """Wait until the model answers and return the base URL of its API.

    Raises:
        DemoError: it ended, or does not get ready.
    """
    with anyio.move_on_after(READY_SECONDS):
        while not _port_file(folder).exists():
            model.check()
            await anyio.sleep(POLL_SECONDS)
        port = _port_file(folder).read_text(encoding="ascii").strip()
        return f"http://127.0.0.1:{port}/v1"
    raise DemoError(f"the local model does not answer after {READY_SECONDS:g} s")


def _port_file(folder: Path) -> Path:
    return folder / "model.port"


def _without_settings() -> dict[str, str]:
    """Return the environment without what would configure another fleet than the demo's."""
    ours = ("CALLBOARD_", "MCP_", "NATS_", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
