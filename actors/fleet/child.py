"""One process of a fleet: started, restarted when it dies, drained."""

import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from actors.fleet.forks import Forked, ForkServer, ProcessOutput
from actors.fleet.plan import PlannedProcess
from bus.errors import CallboardError, ConfigError
from schemas.fleet import Alive

State = Literal["starting", "ready", "stopping", "down"]

EXIT_CONFIG = 78
EXIT_ALONE = 100
"""See ``bus.runtime.supervision``, which a supervisor need not load."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
WINDOW_SECONDS = 60.0
MOST_DEATHS = 30
"""Deaths within the window; more means that starting again does not help."""

MOST_FALSE_STARTS = 5
"""Deaths one after another of a process that has never become ready."""

SILENT_SECONDS = 2.0
"""A ready process sends four heartbeats a second."""

MOST_LINE_BYTES = 64 * 1024


class Child:
    """A process that is kept alive, of one actor or several.

    ``changed`` is called at each change of its state, and ``part`` when one of several actors is to
    have a process of its own.
    """

    def __init__(
        self,
        members: Sequence[PlannedProcess],
        server: ForkServer,
        environment: Mapping[str, str],
        said: Callable[[str, str], None],
        changed: Callable[[], None],
        part: Callable[[PlannedProcess], None],
    ) -> None:
        self.members = list(members)
        self.state: State = "down"
        self.alive: dict[str, Alive] = {}
        self.restarts = 0
        self._server = server
        self._environment = dict(environment)
        self._said = said
        self._changed = changed
        self._part = part
        self._process: Forked | None = None
        self._heard = 0.0
        self._stopping = False
        self._deaths: deque[float] = deque()
        self._false_starts = 0
        self._ended = anyio.Event()

    @property
    def name(self) -> str:
        """What it is called in the fleet: ``agents.1+pricing.1``."""
        return "+".join(member.name for member in self.members)

    def has(self, actor: str) -> bool:
        """Say whether an actor is one of those in this process."""
        return any(member.actor == actor for member in self.members)

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return self._process.pid if self._process else None

    def heard(self, alive: Alive) -> None:
        """Take note of a heartbeat of this process."""
        self.alive[alive.actor], self._heard = alive, anyio.current_time()
        if len(self.alive) == len(self.members) and all(each.ready for each in self.alive.values()):
            self._false_starts = 0
            self._become("ready")

    def check(self) -> None:
        """Notice when a ready process has fallen silent."""
        if self.state == "ready" and anyio.current_time() - self._heard > SILENT_SECONDS:
            self._become("starting")

    async def keep(self) -> None:
        """Run the process until ``stop``, starting it again when it dies.

        Raises:
            ConfigError: it refuses its settings.
            CallboardError: it dies again and again.
        """
        try:
            while not self._stopping:
                code = await self._run()
                if not self._stopping:
                    await self._after(code)
        finally:
            self._ended.set()

    async def stop(self, seconds: float) -> None:
        """Let the process drain; kill it after ``seconds``."""
        self._stopping = True
        if self._process is None:
            return
        self._become("stopping")
        self._signal(signal.SIGTERM)
        with anyio.move_on_after(seconds):
            await self._ended.wait()
            return
        self._said("fleet", f"{self.name} did not end in {seconds:g} s and is killed")
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    async def _run(self) -> int:
        names = [member.actor for member in self.members]
        module = [f"actors.{names[0]}"] if len(names) == 1 else ["actors.fleet.host", *names]
        reads, writes = os.pipe()
        async with ProcessOutput(reads) as output:
            try:
                process = await self._server.start(module, self._environment, writes)
            finally:
                os.close(writes)
            self._process, self.alive = process, {}
            self._become("starting")
            if self._stopping:
                self._signal(signal.SIGTERM)
            try:
                await self._listen(output)
                return await process.wait()
            finally:
                self._process = None
                self._become("down")

    async def _listen(self, output: ProcessOutput) -> None:
        """Pass on what the process writes until it writes no more."""
        lines = BufferedByteReceiveStream(output)
        while True:
            try:
                line = await lines.receive_until(b"\n", MOST_LINE_BYTES)
            except anyio.DelimiterNotFound:
                line = await lines.receive(MOST_LINE_BYTES)
            except (anyio.IncompleteRead, anyio.EndOfStream):
                if lines.buffer:
                    self._said(self.name, lines.buffer.decode(errors="replace"))
                return
            self._said(self.name, line.decode(errors="replace"))

    async def _after(self, code: int) -> None:
        """Judge a death, and wait before the next start."""
        if code == EXIT_CONFIG:
            raise ConfigError(self.name, "its settings are refused; it says why above")
        place = code - EXIT_ALONE
        if 0 <= place < len(self.members) > 1:
            self._part(self.members.pop(place))
        now = anyio.current_time()
        self._deaths.append(now)
        while self._deaths[0] < now - WINDOW_SECONDS:
            self._deaths.popleft()
        self._false_starts += 1
        if len(self._deaths) > MOST_DEATHS or self._false_starts > MOST_FALSE_STARTS:
            message = f"{self.name} has died {len(self._deaths)} times, last with {_died(code)}"
            raise CallboardError(message)
        self.restarts += 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (len(self._deaths) - 1), LONGEST_PAUSE_SECONDS)
        self._said("fleet", f"{self.name} died with {_died(code)}; starts again in {pause:g} s")
        await anyio.sleep(pause)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _become(self, state: State) -> None:
        if self._stopping and state in ("starting", "ready"):
            return
        if state != self.state:
            self.state = state
            self._changed()


def _died(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
