"""One process of a fleet: its settings, its bus, its place among the others, its parts."""

import gc
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NoReturn, cast

import anyio
import anyio.to_thread
import structlog

from bus import files
from bus.config import Config, Timing
from bus.connection import Address
from bus.errors import CallboardError, ConfigError
from bus.fairness import Quotas
from bus.health import listening
from bus.ids import new_id
from bus.jetstream import NatsBus, open_bus
from bus.jetstream.shares import Shares
from bus.ownership import Membership
from bus.projection import Projection, Projector
from bus.runtime import Part, Runtime
from bus.streams.spec import StreamSpec
from bus.telemetry import metrics
from bus.telemetry.setup import start
from bus.usage import Usage
from schemas.fleet import Alive

log = structlog.get_logger()

COLLECTIONS = (10_000, 20, 20)
"""Thresholds of the garbage collector: some 15 times fewer collections than by default."""

EXIT_FAILURE = 1
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
    """What the parts of one process share."""

    def __init__(
        self, actor: str, entities: Sequence[str], config: Config, bus: NatsBus, timing: Timing
    ) -> None:
        self.actor = actor
        self.name = f"{actor}-{new_id()}"
        self.config = config
        self.quotas = Quotas.load(config)
        self.bus = bus
        self.timing = timing
        self.load = Load()
        self._entities = list(entities)
        self._started_at = bus.clock()
        self._port: int | None = None
        self._lacks: Callable[[], list[str]] = lambda: ["it is starting"]
        self.membership = Membership(bus.transport, self._alive, timing)
        self.usage = Usage(self.name, bus.transport)
        self._shares = Shares(bus.jetstream, bus.outbox, self.quotas, timing)
        self.usage.add(self._shares.uses)

    async def run(self, parts: Sequence[Part]) -> None:
        """Run the parts, with heartbeat and health listener, until a signal has drained them."""
        heartbeat = Part(name="membership", run=self.membership.run, drain=self.membership.leave)
        usage = Part(name="usage", run=self.usage.run)
        shares = Part(name="shares", run=self._shares.run)
        runtime = Runtime((heartbeat, usage, shares, *parts), self.timing)
        self._lacks = runtime.missing
        host, port = self.config.metrics_host, self.config.metrics_port
        async with listening(runtime.missing, host=host, port=port) as self._port:
            await runtime.run()

    def following(self, projection: Projection, *, retention: timedelta | None = None) -> Projector:
        """Return what keeps this process's copy of a projection, below its data directory."""
        return Projector(
            projection,
            self.bus.feed(projection.entity),
            self.bus,
            directory=Path(self.config.data) / "projections",
            process=self.name,
            timing=self.timing,
            retention=retention,
        )

    def _alive(self) -> Alive:
        metrics.OUTBOX_UNSETTLED.at().set(self.bus.outbox.posted - self.bus.outbox.safe)
        lacks = self._lacks()
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
            metrics_port=self._port,
            ready=not lacks,
            lacks=lacks[:MOST_LACKS],
        )


@asynccontextmanager
async def opened(
    actor: str,
    config: Config,
    *,
    entities: Sequence[str] = (),
    more_streams: Sequence[StreamSpec] = (),
    timing: Timing | None = None,
) -> AsyncGenerator[Process]:
    """Connect, and hand out the process while the context is open.

    Raises:
        ConfigError: the quotas file cannot be read, or traces cannot be sent.
        UnavailableError: no server answers.
    """
    timing = timing or Timing()
    address = Address(
        urls=tuple(config.nats_url), name=actor, credentials=config.nats_creds, patience=30.0
    )
    async with open_bus(
        address,
        entities=entities,
        more_streams=more_streams,
        durability=config.durability,
        timing=timing,
        apart=True,
    ) as bus:
        process = Process(actor, entities, config, bus, timing)
        stop = start(config, actor=actor, process=process.name)
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(timing.request_try_seconds):
                await anyio.to_thread.run_sync(stop, abandon_on_cancel=True)


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
        log.critical("process.failed", error=str(_first(group)))
        sys.exit(EXIT_FAILURE)
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
