"""``callboard journal`` on the golden journal: what was ever stored can be looked at."""

import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import structlog
from click.testing import CliRunner, Result

from actors.cli.commands import main
from bus.connection import NatsAddress
from bus.jetstream import open_bus
from bus.subjects import journal_subject
from tests.contract.journals import paths, read, states_of
from tests.contract.recorder import GoldenJournal
from tests.servers import local_server

SUBJECT = journal_subject("execution", 0)


class Commands:
    """Runs commands against a server."""

    def __init__(self, url: str, *, tenant: str = "acme", shards: int = 1) -> None:
        self._environment = {
            "NATS_URL": url,
            "CALLBOARD_SHARDS": str(shards),
            "CALLBOARD_TENANT": tenant,
        }

    async def run(self, *arguments: str, code: int = 0) -> Result:
        done = await anyio.to_thread.run_sync(self._run, arguments)
        assert done.exit_code == code, (done.exit_code, done.output, done.exception)
        return done

    async def json(self, *arguments: str) -> Any:
        return json.loads((await self.run(*arguments)).stdout)

    def _run(self, arguments: tuple[str, ...]) -> Result:
        handlers, level = logging.root.handlers[:], logging.root.level
        try:
            return CliRunner().invoke(main, arguments, env=self._environment)
        finally:
            structlog.reset_defaults()
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)


@pytest.fixture(scope="module")
def golden() -> GoldenJournal:
    return read(paths("execution")[-1])


@pytest.fixture(scope="module")
async def commands(
    tmp_path_factory: pytest.TempPathFactory, golden: GoldenJournal
) -> AsyncGenerator[Commands]:
    """Commands against a server that holds the golden journal, and no fleet."""
    async with local_server(tmp_path_factory.mktemp("nats")) as server:
        address = NatsAddress(urls=server.urls, name="test")
        async with open_bus(address, entities=["execution"], durability=server.durability) as bus:
            await bus.blobs.put(bytes(golden.snapshot))
            for expected, commit in enumerate(golden.commits):
                await bus.journal("execution").append(SUBJECT, bytes(commit), expected=expected)
        yield Commands(server.url)


def final_state(key: str) -> Any:
    stored = json.loads(states_of(paths("execution")[-1]).read_bytes())
    return next(slot["state"] for slot in stored if slot["key"] == key)


async def test_the_history_of_an_entity_is_told_in_time_order(commands: Commands):
    moments = await commands.json("journal", "show", "execution", "spent", "--json")

    assert [(moment["kind"], moment["command"]) for moment in moments] == [
        ("accept", "accept.spent"),
        ("fail_generation", "fail.1.spent"),
        ("tick", ""),
        ("fail_generation", "fail.2.spent"),
    ]
    assert [[event["type"] for event in moment["events"]] for moment in moments] == [
        ["accepted", "attempt_started"],
        ["attempt_failed"],
        ["attempt_started"],
        ["attempt_failed", "failed"],
    ]
    effects = [(len(moment["opened"]), len(moment["closed"])) for moment in moments]
    assert effects == [(1, 0), (0, 1), (1, 0), (0, 1)]
    assert [moment["epoch"] for moment in moments] == [1, 1, 2, 2]
    assert [moment["at"] for moment in moments] == sorted(moment["at"] for moment in moments)


async def test_it_can_be_read_by_people(commands: Commands):
    text = (await commands.run("journal", "show", "execution", "done")).stdout

    assert "accept accept.done" in text
    assert "  event  accepted {" in text
    assert "  opens  generate " in text
    assert "  closes generate " in text
    assert "Say it: ä, 中, 🙂." in text


async def test_its_state_at_a_sequence_is_shown(commands: Commands):
    moments = await commands.json("journal", "show", "execution", "done", "--json")
    first, last = moments[0]["sequence"], moments[-1]["sequence"]

    begun = await commands.json("journal", "show", "execution", "done", "--at", str(last - 1))
    ended = await commands.json("journal", "show", "execution", "done", "--at", "999")

    assert begun["status"] == "RUNNING"
    assert ended == final_state("done")
    unborn = await commands.run(
        "journal", "show", "execution", "done", "--at", str(first - 1), code=1
    )
    assert unborn.stderr.startswith("not_found: no state of execution done is known")


async def test_snapshots_are_listed(commands: Commands, golden: GoldenJournal):
    (found,) = await commands.json("journal", "snapshots", "execution", "--json")

    assert (found["shard"], found["version"], found["entities"]) == (0, 1, 4)
    assert found["size"] == len(bytes(golden.snapshot))
    table = (await commands.run("journal", "snapshots", "execution", "0")).stdout
    assert found["ref"]["blob"][:20] in table


async def test_shards_without_an_owner_are_shown_with_what_is_stored(
    commands: Commands, golden: GoldenJournal
):
    rows = json.loads((await commands.run("shards", "--json", code=1)).stdout)

    (row,) = rows
    assert (row["state"], row["owner"], row["commit"]) == ("no owner", None, len(golden.commits))
    assert row["snapshot"] < row["commit"]
    assert row["snapshot_at"] < row["committed_at"]
    assert "no owner" in (await commands.run("shards", code=1)).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "execution", "nobody"), "not_found: the journal holds nothing of execution"),
        (("show", "planet", "a"), "not_found: there is no entity planet"),
        (("show", "account"), "not_found: there is no journal of account; there are those of exec"),
        (("show", "account", "--platform"), "not_found: there is no journal of account"),
        (("snapshots", "planet"), "not_found: there is no journal of planet; there are those of"),
        (("snapshots", "execution", "1"), "not_found: the shards of execution are 0 to 0 (shard)"),
    ],
)
async def test_what_is_not_there_is_said(commands: Commands, arguments: tuple[str, ...], said: str):
    done = await commands.run("journal", *arguments, code=1)

    assert done.stderr.startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "execution"), "Missing argument 'KEY': which execution?"),
        (("show", "execution", "done", "--at", "-1"), "-1 is not in the range x>=1"),
        (("snapshots", "execution", "--", "-1"), "-1 is not in the range x>=0"),
    ],
)
async def test_what_cannot_be_meant_is_said(
    commands: Commands, arguments: tuple[str, ...], said: str
):
    done = await commands.run("journal", *arguments, code=2)

    assert said in done.stderr


async def test_shards_of_what_has_no_journal_are_an_error_of_the_asker(commands: Commands):
    done = await commands.run("shards", "--entity", "planet", code=1)

    assert done.stderr.startswith(
        "not_found: there is no journal of planet; there are those of exe"
    )


async def test_a_bus_on_which_nothing_ever_ran_has_no_served_shards(tmp_path: Path):
    async with local_server(tmp_path) as server:
        done = await Commands(server.url).run("shards", code=1)

    assert done.stderr.startswith("not_found: there are no journals: no fleet has ever run")
