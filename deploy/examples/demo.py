"""The main job on this machine, with a death in the middle: `make demo`.

    python deploy/examples/demo.py [--scripted]

starts a nats-server, one agents process, one MCP pool and two streaming processes in a temporary
directory, has a real model of this machine look up an entry of DECISIONS.md by a tool of an MCP
server and review it, kills the process that is generating with SIGKILL in mid-answer, and checks
what a client saw against what JetStream holds. Without the model's wheels, or with ``--scripted``,
a script is played instead. Exits with 0 if everything was observed to hold, 1 if not, 130 if
interrupted. Nothing is left running or lying about.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import demo_lookup
import local_model
import msgspec
from demo_fleet import DemoError, Fleet, Member, serving
from demo_fleet import local_model as local_model_process
from demo_lookup import DOCUMENT, LookUp, Section
from demo_review import AGENT, reviewer, scripted
from demo_screen import BOLD, DIM, RED, YELLOW, Screen
from demo_witness import TENANT, Witness, observed, stored_record, stored_stream

from bus.client import Client
from bus.connection import NatsAddress, NatsTransport, connect
from bus.errors import CallboardError
from bus.ids import new_id
from bus.server import EmbeddedServer
from bus.telemetry import logs
from schemas.executions import ExecuteAgent, ExecutionRecord
from schemas.providers import Custom, Provider

TOTAL_SECONDS = 85.0
MIDWAY_SECONDS = 30.0
ANSWER_SECONDS = 60.0
BUSY_SECONDS = 5.0

INTERRUPTED = 130

NEXT = """\
source .venv/bin/activate
callboard up                         # a fleet that stays; then, in another terminal:
callboard agents apply deploy/examples/agents/testing.yaml
callboard run testing "Playtest the harbour"     # no key needed; its first attempt breaks off
callboard executions list
callboard subjects                   # everything any NATS client can do here"""


class Demo:
    """The story, told on a screen."""

    def __init__(self, screen: Screen, folder: Path, server: EmbeddedServer) -> None:
        self._screen = screen
        self._folder = folder
        self._server = server

    async def run(self, transport: NatsTransport, *, with_model: bool) -> bool:
        """Tell it; say whether everything was observed to hold."""
        client = Client(transport)
        settings = {"MCP_SERVERS_FILE": str(demo_lookup.servers_file(self._folder))}
        async with (
            Fleet(self._folder, self._server.url, transport, settings) as fleet,
            self._provider(with_model=with_model) as provider,
        ):
            await self._start(fleet)
            words = provider if with_model else demo_lookup.scripted()
            found = await self._look_up(client, words)
            await self._define(client, provider, found.section)
            witness = await self._execute(transport, client, fleet, found.section.text)
            record = await stored_record(transport, witness.execution_id)
            late = await stored_stream(client, witness.execution_id)
        self._show_record(record)
        self._screen.heading("Observed")
        statements = [*demo_lookup.observed(found), *observed(witness, late, record)]
        for statement, holds in statements:
            self._screen.verdict(statement, holds=holds)
        return all(holds for _, holds in statements)

    @asynccontextmanager
    async def _provider(self, *, with_model: bool) -> AsyncGenerator[Provider]:
        if not with_model:
            yield scripted()
            return
        async with local_model_process(self._folder) as model:
            url = await serving(model, self._folder)
            self._screen.row("model", f"pid {model.pid}, {local_model.MODEL} at {url}")
            yield Custom(model=local_model.MODEL, base_url=url)

    async def _start(self, fleet: Fleet) -> None:
        self._screen.row("nats-server", f"pid {self._server.pid}, {self._server.url}")
        members: list[Member] = []

        async def add(title: str, actor: str) -> None:
            members.append(await fleet.add(title, actor))

        async with anyio.create_task_group() as group:
            group.start_soon(add, "agents", "agents")
            group.start_soon(add, "streaming A", "streaming")
            group.start_soon(add, "mcp_pool", "mcp_pool")
        await add("streaming B", "streaming")
        for member in members:
            self._screen.row(member.program.title, f"pid {member.program.pid}, {member.name}")

    async def _look_up(self, client: Client, provider: Provider) -> LookUp:
        self._screen.heading("A tool of an MCP server, called with what a model has written")
        found = await demo_lookup.look_up(client, provider)
        tool = f"{found.tool.server}/{found.tool.tool}"
        self._screen.row("tool", f"{tool} of {demo_lookup.PROGRAM}, over {found.server.lane}")
        self._screen.row("arguments", f"{found.arguments}, by {provider.model} to its JSON Schema")
        self._screen.row("result", f'"{found.section.title}"')
        return found

    async def _define(self, client: Client, provider: Provider, section: Section) -> None:
        wanted = reviewer(provider)
        self._screen.heading("An agent is a message")
        self._screen.row("request", f"cb.{TENANT}.agents.apply")
        defined = await client.insist(TENANT, wanted, patience=10)
        kind = provider.__struct_config__.tag
        self._screen.row("agent", f"{defined.id} version {defined.version}, provider {kind}")
        self._screen.row("task", f"the result, from {DOCUMENT}, {len(section.text.split())} words")

    async def _execute(
        self, transport: NatsTransport, client: Client, fleet: Fleet, task: str
    ) -> Witness:
        witness = Witness(self._screen, new_id())
        self._screen.heading("Its answer, as it comes")
        self._screen.row("subscribe", f"cb.{TENANT}.stream.{witness.execution_id}")
        self._screen.row("request", f"cb.{TENANT}.agents.execute")
        async with witness.watching(transport):
            wanted = ExecuteAgent(agent_id=AGENT, task=task, id=witness.execution_id)
            await client.insist(TENANT, wanted, patience=10)
            await _within(MIDWAY_SECONDS, witness.midway, "the answer has not begun")
            await self._strike(fleet, witness)
            await _within(ANSWER_SECONDS, witness.ended, "the answer has not ended")
        return witness

    async def _strike(self, fleet: Fleet, witness: Witness) -> None:
        victim = await fleet.generating(BUSY_SECONDS)
        witness.silent_since = anyio.current_time()
        await victim.program.kill()
        what = f"kill -9 {victim.program.pid}: {victim.program.title} is dead in mid-answer"
        self._screen.say(what, colour=RED)

    def _show_record(self, record: ExecutionRecord) -> None:
        self._screen.heading(f"The stored execution, from JetStream: cb.{TENANT}.record.<id>")
        self._screen.row("execution", record.execution_id)
        self._screen.row("agent", f"{record.agent_id} version {record.agent_version}")
        self._screen.row("status", f"{record.status} ({record.finish_reason})")
        self._screen.row("attempts", f"{record.attempts}, the last in segment {record.segment}")
        self._screen.row("model", record.model_served)
        self._screen.row("tokens", record.tokens_used)
        self._screen.row("duration", f"{(record.duration_ms or 0) / 1000:.1f} s")
        for entry in record.logs:
            self._screen.row(f"{entry.at:%H:%M:%S.%f}"[:-3], entry.message)
        self._screen.text(_readable(record.output or ""))


async def demonstrate(screen: Screen, *, with_model: bool) -> bool:
    """Run the demo in a directory of its own, which disappears with everything in it."""
    with tempfile.TemporaryDirectory(prefix="callboard-demo-") as name:
        folder = Path(name)
        screen.heading("A fleet of processes that meet only on the bus")
        with anyio.fail_after(TOTAL_SECONDS):
            async with (
                EmbeddedServer(folder / "nats") as server,
                connect(NatsAddress(urls=(server.url,), name="demo")) as transport,
            ):
                return await Demo(screen, folder, server).run(transport, with_model=with_model)


async def main(*, wants_script: bool) -> int:
    """Run the demo until its end or a signal; return the exit code."""
    screen = Screen()
    reason = "as you asked" if wants_script else local_model.missing()
    if reason is not None:
        screen.say(f"No real model ({reason}): a script is played instead.", colour=YELLOW)
    code = INTERRUPTED
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_on_signal, group.cancel_scope)
        code = await _told(screen, with_model=reason is None)
        group.cancel_scope.cancel()
    if code == INTERRUPTED:
        screen.say("Interrupted. Everything is stopped.", colour=YELLOW)
    return code


async def _told(screen: Screen, *, with_model: bool) -> int:
    holds = False
    try:
        holds = await demonstrate(screen, with_model=with_model)
    except* (DemoError, CallboardError, TimeoutError, OSError) as failures:
        for failure in _leaves(failures):
            screen.say(str(failure) or f"not done after {TOTAL_SECONDS:g} s", colour=RED)
    screen.heading("Everything holds. What to try next" if holds else "Something does not hold.")
    if holds:
        for line in NEXT.splitlines():
            screen.say(line, colour=BOLD if line.startswith("callboard") else DIM)
    return 0 if holds else 1


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _within(seconds: float, event: anyio.Event, complaint: str) -> None:
    with anyio.move_on_after(seconds):
        await event.wait()
    if not event.is_set():
        raise DemoError(f"{complaint} after {seconds:g} s")


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _readable(output: str) -> str:
    try:
        return msgspec.json.format(output, indent=2)
    except msgspec.DecodeError:
        return output


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run an agent and kill its process in mid-answer.")
    parser.add_argument("--scripted", action="store_true", help="play a script, ask no model")
    options = parser.parse_args()
    logs.configure("error", "auto", actor="demo", process="demo")
    sys.exit(anyio.run(lambda: main(wants_script=options.scripted)))
