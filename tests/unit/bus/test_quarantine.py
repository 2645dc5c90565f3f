"""What cannot be read of a journal costs its entities, never their shard."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import CorruptJournalError, ProblemError
from bus.membership import Membership
from bus.memory import MemoryBus, memory_bus
from bus.memory.bus import MemoryProcess
from bus.ports import Resting
from bus.requests.rpc import Owners, command
from bus.shard import ShardHost
from bus.shard.book import ShardBook
from bus.shard.quarantine import skip_command
from bus.shard.recovery import Recovered, take_over
from bus.shard.salvage import MAX_DEPTH, cut, read_commit
from bus.shard.turn import quarantine, take_turn
from bus.subjects import journal_subject, shard_of
from schemas.entity import Entity
from schemas.fleet import Alive
from schemas.journal import AtRest, Commit, CorruptSkipped, Entry, SlotImage, Snapshot, SnapshotRef
from schemas.letters import DeadLetter
from tests.unit.bus.shard_entity import ENTITY, Add, Added, Broken, Counter, Total, pending
from tests.virtual import VIRTUAL_TIME, Backend

SHARDS = 16
AT = datetime(2026, 1, 2, tzinfo=UTC)
SECONDS = 8.0
QUICK = Timing(
    heartbeat_seconds=0.02,
    member_gone_seconds=0.15,
    join_seconds=0.06,
    reconcile_seconds=0.03,
    housekeeping_seconds=0.05,
    record_delay_seconds=0.01,
    snapshot_commits=5,
)
DEEP = b"[" * 5000 + b"]" * 5000


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


def raw(plain: object) -> msgspec.Raw:
    return msgspec.Raw(encode(plain))


def entry(key: str, *events: object, n: int = 1, after: int = 0, **more: Any) -> Entry:
    raws = [event if isinstance(event, msgspec.Raw) else raw(event) for event in events]
    place = {"n": n, "after": after}
    return Entry(tenant="acme", key=key, command=key, kind="add", events=raws, **place, **more)


def second(*events: object, **more: Any) -> Entry:
    """Return the second entry of the entity that is to be damaged."""
    return entry("bad", *events, n=2, after=1, **more)


def commit(n: int, *entries: Entry, **more: Any) -> Commit:
    return Commit(n=n, epoch=1, turn=f"t.{n}", at=AT, entries=list(entries), **more)


def good(n: int, *, count: int = 1, after: int = 0) -> Commit:
    """Return a commit with the ``count``-th entries of both, which follow on commit ``after``."""
    place: dict[str, Any] = {"n": count, "after": after}
    return commit(
        n, entry("good", Added(amount=1), **place), entry("bad", Added(amount=2), **place)
    )


async def stored(bus: MemoryProcess, shard: int, *commits: Commit | bytes) -> None:
    journal, subject = bus.journal("counter"), journal_subject("counter", shard)
    for each in commits:
        last = await journal.last(subject)
        data = each if isinstance(each, bytes) else encode(each)
        await journal.append(subject, data, expected=last.sequence if last else 0)


async def taken_over(
    bus: MemoryProcess, shard: int = 0, entity: Entity[Any, Any, Any] = ENTITY
) -> Recovered:
    return await take_over(
        entity,
        journal_subject("counter", shard),
        "test",
        journal=bus.journal("counter"),
        blobs=bus.blobs,
        states=bus.states("counter"),
    )


@asynccontextmanager
async def opened() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus(QUICK) as world, world.process() as bus:
        yield bus


# Each kind of damage: what lies in the journal as commit 2, of the entity "bad"


def undecodable(_: MemoryProcess) -> bytes:
    return encode(commit(2, second(msgspec.Raw(b'{"type":"added","amount":"x"}'))))


def of_no_known_type(_: MemoryProcess) -> bytes:
    return encode(commit(2, second(msgspec.Raw(b'{"type":"forgotten"}'))))


def raising(_: MemoryProcess) -> bytes:
    return encode(commit(2, second(Added(amount=5), Broken())))


def without_its_blob(_: MemoryProcess) -> bytes:
    return encode(commit(2, second(blob="0" * 64)))


def too_deep(_: MemoryProcess) -> bytes:
    return encode(commit(2, second(msgspec.Raw(b'{"type":"added","amount":%b}' % DEEP))))


def of_another_shape(_: MemoryProcess) -> bytes:
    return encode(commit(2, second())).replace(b'"command":"bad"', b'"command":7')


def with_a_base_that_is_none(_: MemoryProcess) -> bytes:
    return encode(commit(2, second(Added(amount=1), base=raw({"total": "x"}))))


def torn(_: MemoryProcess) -> bytes:
    return encode(commit(2, second(Added(amount=1))))[:-20]


DAMAGE = [
    undecodable,
    of_no_known_type,
    raising,
    without_its_blob,
    too_deep,
    of_another_shape,
    with_a_base_that_is_none,
    torn,
]
Damage = Callable[[MemoryProcess], bytes]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_bad_entry_costs_its_entity_alone(damage: Damage):
    async with opened() as bus:
        await stored(bus, 0, good(1), damage(bus), good(3, count=2, after=1))
        book = (await taken_over(bus)).book

    assert set(book.corrupt) == {("acme", "bad")}
    assert book.slots["acme", "good"].state == Counter(total=2)
    assert book.slots["acme", "bad"].state == Counter(total=2)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_in_the_newest_commit_is_survived(damage: Damage):
    async with opened() as bus:
        await stored(bus, 0, good(1), damage(bus))
        first = (await taken_over(bus)).book
        again = (await taken_over(bus)).book

    assert set(first.corrupt) == set(again.corrupt) == {("acme", "bad")}
    assert (again.n, again.epoch) == (first.n + 1, first.epoch + 1)


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"{", b"[" * 100_000, b"null", b'{"n":2}'])
async def test_a_commit_of_which_nothing_can_be_read_is_passed_over(garbage: bytes):
    async with opened() as bus:
        await stored(bus, 0, good(1), garbage, good(3, count=2, after=1), garbage)
        recovered = await taken_over(bus)

    assert recovered.unreadable == 2
    assert recovered.book.corrupt == {}
    assert recovered.book.slots["acme", "good"].state == Counter(total=2)


async def test_a_journal_of_nothing_but_garbage_is_taken_over():
    async with opened() as bus:
        await stored(bus, 0, b"x", b"y")
        assert (await taken_over(bus)).book.n == 3


async def test_a_gap_that_no_garbage_fills_is_refused():
    async with opened() as bus:
        await stored(bus, 0, good(1), b"garbage", good(4, count=2, after=1))
        with pytest.raises(CorruptJournalError, match="commit 4 follows commit 1"):
            await taken_over(bus)


# Snapshots


async def snapshot(bus: MemoryProcess, data: bytes) -> SnapshotRef:
    return SnapshotRef(blob=await bus.blobs.put(data), n=1, sequence=1)


def image(bad: bytes) -> bytes:
    slots = [
        SlotImage(tenant="acme", key="good", state=raw(Counter(total=40)), n=1, last=1),
        SlotImage(tenant="acme", key="bad", state=msgspec.Raw(bad), n=1, last=1),
    ]
    return encode(Snapshot(entity="counter", version=1, n=1, at=AT, slots=slots))


@pytest.mark.parametrize("bad", [b'{"total":"x"}', b'{"total":%b}' % DEEP, b"[]", b"1e999"])
async def test_a_slot_that_cannot_be_read_costs_its_entity_alone(bad: bytes):
    async with opened() as bus:
        ref = await snapshot(bus, image(bad))
        await stored(
            bus, 0, good(1), msgspec.structs.replace(good(2, count=2, after=1), snapshot=ref)
        )
        book = (await taken_over(bus)).book

    assert set(book.corrupt) == {("acme", "bad")}
    assert book.slots["acme", "good"].state == Counter(total=41)


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[" * 100_000])
async def test_without_its_snapshot_a_shard_is_rebuilt_from_the_whole_journal(data: bytes):
    async with opened() as bus:
        ref = await snapshot(bus, data)
        await stored(
            bus, 0, good(1), msgspec.structs.replace(good(2, count=2, after=1), snapshot=ref)
        )
        book = (await taken_over(bus)).book

    assert (book.corrupt, book.slots["acme", "good"].state) == ({}, Counter(total=2))


@pytest.mark.parametrize("damage", [of_another_shape, torn])
@pytest.mark.parametrize(("last", "is_corrupt"), [(1, True), (2, False)])
async def test_damage_of_what_is_at_rest_costs_only_what_its_state_does_not_hold(
    damage: Damage, last: int, *, is_corrupt: bool
):
    at_rest = AtRest(version=1, n=last, last=last, state=raw(Counter(total=7)))
    async with opened() as bus:
        writer = await bus.states("counter").own(0, 0)
        await writer.write([Resting("acme", "bad", last, encode(at_rest))])
        await stored(bus, 0, commit(1, entry("good", Added(amount=1))), damage(bus))
        book = (await taken_over(bus)).book

    assert (("acme", "bad") in book.corrupt) is is_corrupt
    assert book.slots["acme", "bad"].state == Counter(total=7)


async def test_a_snapshot_keeps_the_quarantine():
    async with opened() as bus:
        await stored(bus, 0, good(1), raising(bus))
        book = (await taken_over(bus)).book

    loaded = ShardBook(ENTITY)
    loaded.load(decode(Snapshot, encode(book.image())))

    assert loaded.corrupt == book.corrupt
    assert loaded.slots["acme", "bad"].state == Counter(total=2)
    assert loaded.unmarked == set()


def test_an_entity_in_quarantine_has_nothing_outstanding():
    book = ShardBook(ENTITY)
    take_turn(book, [pending("1", "c", Add(amount=12))], AT)
    assert list(book.open_work())

    book.condemn(("acme", "c"), "a reason")

    assert not list(book.open_work())
    book.set_timer(("acme", "c"))
    assert book.slots["acme", "c"].open == {}
    book.evict(("acme", "c"))
    assert ("acme", "c") in book.slots


# A core that raises where its state is looked at


def test_effects_that_raise_cost_the_command_and_not_the_turn():
    def effects(state: Counter) -> tuple[()]:
        if state.total == 13:
            raise ZeroDivisionError
        return ()

    book = ShardBook(replace(ENTITY, effects=effects))
    letters = [pending("1", "c", Add(amount=13)), pending("1", "d", Add(amount=1))]
    outcome = take_turn(book, letters, AT)

    assert [reason for _, reason in outcome.crashed] == ["ZeroDivisionError in decide"]
    assert book.slots["acme", "c"].state is None
    assert set(outcome.touched) == {("acme", "d")}


def test_a_timer_that_raises_costs_the_entity_and_not_the_turn():
    def due(state: Counter) -> None:
        if state.total == 13:
            raise ZeroDivisionError

    book = ShardBook(replace(ENTITY, due=due))
    letters = [pending("1", "c", Add(amount=13)), pending("1", "d", Add(amount=1))]
    outcome = take_turn(book, letters, AT)

    assert set(book.corrupt) == book.unmarked == {("acme", "c")}
    assert set(outcome.touched) == {("acme", "d")}


def test_work_of_an_entity_that_is_found_corrupt_is_called_off():
    def due(state: Counter) -> None:
        if state.total == 13:
            raise ZeroDivisionError

    book = ShardBook(replace(ENTITY, due=due))
    opened = take_turn(book, [pending("1", "c", Add(amount=12))], AT).opened
    outcome = take_turn(book, [pending("2", "c", Add(amount=1))], AT)

    assert outcome.closed == [work for _, work in opened]
    assert not list(book.open_work())


def _unable(*_: object) -> tuple[()]:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "core",
    [
        {"failing": _unable},
        {"failing": lambda damage: (damage.state, (Broken(),))},
        {"failing": lambda damage: (damage.state, (object(),))},
        {"state_type": int},
    ],
    ids=["no ending", "an ending that raises", "an ending that is none", "a state that is none"],
)
def test_an_entity_that_cannot_even_be_ended_is_in_quarantine_all_the_same(core: dict[str, Any]):
    book = ShardBook(ENTITY)
    take_turn(book, [pending("1", "c", Add(amount=12))], AT)
    book.entity = replace(ENTITY, **core)
    book.condemn(("acme", "c"), "a reason")

    outcome = quarantine(book, AT, 1000, {("acme", "c"): None})

    assert [(each.corrupt, each.events) for each in outcome.entries] == [("a reason", [])]
    assert [type(each.body) for each in outcome.publications] == [DeadLetter]
    assert (set(book.corrupt), book.unmarked) == ({("acme", "c")}, set())


# What was cut


def test_what_is_nested_too_deep_is_cut_out_and_cannot_be_taken_for_something():
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    text = b'{"a":%b,"s":"[[[\\"{{","b":[1]}' % deep
    cut_text = cut(text)

    assert decode(dict[str, msgspec.Raw], cut_text)["b"] == msgspec.Raw(b"[1]")
    with pytest.raises(ProblemError):
        decode(dict[str, Any], cut_text)
    assert cut(b'{"a":[1,"]"]}') == b'{"a":[1,"]"]}'


def test_of_a_garbled_commit_the_entities_are_told_that_it_names():
    data = encode(commit(2, entry("one", Added(amount=1)), entry("two", Added(amount=1))))

    found = read_commit(data.replace(b'"n":2', b'"n":?'))

    assert found.commit is None
    assert set(found.damaged) == {("acme", "one"), ("acme", "two")}


# Sixteen poisoned shards, served


@asynccontextmanager
async def hosting(
    world: MemoryBus, name: str = "one", entity: Entity[Any, Any, Any] = ENTITY
) -> AsyncGenerator[Owners]:
    alive = Alive(process=name, actor="test", entities=["counter"])
    async with world.process(name) as bus, anyio.create_task_group() as tasks:
        membership = Membership(bus.transport, lambda: alive, QUICK)
        host = ShardHost(entity, SHARDS, name, membership, bus, QUICK)
        tasks.start_soon(membership.run)
        tasks.start_soon(host.run)
        with anyio.fail_after(SECONDS):
            while len(host.owned) < SHARDS:
                await anyio.sleep(0.01)
        yield Owners(bus.transport, "counter", SHARDS, QUICK)
        await host.drain()
        tasks.cancel_scope.cancel()


def key_in(shard: int, prefix: str) -> str:
    names = (f"{prefix}-{number}" for number in range(10_000))
    return next(name for name in names if shard_of("acme", name, SHARDS) == shard)


async def poisoned(world: MemoryBus) -> None:
    async with world.process() as bus:
        for shard in range(SHARDS):
            good, bad = key_in(shard, "good"), key_in(shard, "bad")
            data = DAMAGE[shard % len(DAMAGE)](bus).replace(b'"bad"', b'"%b"' % bad.encode())
            first = commit(1, entry(good, Added(amount=1)), entry(bad, Added(amount=2)))
            await stored(bus, shard, first, data)


async def add(owners: Owners, key: str, name: str) -> bytes:
    return await owners.ask(command(name, "acme", key, Add(amount=1)), timeout=SECONDS)


async def refused_as(owners: Owners, key: str, name: str) -> tuple[str, bool]:
    with pytest.raises(ProblemError) as refused:
        await add(owners, key, name)
    return refused.value.problem.code, refused.value.problem.retryable


def letters_in(world: MemoryBus) -> list[DeadLetter]:
    found = world.store.everything("DEAD")
    return [decode(DeadLetter, stored.data) for _, stored in found]


async def test_sixteen_poisoned_shards_are_served_and_say_what_is_corrupt():
    async with memory_bus(QUICK) as world:
        await poisoned(world)
        async with hosting(world) as owners:
            for shard in range(SHARDS):
                assert decode(Total, await add(owners, key_in(shard, "good"), "a")).total == 2
                assert await refused_as(owners, key_in(shard, "bad"), "a") == ("corrupt", False)
        letters = letters_in(world)
        assert len({each.id for each in letters}) == len(letters) == SHARDS

        async with hosting(world, "two") as owners:
            for shard in range(SHARDS):
                assert await refused_as(owners, key_in(shard, "bad"), "b") == ("corrupt", False)
            for round_ in range(12):
                await add(owners, key_in(0, "good"), f"more-{round_}")
        assert len(letters_in(world)) == SHARDS


async def test_an_entity_ends_by_what_its_record_tells():
    core = replace(
        ENTITY,
        failing=lambda damage: (decode(Counter, damage.record or b""), ()),
        record_subject=lambda tenant, key: f"cb.{tenant}.record.{key}",
    )
    async with memory_bus(QUICK) as world:
        await poisoned(world)
        bad = key_in(0, "bad")
        async with world.process() as bus:
            await bus.outbox.post(f"cb.acme.record.{bad}", encode(Counter(total=5)))
        async with hosting(world, entity=core) as owners:
            assert decode(Total, await add(owners, bad, "a")).total == 6
            assert await refused_as(owners, key_in(1, "bad"), "a") == ("corrupt", False)


async def test_damage_that_was_skipped_stays_skipped_for_every_later_owner():
    async with memory_bus(QUICK) as world:
        await poisoned(world)
        bad = key_in(0, "bad")
        async with hosting(world) as owners:
            answer = await owners.ask(skip_command("s", ("acme", bad)), timeout=SECONDS)
            assert decode(CorruptSkipped, answer) == CorruptSkipped()
            assert decode(Total, await add(owners, bad, "b")).total == 3
            with pytest.raises(ProblemError, match="not corrupt"):
                await owners.ask(skip_command("t", ("acme", bad)), timeout=SECONDS)
        async with hosting(world, "two") as owners:
            assert decode(Total, await add(owners, bad, "c")).total == 4
            assert await refused_as(owners, key_in(1, "bad"), "c") == ("corrupt", False)


async def test_an_entity_of_which_no_state_can_be_read_begins_anew_when_it_is_skipped():
    async with memory_bus(QUICK) as world:
        async with world.process() as bus:
            await stored(
                bus, shard_of("acme", "bad", SHARDS), undecodable(bus).replace(b'"n":2', b'"n":1')
            )
        async with hosting(world) as owners:
            answer = await owners.ask(skip_command("s", ("acme", "bad")), timeout=SECONDS)
            assert decode(CorruptSkipped, answer) == CorruptSkipped(anew=True)
            assert decode(Total, await add(owners, "bad", "b")).total == 1
