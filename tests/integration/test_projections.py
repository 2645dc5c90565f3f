"""Projections: each event counts once, whatever dies, and nothing old is answered unsaid."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from bus.errors import UnavailableError
from bus.projection import Fact, Projector, Rows, projection_states, rebuild
from bus.subjects import journal_subject
from bus.testing import NatsWorld, Server, World
from schemas.fleet import ProjectionState
from tests.integration.waiting import until
from tests.projections import (
    ENTITY,
    QUICK,
    SUMS,
    TABLES,
    Journalist,
    apply,
    everything,
    projecting,
    totals,
)
from tests.servers import PATIENCE


async def test_a_question_is_answered_from_all_that_was_committed_before_it(
    mortal_world: World, tmp_path: Path
):
    async with mortal_world.process() as bus, projecting(bus, tmp_path) as projector:
        journalist = Journalist(bus)
        for round_ in range(20):
            await journalist.commit(round_ % 3, 1, 2)
            answer = await projector.ask(totals)
            assert (answer.value, answer.behind_commits) == (
                {"acme": (3 * (round_ + 1), 2 * (round_ + 1))},
                0,
            )


async def test_shards_tenants_and_large_entries_all_count(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        for shard in range(4):
            await journalist.commit(shard, 1)
            await journalist.commit(shard, 10, tenant="bolt", blob=True)
        async with projecting(bus, tmp_path) as projector:
            assert (await projector.ask(totals)).value == {"acme": (4, 4), "bolt": (40, 4)}


async def test_a_journal_of_many_pages_is_read_whole(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        for number in range(600):
            await journalist.commit(number % 2, number)
        async with projecting(bus, tmp_path) as projector:
            assert (await projector.ask(totals)).value == {"acme": (sum(range(600)), 600)}


async def test_a_copy_goes_on_where_it_stopped(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        await journalist.commit(0, 1)
        async with projecting(bus, tmp_path) as projector:
            await projector.ask(totals)
        await journalist.commit(0, 2)
        seen: list[int] = []

        def note(rows: Rows, fact: Fact) -> None:
            seen.append(fact.event.amount)
            apply(rows, fact)

        async with projecting(bus, tmp_path, replace(SUMS, apply=note)) as projector:
            assert (await projector.ask(totals)).value == {"acme": (3, 2)}

    assert seen == [2]


async def test_another_version_makes_its_tables_anew(mortal_world: World, tmp_path: Path):
    other = replace(SUMS, version=2, tables=TABLES.replace("lines INTEGER", "lines INT NOT NULL"))
    async with mortal_world.process() as bus:
        await Journalist(bus).commit(0, 1)
        async with projecting(bus, tmp_path) as projector:
            await projector.ask(totals)
        async with projecting(bus, tmp_path, other) as projector:
            answer = await projector.ask(totals)
            schema = await projector.ask(
                lambda rows: rows.execute("PRAGMA table_info(total)").fetchall()
            )

    assert answer.value == {"acme": (1, 1)}
    assert [(column[1], column[3]) for column in schema.value][-1] == ("lines", 1)


async def test_a_rebuilt_copy_equals_the_one_that_followed(mortal_world: World, tmp_path: Path):
    applied: list[Fact] = []

    def counted(rows: Rows, fact: Fact) -> None:
        applied.append(fact)
        apply(rows, fact)

    counting = replace(SUMS, apply=counted)
    async with mortal_world.process() as bus, projecting(bus, tmp_path, counting) as projector:
        journalist = Journalist(bus)
        for number in range(50):
            await journalist.commit(number % 4, number, -number, tenant=f"t{number % 3}")
            if number % 10 == 0:
                await projector.ask(totals)
        followed = (await projector.ask(everything)).value
        await rebuild(bus.transport, "no such projection")
        await rebuild(bus.transport, "sums")
        await until(lambda: len(applied) == 200)

        assert (await projector.ask(everything)).value == followed


async def test_what_was_purged_is_missing_where_it_may_not_be(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        journalist = Journalist(bus)
        for amount in (1, 2, 4):
            await journalist.commit(0, amount)
        last = await bus.journal(ENTITY).last(journal_subject(ENTITY, 0))
        assert last is not None
        await bus.journal(ENTITY).purge(journal_subject(ENTITY, 0), below=last.sequence)
        async with projecting(bus, tmp_path / "part", replace(SUMS, whole=False)) as projector:
            assert (await projector.ask(totals)).value == {"acme": (4, 1)}
        async with projecting(bus, tmp_path / "whole") as projector:
            with pytest.raises(UnavailableError, match="commit 3 follows commit 0"):
                await projector.ask(totals)


async def test_a_gap_is_refused_and_said_and_what_was_applied_stays(
    mortal_world: World, tmp_path: Path
):
    async with mortal_world.process() as bus, projecting(bus, tmp_path) as projector:
        journalist = Journalist(bus)
        await journalist.commit(0, 1)
        await projector.ask(totals)
        await journalist.skip(0)
        await journalist.commit(0, 2)

        with pytest.raises(UnavailableError, match="commit 3 follows commit 1"):
            await projector.ask(totals)
        stale = await projector.ask(totals, fresh=False)

        assert (stale.value, stale.behind_commits) == ({"acme": (1, 1)}, 1)
        assert projector.state is not None
        assert projector.state.state == "refused"


async def test_a_damaged_file_is_made_anew(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus:
        await Journalist(bus).commit(0, 1)
        async with projecting(bus, tmp_path) as projector:
            await projector.ask(totals)
        (tmp_path / "sums.0.sqlite3").write_bytes(b"not a database, by any means" * 200)
        async with projecting(bus, tmp_path) as projector:
            assert (await projector.ask(totals)).value == {"acme": (1, 1)}


async def test_processes_on_one_machine_have_a_copy_each_and_tell_of_it(
    mortal_world: World, tmp_path: Path
):
    async with mortal_world.process() as bus:
        await Journalist(bus).commit(0, 1)
        async with projecting(bus, tmp_path) as one, projecting(bus, tmp_path) as other:
            assert (await one.ask(totals)).value == (await other.ask(totals)).value
            states = await projection_states(bus.transport, seconds=1.0)

        assert [_known(state) for state in states] == [
            ("sums", "current", "sums.0.sqlite3", 0),
            ("sums", "current", "sums.1.sqlite3", 0),
        ]
        async with projecting(bus, tmp_path) as again:
            await again.ask(totals)
            assert again.state is not None
            assert Path(again.state.file).name == "sums.0.sqlite3"


async def test_a_restart_of_the_bus_is_survived(mortal_world: World, tmp_path: Path):
    async with mortal_world.process() as bus, projecting(bus, tmp_path) as projector:
        journalist = Journalist(bus)
        await journalist.commit(0, 1)
        await projector.ask(totals)
        await mortal_world.restart()
        await journalist.commit(0, 2)

        assert await _asked(projector) == {"acme": (3, 2)}


async def test_another_journal_in_its_place_makes_it_begin_anew(
    tmp_path: Path, own_nats: NatsWorld
):
    async with own_nats.process() as bus, projecting(bus, tmp_path / "copy") as projector:
        await Journalist(bus).commit(0, 1)
        await projector.ask(totals)
        await bus.jetstream.call("STREAM.DELETE.JOURNAL_ACCOUNT")
    async with own_nats.process() as bus, projecting(bus, tmp_path / "copy") as projector:
        await Journalist(bus).commit(0, 7)

        assert (await projector.ask(totals)).value == {"acme": (7, 1)}


async def test_a_process_killed_in_mid_batch_leaves_each_event_counted_once(
    own_nats: NatsWorld, tmp_path: Path
):
    directory, events = tmp_path / "copies", 900
    async with own_nats.process() as bus:
        journalist = Journalist(bus)
        for number in range(events // 3):
            await journalist.commit(number % 5, number, 1, 2, tenant=f"t{number % 2}")
        for dies_after in (1, 40, 333, 767, 60):
            await _kill_one(own_nats.server, directory, dies_after)
        async with projecting(bus, directory) as projector:
            resumed = (await projector.ask(everything)).value
        async with projecting(bus, tmp_path / "rebuilt") as projector:
            rebuilt = (await projector.ask(everything)).value

    assert resumed == rebuilt
    assert sum(row[0] == "line" for row in resumed) == events


def _known(state: ProjectionState) -> tuple[str, str, str, int]:
    return state.projection, state.state, Path(state.file).name, state.behind_commits


async def _asked(projector: Projector) -> dict[str, tuple[int, int]]:
    """Ask until the bus is there again."""
    with anyio.fail_after(20.0 * PATIENCE):
        while True:
            try:
                return (await projector.ask(totals)).value
            except UnavailableError:
                await anyio.sleep(QUICK.projection_poll_seconds)


async def _kill_one(server: Server, directory: Path, events: int) -> None:
    """Run a process that dies while it applies an event."""
    wanted = [server.urls[0], server.durability, str(directory), str(events)]
    with anyio.fail_after(30.0 * PATIENCE):
        done = await anyio.run_process(
            [sys.executable, "-m", "tests.projection_process", *wanted], check=False
        )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
