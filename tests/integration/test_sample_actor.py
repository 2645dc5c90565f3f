"""A whole actor of 120 lines: nothing else in the house is told of it but its name."""

import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner

import actors
from actors.cli.commands import main
from actors.fleet import declared
from actors.fleet.plan import REPLICAS
from bus.actor import serve
from bus.client import Client
from bus.codec import encode
from bus.config import Timing
from bus.connection import NatsAddress, NatsTransport, connect
from bus.jetstream.publishing import store
from bus.security.permissions import tenant_permissions
from bus.streams.api import JetStream
from bus.subjects import submit_subject
from schemas import base, documents
from tests.architecture.tree import ROOT
from tests.servers import local_server

NAME, TENANT = "ballots", "local"
SOURCE = ROOT / "tests" / "sample_actor.py"
MOST_LINES = 120
SECONDS = 30
QUICK = Timing(entities_in_memory=0, idle_seconds=0.0, rest_seconds=0.05, join_seconds=0.1)


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Any]:
    """Write the actor into a package, and let this process alone know it."""
    package = tmp_path / "house" / NAME
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Counts votes."""\n', encoding="utf-8")
    shutil.copy(SOURCE, package / "actor.py")
    monkeypatch.setattr(actors, "__path__", [*actors.__path__, str(package.parent)])
    monkeypatch.setitem(REPLICAS, NAME, 1)
    requests = dict(base.REQUESTS)
    yield import_module(f"actors.{NAME}.actor")
    base.REQUESTS.clear()
    base.REQUESTS.update(requests)
    for module in [name for name in sys.modules if name.startswith(f"actors.{NAME}")]:
        del sys.modules[module]
    del actors.__dict__[NAME]


@asynccontextmanager
async def serving(
    sample: Any, folder: Path, env: pytest.MonkeyPatch
) -> AsyncGenerator[NatsAddress]:
    """Run the actor in this process, on a server of its own."""
    async with local_server(folder / "nats") as server, anyio.create_task_group() as tasks:
        for name, value in {
            "NATS_URL": ",".join(server.urls),
            "CALLBOARD_DURABILITY": server.durability,
            "CALLBOARD_DATA": str(folder),
            "CALLBOARD_SHARDS": "2",
        }.items():
            env.setenv(name, value)
        tasks.start_soon(partial(serve, sample.ACTOR, timing=QUICK))
        yield NatsAddress(urls=server.urls, name="test")
        tasks.cancel_scope.cancel()


async def callboard(*arguments: str) -> str:
    """Run a command beside the tasks of a test; it must succeed."""
    done = await anyio.to_thread.run_sync(partial(CliRunner().invoke, main, arguments))
    assert done.exit_code == 0, done.output
    return done.output


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once a condition holds; the test has a deadline."""
    while not await condition():
        await anyio.sleep(0.05)


async def asleep(transport: NatsTransport, *keys: str) -> bool:
    """Say whether these entities are at rest."""
    info = await JetStream(transport).stream_info("JOURNAL_BALLOT", subjects="_cb.state.>")
    at_rest = {subject.rpartition(".")[2] for subject in info["state"].get("subjects") or ()}
    return at_rest >= set(keys)


def test_it_is_short(sample: Any):
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert sample.ACTOR.name == NAME


def test_it_is_in_the_documents_the_permissions_the_streams_and_the_command_line(sample: Any):
    told = documents.asyncapi()["channels"]
    allowed = tenant_permissions(TENANT, "ann").publish
    streams = {spec.name for spec in declared.streams([NAME])}
    help_ = CliRunner().invoke(main, ["--help"]).output

    assert {"ballots-cast", "ballots-list"} <= set(told)
    assert {"cb.local.ballots.cast", "cb.local.submit.ballots.cast"} <= set(allowed)
    assert "cb.local.submit.ballots.list" not in allowed
    assert {"JOURNAL_BALLOT", "KV_ballots"} <= streams
    assert "cast, list" in help_
    assert declared.entity("ballot") is sample.BALLOT


async def test_it_serves_submits_lists_sleeps_and_wakes(
    sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with anyio.fail_after(2 * SECONDS):
        async with serving(sample, tmp_path, monkeypatch) as address, connect(address) as transport:
            client = Client(transport)
            vote = partial(client.request, TENANT, sample.CastVote(item="tea"))
            assert "1 ready of 1 alive" in await callboard(
                "doctor", "--expect", f"{NAME}=1", "--wait", f"{SECONDS}"
            )

            assert (await vote()).votes == {"tea": 1}
            submitted = sample.CastVote(item="milk")
            await store(transport, submit_subject(sample.CastVote, TENANT), encode(submitted))
            await until(partial(listed, client, sample, {"tea": 1, "milk": 1}))
            await until(partial(noted, transport, sample, "tea.1", "milk.1"))
            await until(partial(asleep, transport, "tea", "milk"))
            assert (await vote()).votes == {"tea": 2}


async def listed(client: Client, sample: Any, votes: dict[str, int]) -> bool:
    return (await client.request(TENANT, sample.ListVotes())).votes == votes


async def noted(transport: NatsTransport, sample: Any, *names: str) -> bool:
    bucket = sample.NOTES.open(transport, JetStream(transport))
    return all([await bucket.get(f"{TENANT}.{name}") for name in names])
