"""One process of a fleet: its settings, its bus, its place among the others, its parts."""

import gc
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

import anyio
import anyio.to_thread
import structlog

from bus import files
from bus.config import Config, Timing
from bus.connection import NatsAddress
from bus.errors import CallboardError, ConfigError
from bus.fairness import Quotas
from bus.ids import new_id
from bus.jetstream import NatsBus, open_bus
from bus.jetstream.shares import Shares
from bus.membership import Membership
from bus.runtime.health import listening
from bus.runtime.quota_report import QuotaUsage
from bus.runtime.supervision import (
    EXIT_ALONE,
    EXIT_FAILURE,
    Part,
    PartKind,
    RestartsSpentError,
    Runtime,
)
from bus.streams.spec import StreamSpec
from bus.telemetry import metrics
from bus.telemetry.setup import start
from schemas.fleet import Alive

log = structlog.get_logger()

COLLECTIONS = (10_000, 20, 20)
"""Thresholds of the garbage collector: some 15 times fewer collections than by default."""

EXIT_CONFIG = 78
"""``EX_CONFIG`` of sysexits.h: starting again will not help."""

EXIT_USAGE = 2

MOST_LACKS = 4
"""So many reasons why a process is not ready are told with its heartbeat."""

SETTINGS = """All settings are read from the environment: `callboard config reference` shows them.
`callboard up` starts a whole fleet."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Load:
    """What this process uses, and how busy it is. Processor time is since the last look."""

    running: Callable[[], int] = lambda: 0
    capacity: int = 0
    _looked: float = field(default_factory=time.monotonic)
    _used: float = field(default_factory=time.process_time)

    def cpu_percent(self) -> float:
        """Return the processor time used since the last call, in per cent of one processor."""
        now, used = time.monotonic(), time.process_time()
        elapsed, spent = now - self._looked, used - self._used
        self._looked, self._used = now, used
        return round(100 * spent / elapsed, 1) if elapsed > 0 else 0.0


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


class Process:
    """What the parts of one actor share in a process; several actors may run in the same one."""

    def __init__(
        self, name: str, entities: Sequence[str], config: Config, bus: NatsBus, timing: Timing
    ) -> None:
        self.actor = name.partition("-")[0]
        self.name = name
        self.config = config
        self.quotas = Quotas.load(config)
        self.bus = bus
        self.timing = timing
        self.load = Load()
        self._entities = list(entities)
        self._started_at = bus.clock()
        self.port: int | None = None
        self.lacks: Callable[[], list[str]] = lambda: ["it is starting"]
        self.membership = Membership(bus.transport, self._alive, timing)
        self.usage = QuotaUsage(self.name, bus.transport)
        self._shares = Shares(bus.jetstream, bus.outbox, self.quotas, timing)
        self.usage.add(self._shares.uses)

    async def run(self, parts: Sequence[Part]) -> None:
        """Run the parts of this actor alone, see ``run_together``."""
        await run_together([(self, parts)])

    @property
    def own_parts(self) -> tuple[Part, ...]:
        """What every actor has: its heartbeat, and what it tells of quotas."""
        membership = self.membership
        return (
            Part(
                name="membership",
                kind=PartKind.FAREWELL,
                run=membership.run,
                drain=membership.leave,
            ),
            Part(name="usage", run=self.usage.run),
            Part(name="shares", run=self._shares.run),
        )

    def _alive(self) -> Alive:
        metrics.OUTBOX_UNSETTLED.at().set(self.bus.outbox.posted - self.bus.outbox.safe)
        lacks = self.lacks()
        return Alive(
            process=self.name,
            actor=self.actor,
            pid=os.getpid(),
            entities=self._entities,
            running=self.load.running(),
            capacity=self.load.capacity,
            cpu_percent=self.load.cpu_percent(),
            memory_bytes=resident_bytes(),
            started_at=self._started_at,
            metrics_port=self.port,
            ready=not lacks,
            lacks=lacks[:MOST_LACKS],
        )


def process_name(actor: str) -> str:
    """Return a name that no process has had before."""
    return f"{actor}-{new_id()}"


async def run_together(actors: Sequence[tuple[Process, Sequence[Part]]]) -> None:
    """Run the parts of some actors, with heartbeats and one health listener, until a signal.

    Raises:
        RestartsSpentError: a part failed too often. Of several actors, its exit code tells whose.
    """
    every = {process: (*process.own_parts, *parts) for process, parts in actors}
    first = next(iter(every))
    runtime = Runtime([part for parts in every.values() for part in parts], first.timing)
    host, port = first.config.metrics_host, first.config.metrics_port
    async with listening(runtime.not_ready_reasons, host=host, port=port) as taken:
        for process, parts in every.items():
            process.port, process.lacks = taken, partial(runtime.not_ready_reasons, parts)
        try:
            await runtime.run()
        except* RestartsSpentError as group:
            spent = cast("RestartsSpentError", _first(group))
            if len(every) > 1:
                owners = [spent.part in parts for parts in every.values()]
                spent.exit_code = EXIT_ALONE + owners.index(True)
            raise spent from None


@asynccontextmanager
async def connected(
    actor: str,
    process: str,
    config: Config,
    timing: Timing,
    *,
    entities: Sequence[str] = (),
    streams: Sequence[StreamSpec] = (),
) -> AsyncGenerator[NatsBus]:
    """Connect, turn on logs and traces, and hand out the bus while the context is open.

    Raises:
        ConfigError: the quotas file cannot be read, or traces cannot be sent.
        UnavailableError: no server answers.
    """
    address = NatsAddress(
        urls=tuple(config.nats_url), name=actor, credentials=config.nats_creds, patience=30.0
    )
    async with open_bus(
        address,
        entities=entities,
        more_streams=streams,
        durability=config.durability,
        timing=timing,
        apart=True,
    ) as bus:
        stop = start(config, actor=actor, process=process)
        try:
            yield bus
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(timing.request_try_seconds):
                await anyio.to_thread.run_sync(stop, abandon_on_cancel=True)


@asynccontextmanager
async def opened(
    actor: str, config: Config, *, entities: Sequence[str] = ()
) -> AsyncGenerator[Process]:
    """Hand out the process of one actor. Raises as ``connected`` does."""
    timing, name = Timing(), process_name(actor)
    async with connected(actor, name, config, timing, entities=entities) as bus:
        yield Process(name, entities, config, bus, timing)


def main(body: Callable[[], Awaitable[None]], about: str | None = None) -> None:
    """Run a process to its end and exit with what happened, said in one line.

    A process takes no arguments. Where ``about`` tells what it is, ``--help`` shows that instead of
    starting it, and any other argument is refused.
    """
    if about is not None and sys.argv[1:]:
        _explain(about, sys.argv[1:])
    # Executions are trees that die by themselves, and each collection looks through all of them.
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    files.keep_private()
    try:
        anyio.run(body, backend_options={"use_uvloop": sys.platform != "win32"})
    except* ConfigError as group:
        log.critical("process.misconfigured", error=str(_first(group)))
        sys.exit(EXIT_CONFIG)
    except* CallboardError as group:
        first = _first(group)
        log.critical("process.failed", error=str(first))
        sys.exit(first.exit_code if isinstance(first, RestartsSpentError) else EXIT_FAILURE)
    except* KeyboardInterrupt:
        sys.exit(0)


def _explain(about: str, arguments: Sequence[str]) -> NoReturn:
    """Show what the process is, or that it takes no arguments, and exit."""
    is_asked = set(arguments) <= {"-h", "--help"}
    out = sys.stdout if is_asked else sys.stderr
    if not is_asked:
        out.write(f"No arguments are taken: {arguments[0]} is not known.\n\n")
    out.write(f"{about.strip()}\n\n{SETTINGS}\n")
    sys.exit(0 if is_asked else EXIT_USAGE)


def _first(error: BaseException) -> BaseException:
    """Return the first failure inside a group, however deep it lies."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseException", error.exceptions[0])
    return error
