"""A fleet of real processes that ``callboard up`` has started, and commands typed at it."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import structlog
from click.testing import CliRunner, Result

from actors.cli.commands import main
from tests.architecture.tree import ROOT
from tests.integration.waiting import until
from tests.servers import ON_CLUSTER, PATIENCE

READY_SECONDS = 60.0 * PATIENCE
STOP_SECONDS = 20.0 * PATIENCE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cluster_port() -> int:
    """Return the first of a cluster's ports, far from those that the system gives to others."""
    return 12_000 + free_port() % 10_000


def environment(url: str | None) -> dict[str, str]:
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CALLBOARD_", "NATS_"))
    }
    more = {"NATS_URL": url, "CALLBOARD_DURABILITY": "r3" if ON_CLUSTER else "r1"} if url else {}
    return ours | more


def lives(pid: int) -> bool:
    """Say whether a process exists and is not merely waiting to be buried."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class RunningFleet:
    """A fleet that ``callboard up`` has started, with a server of its own unless there is a bus."""

    def __init__(self, folder: Path, port: int, *, bus: bool = False) -> None:
        self.folder = folder
        self.port = port
        self.url = f"nats://127.0.0.1:{port}"
        self.ready_file = folder / "ready.json"
        command = [sys.executable, "-c", "from actors.cli.commands import main; main()", "up"]
        options = ["--data", folder / "data", "--port", str(port), "--ready-file", self.ready_file]
        with (folder / "fleet.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *map(str, options)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self.url if bus else None),
            )

    @property
    def log(self) -> str:
        return (self.folder / "fleet.log").read_text(encoding="utf-8")

    def summary(self) -> dict[str, Any]:
        return json.loads(self.ready_file.read_bytes())

    def pids(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.summary()["processes"]}

    def run(self, *arguments: str, text: str | None = None, code: int = 0) -> Result:
        """Run a command and check its exit code."""
        handlers, level = logging.root.handlers[:], logging.root.level
        try:
            done = CliRunner().invoke(main, arguments, input=text, env=environment(self.url))
        finally:
            structlog.reset_defaults()
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
        assert done.exit_code == code, (done.exit_code, done.output, done.exception)
        return done

    async def told(self, *arguments: str, text: str | None = None, code: int = 0) -> Result:
        """Run a command beside the tasks of a test."""
        command = partial(self.run, *arguments, text=text, code=code)
        return await anyio.to_thread.run_sync(command)

    async def is_ready(self) -> None:
        await until(
            lambda: self.ready_file.exists() or self.process.poll() is not None,
            seconds=READY_SECONDS,
        )
        assert self.process.poll() is None, self.log


@contextmanager
def started(folder: Path) -> Generator[RunningFleet]:
    fleet = RunningFleet(folder, free_port())
    try:
        yield fleet
    finally:
        if fleet.process.poll() is None:
            fleet.process.terminate()
            fleet.process.wait(STOP_SECONDS)


@contextmanager
def started_on_cluster(folder: Path) -> Generator[RunningFleet]:
    """Start a fleet on three servers, as the script for people runs them."""
    port = cluster_port()
    script = ROOT / "deploy" / "cluster" / "run.py"
    command = [sys.executable, script, "--port", port, "--data", folder / "cluster"]
    with subprocess.Popen(list(map(str, command)), env=environment(None)) as cluster:
        fleet = RunningFleet(folder, port, bus=True)
        try:
            yield fleet
        finally:
            for process in (fleet.process, cluster):
                process.terminate()
                process.wait(STOP_SECONDS)
