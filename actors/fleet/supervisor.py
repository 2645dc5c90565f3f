"""All processes of a fleet together, from the start to the last one's end."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

import anyio
import msgspec
import structlog

from actors.fleet.child import Child
from actors.fleet.exposition import exposing
from actors.fleet.forks import ForkServer
from actors.fleet.plan import FleetPlan, PlannedProcess
from actors.fleet.printing import Lines, Printer
from bus.codec import decode
from bus.config import Config
from bus.connection import NatsAddress, connect
from bus.errors import CallboardError, ConfigError, ProblemError
from bus.ports import Delivery
from bus.server import EmbeddedServer
from bus.server.keeper import keep
from bus.telemetry import logs
from schemas.fleet import HEARTBEAT_SUBJECT, Alive

log = structlog.get_logger()

DRAIN_SECONDS = 12.0
"""A process drains for 10 s at most."""

REPORT_SECONDS = 0.3
"""Changes within this time become one table."""


class Fleet:
    """Starts a fleet and keeps it alive until a signal ends it."""

    def __init__(self, plan: FleetPlan, config: Config) -> None:
        self._plan = plan
        self._config = config
        style, is_seen = config.log_format, sys.stdout.isatty()
        self._printer = Printer(verbatim=style == "json" or (style == "auto" and not is_seen))
        self._server = None if plan.url else EmbeddedServer(plan.data / "nats", port=plan.port)
        self._forks = ForkServer(f"actors.{actor}.actor" for actor in plan.replicas)
        self._children: list[Child] = []
        self._metrics = ""
        self._changed = anyio.Event()
        self._stopping = anyio.Event()
        self._keep: Callable[[Callable[[], Awaitable[None]]], object] = lambda _: None
        self._failure: CallboardError | None = None
        self._starting: anyio.CancelScope | None = None

    @property
    def url(self) -> str:
        """Where the bus is."""
        return self._plan.url or (self._server.url if self._server else "")

    async def run(self) -> None:
        """Run the fleet until SIGTERM or SIGINT, then drain it; a second signal kills it.

        Raises:
            ConfigError: the server cannot start, or a process refuses its settings.
            CallboardError: a process dies again and again.
        """
        lines = Lines(self._printer, "fleet")
        logs.configure(
            self._config.log_level,
            "json",
            stream=cast("TextIO", lines),
            actor="fleet",
            process="fleet",
        )
        self._forget_ready_file()
        # Imports take about as long as the server needs to start.
        self._forks.begin()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._obey_signals)
                with anyio.CancelScope() as self._starting:
                    await self._serve()
                tasks.cancel_scope.cancel()
        finally:
            self._forks.close()
        if self._failure is not None:
            raise self._failure

    # Life

    async def _serve(self) -> None:
        host, port = self._config.metrics_host, self._config.metrics_port
        async with (
            exposing(self._metrics_ports, host=host, port=port) as self._metrics,
            self._bus(),
            self._heartbeats(),
            anyio.create_task_group() as tasks,
        ):
            self._announce()
            self._keep = partial(tasks.start_soon, self._guarded)
            self._children = [self._made(members) for members in self._plan.processes()]
            if self._server is not None:
                kept = partial(keep, self._server, started=self._notify)
                tasks.start_soon(self._guarded, kept)
            for child in self._children:
                tasks.start_soon(self._guarded, child.keep)
            tasks.start_soon(self._report)
            await self._stopping.wait()
            with anyio.CancelScope(shield=True):
                await self._drain()
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _bus(self) -> AsyncGenerator[None]:
        if self._server is None:
            yield
            return
        async with self._server:
            yield

    @asynccontextmanager
    async def _heartbeats(self) -> AsyncGenerator[None]:
        address = NatsAddress(
            urls=tuple(self.url.split(",")), name="fleet", credentials=self._config.nats_creds
        )
        async with (
            connect(address) as transport,
            transport.subscription(HEARTBEAT_SUBJECT, self._heard),
        ):
            yield

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part; its failure ends the fleet in good order."""
        try:
            await part()
        except CallboardError as error:
            self._failure = self._failure or error
            self._stopping.set()

    async def _drain(self) -> None:
        """Stop those that work for others first, then those, then the server (by its context)."""
        self._forget_ready_file()
        stopped: list[Child] = []
        for actor in reversed(list(self._plan.replicas)):
            async with anyio.create_task_group() as tasks:
                for child in self._children:
                    # Of several actors the one that starts first stops last.
                    if child.members[0].actor == actor and child not in stopped:
                        stopped.append(child)
                        tasks.start_soon(child.stop, DRAIN_SECONDS)

    async def _obey_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for received in signals:
                if self._stopping.is_set():
                    log.warning("fleet.killing", signal=received.name)
                    for child in self._children:
                        child.kill()
                    continue
                log.info("fleet.stopping", signal=received.name)
                self._stopping.set()
                if not self._children and self._starting is not None:
                    self._starting.cancel()

    # Processes

    def _made(self, members: Sequence[PlannedProcess]) -> Child:
        said, changed = self._printer.line, self._notify
        return Child(members, self._forks, self._environment(), said, changed, self._run_alone)

    def _run_alone(self, member: PlannedProcess) -> None:
        """Give an actor a process of its own: what it suffers from is not to stop the others."""
        log.warning("fleet.runs_alone", name=member.name)
        child = self._made([member])
        self._children.append(child)
        self._keep(child.keep)

    def _environment(self) -> dict[str, str]:
        ours = {
            "NATS_URL": self.url,
            "CALLBOARD_DATA": str(self._plan.data),
            "CALLBOARD_LOG_FORMAT": "json",
            # A fixed one is the fleet's: there are the metrics of all processes.
            "CALLBOARD_METRICS_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        if self._plan.loopback:
            ours["CALLBOARD_ALLOW_LOOPBACK"] = "true"
        return os.environ | ours

    def _announce(self) -> None:
        log.info("fleet.starting", url=self.url, processes=len(self._plan.processes()))
        if self._plan.loopback:
            log.info("fleet.loopback_allowed", reason="agents may call providers on this machine")

    async def _heard(self, delivery: Delivery) -> None:
        try:
            alive = decode(Alive, delivery.data)
        except ProblemError as error:
            log.warning("fleet.strange_heartbeat", field=error.problem.field)
            return
        for child in self._children:
            if alive.pid and child.pid == alive.pid and child.has(alive.actor):
                child.heard(alive)

    # Reporting

    def _notify(self) -> None:
        self._changed.set()

    async def _report(self) -> None:
        """Print the table when something has changed, and say when all are ready."""
        began = anyio.current_time()
        first = True
        while True:
            with anyio.move_on_after(1.0):
                await self._changed.wait()
            for child in self._children:
                child.check()
            if not self._changed.is_set():
                continue
            if not first:
                await anyio.sleep(REPORT_SECONDS)
            self._changed = anyio.Event()
            if self._stopping.is_set():
                continue
            ready = self._is_ready()
            if ready and first:
                first = False
                log.info("fleet.ready", seconds=round(anyio.current_time() - began, 2))
            self._show(ready=ready, quiet=first)

    def _show(self, *, ready: bool, quiet: bool) -> None:
        if ready and self._plan.ready_file is not None:
            try:
                _write(self._plan.ready_file, self._summary())
            except OSError as error:
                self._failure = _unwritable(self._plan.ready_file, error)
                self._stopping.set()
        if not quiet:
            server = self._server.pid if self._server else None
            self._printer.table(self._children, (self.url, server), self._metrics)

    def _metrics_ports(self) -> dict[str, int]:
        """Return where the processes tell their metrics, by name."""
        return {
            child.name: alive.metrics_port
            for child in self._children
            for alive in child.alive.values()
            if alive.metrics_port
        }

    def _is_ready(self) -> bool:
        return all(child.state == "ready" for child in self._children)

    def _summary(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "server_pid": self._server.pid if self._server else None,
            "metrics": self._metrics,
            "processes": [
                {
                    "name": member.name,
                    "actor": member.actor,
                    "pid": child.pid,
                    "process": child.alive[member.actor].process,
                    "metrics_port": child.alive[member.actor].metrics_port,
                }
                for child in self._children
                for member in child.members
            ],
        }

    def _forget_ready_file(self) -> None:
        if self._plan.ready_file is not None:
            try:
                self._plan.ready_file.unlink(missing_ok=True)
            except OSError as error:
                raise _unwritable(self._plan.ready_file, error) from None


def _unwritable(file: Path, error: OSError) -> ConfigError:
    return ConfigError("--ready-file", f"{file} cannot be written: {error.strerror}")


def _write(file: Path, summary: dict[str, Any]) -> None:
    """Put the file in place whole, so that nobody reads half of it."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    partial.replace(file)
