"""Lists of many executions: a page by each filter, and a start with a copy that is there."""

import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import msgspec

from actors.agents.adapters.listed import LISTED
from actors.agents.adapters.lists import Lists
from actors.agents.core.decisions import decide
from actors.agents.core.execution import evolve
from bus.codec import encode
from bus.config import Timing
from bus.connection import NatsAddress
from bus.jetstream import NatsBus, open_bus
from bus.projection import Projector
from bus.requests.caller import Caller
from bus.server import EmbeddedServer
from bus.subjects import journal_subject
from bus.tasks import background
from schemas.executions import ExecutionList, ListExecutions
from schemas.journal import Commit, Entry
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    Accept,
    Deltas,
    ExecutionEvent,
    FinishGeneration,
    Origin,
)
from schemas.llm import Answer, ChatMessage, GenerateRequest
from schemas.providers import Scripted
from schemas.usage import Usage
from tests.bench.rows import Row, percentile

NAME = "lists"
EXECUTIONS = 60_000
A_COMMIT = 32
SHARDS = 4
SESSIONS = 600
BEGAN = datetime(2026, 6, 1, tzinfo=UTC)
TIMING = Timing(projection_wait_seconds=300.0)
ASKED = 200
CALLER = Caller(tenant="acme")
QUERIES = {
    "first page": ListExecutions(),
    "by status": ListExecutions(status="COMPLETED"),
    "by session": ListExecutions(session="s7"),
    "by status and agent": ListExecutions(status="RUNNING", agent_id="agent-3"),
}


async def measure() -> list[Row]:
    """Fill a journal with executions, make the copy, ask for lists, and open it once more."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        async with EmbeddedServer(Path(directory) / "nats") as server:
            address = NatsAddress(urls=server.urls, name="bench")
            async with open_bus(address, entities=[EXECUTION_ENTITY], timing=TIMING) as bus:
                await _fill(bus)
                made = await _made(bus, Path(directory) / "copy")
                return [*made, *await _started(bus, Path(directory) / "copy")]


async def _made(bus: NatsBus, directory: Path) -> list[Row]:
    began, used = time.perf_counter(), time.process_time()
    late: list[float] = []
    async with _projecting(bus, directory) as projector, background(partial(_held_up, late)):
        await projector.ask(lambda rows: rows.execute("SELECT 1").fetchone())
        seconds, spent = time.perf_counter() - began, time.process_time() - used
        size = projector.state.file_bytes if projector.state else 0
        return [
            Row(NAME, "executions a second, made anew", EXECUTIONS / seconds, "1/s"),
            Row(NAME, "  processor time an execution", spent / EXECUTIONS * 1e6, "us"),
            Row(NAME, "  bytes an execution in the file", size / EXECUTIONS, "B"),
            Row(NAME, "  longest turn of the loop meanwhile", max(late) * 1e3, "ms", most=50),
            *[await _listed(Lists(projector), *each) for each in QUERIES.items()],
        ]


async def _listed(lists: Lists, what: str, query: ListExecutions) -> Row:
    takes: list[float] = []
    for _ in range(ASKED):
        began = time.perf_counter()
        await lists.executions(CALLER, query)
        takes.append(time.perf_counter() - began)
    return Row(
        NAME, f"list of {EXECUTIONS}, {what}, p50", percentile(takes, 0.5) * 1e3, "ms", most=5
    )


async def _started(bus: NatsBus, directory: Path) -> list[Row]:
    began = time.perf_counter()
    async with _projecting(bus, directory) as projector:
        page: ExecutionList | None = None
        with anyio.fail_after(30):
            while projector.not_ready_reason():
                await anyio.sleep(0.001)
            page = await Lists(projector).executions(CALLER, ListExecutions(limit=1))
        assert page.total == EXECUTIONS
        return [
            Row(NAME, "start to first list", (time.perf_counter() - began) * 1e3, "ms", most=100)
        ]


async def _held_up(late: list[float]) -> None:
    """Note by how much a short sleep takes longer."""
    while True:
        began = time.perf_counter()
        await anyio.sleep(0.002)
        late.append(time.perf_counter() - began - 0.002)


@asynccontextmanager
async def _projecting(bus: NatsBus, directory: Path) -> AsyncGenerator[Projector]:
    projector = Projector(
        LISTED, bus.feed(LISTED.entity), bus, directory=directory, process="bench", timing=TIMING
    )
    async with background(projector.run):
        yield projector


async def _fill(bus: NatsBus) -> None:
    async with anyio.create_task_group() as tasks:
        for shard in range(SHARDS):
            commits = _commits(range(shard, EXECUTIONS, SHARDS))
            subject = journal_subject(EXECUTION_ENTITY, shard)
            tasks.start_soon(partial(_append, bus, subject, commits))


async def _append(bus: NatsBus, subject: str, commits: Iterator[Commit]) -> None:
    journal, sequence = bus.journal(EXECUTION_ENTITY), 0
    for commit in commits:
        sequence = await journal.append(subject, encode(commit), expected=sequence)


def _commits(numbers: range) -> Iterator[Commit]:
    """Yield turns that accept executions, and such that end most of them."""
    n = 0
    for start in range(0, len(numbers), A_COMMIT):
        lives = [(f"x-{number:08}", _life(number)) for number in numbers[start : start + A_COMMIT]]
        for step in range(2):
            n += 1
            entries = [
                Entry(tenant="acme", key=key, command=f"{step}", events=_raw(incarnation[step]))
                for key, incarnation in lives
            ]
            yield Commit(n=n, epoch=1, turn=f"{n}", at=BEGAN, entries=entries)


def _raw(events: Sequence[ExecutionEvent]) -> list[msgspec.Raw]:
    return [msgspec.Raw(encode(event)) for event in events]


def _life(number: int) -> list[Sequence[ExecutionEvent]]:
    """Return what an execution is accepted with, and its end; each hundredth has none."""
    at = BEGAN + timedelta(seconds=number)
    origin = Origin(
        tenant="acme",
        execution_id=f"x-{number:08}",
        agent_id=f"agent-{number % 9}",
        session=f"s{number % SESSIONS}",
        task="Say something of nine words about the weather today.",
        digest="d" * 32,
        max_attempts=3,
    )
    request = GenerateRequest(
        provider=Scripted(responses=["well"]),
        messages=[ChatMessage(role="user", content=origin.task)],
    )
    wanted = Accept(origin=origin, request=request, timeout_seconds=300)
    begun = decide(None, wanted, at)
    state = None
    for event in begun.events:
        state = evolve(state, event)
    answer = Answer(
        text="It is as it was yesterday, and will be tomorrow.",
        finish_reason="stop",
        usage=Usage(input=20, output=11),
    )
    done = FinishGeneration(
        work="1", attempt=1, answer=answer, deltas=Deltas(count=9, sha256="0" * 64), started_at=at
    )
    ended = decide(state, done, at + timedelta(seconds=1)) if number % 100 else None
    return [begun.events, ended.events if ended else ()]
