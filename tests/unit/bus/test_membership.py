"""Who should own a shard: all agree, and a change moves no more than it must."""

from collections import Counter

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.codec import encode
from bus.config import Timing
from bus.membership import Membership, rendezvous
from bus.memory import memory_bus
from bus.requests.ask_all import Patience, ask_all
from schemas.fleet import HEARTBEAT_SUBJECT, WHO_SUBJECT, Alive
from tests.virtual import VIRTUAL_TIME, Backend

SHARDS = [f"execution.{number}" for number in range(64)]
QUICK = Timing(heartbeat_seconds=0.02, member_gone_seconds=0.1)
SECONDS = 5.0
names = st.sets(st.text("abcdef0123456789", min_size=4, max_size=8), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


def placed(processes: list[str]) -> dict[str, str | None]:
    return {shard: rendezvous(processes, shard) for shard in SHARDS}


@given(names)
def test_the_order_in_which_processes_are_known_changes_nothing(processes: set[str]):
    known = sorted(processes)

    assert placed(known) == placed(known[::-1])


@given(names, st.text("xyz", min_size=4, max_size=8))
def test_a_newcomer_moves_shards_only_to_itself(processes: set[str], newcomer: str):
    before, after = placed(sorted(processes)), placed(sorted({*processes, newcomer}))

    moved = {after[shard] for shard in SHARDS if before[shard] != after[shard]}
    assert moved <= {newcomer}


@given(names)
def test_who_leaves_moves_only_its_own_shards(processes: set[str]):
    known = sorted(processes)
    before, after = placed(known), placed(known[1:])

    moved = {before[shard] for shard in SHARDS if before[shard] != after[shard]}
    assert moved <= {known[0]}


@settings(max_examples=20)
@given(names, st.text("xyz", min_size=4, max_size=8))
def test_a_newcomer_takes_about_its_share_and_gives_just_that_back(
    processes: set[str], newcomer: str
):
    many = [f"execution.{number}" for number in range(1024)]
    known = sorted(processes)
    before = {shard: rendezvous(known, shard) for shard in many}
    joined = {shard: rendezvous([*known, newcomer], shard) for shard in many}
    moved = [shard for shard in many if before[shard] != joined[shard]]
    share = len(many) / (len(known) + 1)

    # Shares vary as counts of chance do: six deviations either way are never seen.
    assert abs(len(moved) - share) < 6 * share**0.5
    assert {joined[shard] for shard in moved} == {newcomer}
    assert {shard: rendezvous(known, shard) for shard in many} == before


def test_nobody_owns_a_shard_where_nobody_lives():
    assert rendezvous([], "execution.0") is None


def test_shards_are_spread_over_all():
    counts = Counter(placed([f"process-{number}" for number in range(4)]).values())

    assert len(counts) == 4
    assert max(counts.values()) < 32


def alive(name: str, *entities: str) -> Alive:
    return Alive(process=name, actor="agents", entities=list(entities))


async def until_owned_by(membership: Membership, *expected: str) -> None:
    with anyio.fail_after(SECONDS):
        while sorted(membership.owners("execution")) != sorted(expected):
            await membership.changed.wait()


async def test_members_hear_of_each_other_and_of_a_farewell():
    async with memory_bus(QUICK) as bus, anyio.create_task_group() as tasks:
        one = Membership(bus.transport, lambda: alive("one", "execution"), QUICK)
        two = Membership(bus.transport, lambda: alive("two", "execution"), QUICK)
        for membership in (one, two):
            tasks.start_soon(membership.run)
        await until_owned_by(one, "one", "two")
        await two.leave()
        await until_owned_by(one, "one")
        tasks.cancel_scope.cancel()


async def test_who_counts_the_processes_is_answered_at_once_by_all():
    async with memory_bus(QUICK) as bus, anyio.create_task_group() as tasks:
        one = Membership(bus.transport, lambda: alive("one", "execution"), QUICK)
        two = Membership(bus.transport, lambda: alive("two"), QUICK)
        for membership in (one, two):
            tasks.start_soon(membership.run)
        await until_owned_by(one, "one")
        one.refuse("execution.3")
        ask = Patience(seconds=QUICK.heartbeat_seconds / 2)
        answers = await ask_all(bus.transport, WHO_SUBJECT, b"", Alive, ask)
        assert {each.process: each.refused for each in answers} == {
            "one": ["execution.3"],
            "two": [],
        }
        tasks.cancel_scope.cancel()


async def test_who_falls_silent_is_forgotten_and_who_owns_nothing_owns_nothing():
    async with memory_bus(QUICK) as bus, anyio.create_task_group() as tasks:
        one = Membership(bus.transport, lambda: alive("one", "execution"), QUICK)
        tasks.start_soon(one.run)
        await until_owned_by(one, "one")
        for other in (alive("silent", "execution"), alive("worker")):
            await bus.transport.publish(HEARTBEAT_SUBJECT, encode(other))
        await until_owned_by(one, "one", "silent")
        assert sorted(member.process for member in one.members()) == ["one", "silent", "worker"]
        await until_owned_by(one, "one")
        tasks.cancel_scope.cancel()


async def test_nobody_is_forgotten_while_the_bus_is_away():
    heard = True
    async with (
        memory_bus(QUICK, fate=lambda *_: (0.0,) if heard else ()) as bus,
        anyio.create_task_group() as tasks,
    ):
        members = [
            Membership(bus.transport, lambda name=name: alive(name, "execution"), QUICK)
            for name in ("one", "two")
        ]
        for membership in members:
            tasks.start_soon(membership.run)
        await until_owned_by(members[0], "one", "two")
        changed = members[0].changed
        heard = False
        await anyio.sleep(3 * QUICK.member_gone_seconds)
        heard = True
        await anyio.sleep(2 * QUICK.heartbeat_seconds)

        assert sorted(members[0].owners("execution")) == ["one", "two"]
        assert not changed.is_set()
        tasks.cancel_scope.cancel()


async def test_a_refused_shard_is_left_to_others_until_it_is_readmitted():
    async with (
        memory_bus(QUICK) as world,
        world.process("one") as here,
        world.process("two") as there,
        anyio.create_task_group() as tasks,
    ):
        one = Membership(here.transport, lambda: alive("one", "execution"), QUICK)
        two = Membership(there.transport, lambda: alive("two", "execution"), QUICK)
        tasks.start_soon(one.run)
        tasks.start_soon(two.run)
        one.refuse("execution.3")
        with anyio.fail_after(SECONDS):
            while not two.refuses("one", "execution.3"):
                await two.changed.wait()
        assert one.refuses("one", "execution.3")
        assert not two.refuses("one", "execution.4")
        assert not two.refuses("nobody", "execution.3")

        one.readmit("execution.3")
        with anyio.fail_after(SECONDS):
            while two.refuses("one", "execution.3"):
                await two.changed.wait()
        tasks.cancel_scope.cancel()
