"""A real fleet for tests: a nats-server and actors as processes, and a plain client."""

import atexit
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import nats
from nats.aio.client import Client

from actors.fleet.forks import Forked, ForkServer
from actors.fleet.plan import REPLICAS
from bus.codec import decode
from bus.testing import Server
from schemas.fleet import HEARTBEAT_SUBJECT, Alive
from schemas.streams import TERMINAL_TYPES, StreamEvent
from tests.servers import PATIENCE, local_server

READY_SECONDS = 60.0 * PATIENCE

HURRIED = "HURRIED"
"""Where this variable is set, leases end soon: see ``tests.hurried``."""


FORKS = ForkServer(f"actors.{actor}.actor" for actor in REPLICAS)
"""What all processes of all fleets import is imported once; it ends with these tests."""
atexit.register(FORKS.close)


class PlainClient:
    """What any NATS user can do, without a line of ours."""

    def __init__(self, client: Client, tenant: str = "local") -> None:
        self.nats = client
        self.tenant = tenant

    async def ask(self, verb: str, body: Mapping[str, Any] | bytes, timeout: float = 30) -> Any:
        """Request ``cb.<tenant>.<verb>`` and return the parsed reply."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        reply = await self.nats.request(f"cb.{self.tenant}.{verb}", data, timeout=timeout)
        return msgspec.json.decode(reply.data)

    async def script(self, agent: str, *responses: str, delay_ms: int = 0, **more: Any) -> None:
        """Apply an agent that plays these responses."""
        provider = {"type": "scripted", "responses": list(responses), "delay_ms": delay_ms, **more}
        answer = await self.ask("agents.apply", {"id": agent, "provider": provider})
        assert answer.get("type") != "problem", answer

    async def reached(self, *patterns: str) -> None:
        """Return when every server of these tools answers: its program takes a while to start."""
        with anyio.fail_after(READY_SECONDS):
            while (await self.ask("tools.list", {"patterns": patterns}))["unreachable"]:
                await anyio.sleep(0.1)

    async def events(self, execution: str, *, timeout: float = 45) -> list[StreamEvent]:
        """Return the stored events of an execution once it has ended."""
        events: list[StreamEvent] = []
        wanted: dict[str, Any] = {"execution_id": execution}
        with anyio.fail_after(timeout):
            while True:
                page = await self.ask("streams.read", wanted)
                events += [msgspec.convert(event, StreamEvent) for event in page.get("events", [])]
                if any(isinstance(event, TERMINAL_TYPES) for event in events):
                    return events
                if page.get("more"):
                    wanted["after"] = page["next"]
                else:
                    events.clear()
                    wanted.pop("after", None)
                    await anyio.sleep(0.02)

    async def ended(self, execution: str, *, timeout: float = 45) -> Any:
        """Return the record of an execution once it has ended."""
        await self.events(execution, timeout=timeout)
        return await self.ask("executions.get", {"execution_id": execution})


class RunningFleet:
    """The processes of a fleet by name, such as ``agents.1``."""

    def __init__(self, server: Server, environ: Mapping[str, str], logs: Path) -> None:
        self.server = server
        self.processes: dict[str, Forked] = {}
        self._environ = environ
        self._logs = logs

    async def start(self, name: str) -> Forked:
        """Start one actor process; its log goes to a file of its name."""
        actor = name.partition(".")[0]
        module = ("tests.hurried", actor) if HURRIED in self._environ else (f"actors.{actor}",)
        with (self._logs / f"{name}.log").open("ab") as log:
            process = await FORKS.start(module, self._environ, log.fileno())
        self.processes[name] = process
        return process

    def set(self, **environ: str) -> None:
        """Set variables of the processes that are started from now on."""
        self._environ = {**self._environ, **environ}

    async def kill(self, name: str) -> None:
        """Kill a process without a warning."""
        process = self.processes.pop(name)
        process.kill()
        await process.wait()

    async def drain(self, name: str) -> int:
        """Let a process end in good order; return its exit code."""
        process = self.processes.pop(name)
        process.terminate()
        return await process.wait()

    async def stop(self) -> None:
        """Drain all processes that have not ended by themselves."""
        for process in self.processes.values():
            if process.returncode is None:
                process.terminate()
        for process in self.processes.values():
            with anyio.move_on_after(15):
                await process.wait()

    @asynccontextmanager
    async def client(self, tenant: str = "local") -> AsyncGenerator[PlainClient]:
        """Connect as any user would."""
        client = await nats.connect(self.server.url)
        try:
            yield PlainClient(client, tenant)
        finally:
            await client.close()

    async def ready(self, count: int) -> list[Alive]:
        """Wait until ``count`` processes say that they serve."""
        found: dict[str, Alive] = {}
        async with self.client() as client:
            beats = await client.nats.subscribe(HEARTBEAT_SUBJECT)
            with anyio.fail_after(READY_SECONDS):
                while sum(alive.ready for alive in found.values()) < count:
                    alive = decode(Alive, (await beats.next_msg(READY_SECONDS)).data)
                    found[alive.process] = alive
        return [alive for alive in found.values() if alive.ready]


@asynccontextmanager
async def running_fleet(
    directory: Path, *, agents: int = 1, streaming: int = 1, **environ: str
) -> AsyncGenerator[RunningFleet]:
    """Run a fleet on a server of its own while the context is open."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(local_server(directory / "data"))
        settings = {
            "NATS_URL": ",".join(server.urls),
            "CALLBOARD_DURABILITY": server.durability,
            "CALLBOARD_ALLOW_LOOPBACK": "true",
            **environ,
        }
        fleet = RunningFleet(server, {**os.environ, **settings}, directory)
        stack.push_async_callback(fleet.stop)
        names = [f"agents.{n}" for n in range(agents)]
        names += [f"streaming.{n}" for n in range(streaming)]
        for name in names:
            await fleet.start(name)
        await fleet.ready(len(names))
        yield fleet
