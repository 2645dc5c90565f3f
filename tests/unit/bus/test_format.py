"""What commands carry beside their bodies, and what entries, announcements and answers tell."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.memory import memory_bus
from bus.ports import Delivery
from bus.requests.caller import Caller
from bus.requests.rpc import POSITION, Owners, PositionedAnswer, command
from bus.requests.service import reply
from bus.shard.book import ShardBook
from bus.shard.history import History
from bus.shard.turn import CLOCKS_DIFFER, Outcome, PendingCommand, take_turn
from schemas.ids import PLATFORM
from schemas.journal import CommandEnvelope, Commit, Snapshot
from schemas.problems import Problem
from tests.unit.bus.shard_entity import ENTITY, Add, Break, Counter, Total, pending

AT = datetime(2026, 12, 1, tzinfo=UTC)
HERE = ("acme", "c")
TIMING = Timing(request_try_seconds=0.05, retry_least_seconds=0.01, retry_most_seconds=0.02)
TOLD: dict[str, Any] = {
    "by": "acme/admin",
    "cause": "parent.acme.p.7",
    "trace": "00-1-2-01",
    "seal": "key-3",
}


def envelope(name: str = "1", body: Add | Break | None = None, **more: Any) -> CommandEnvelope:
    return msgspec.structs.replace(command(name, *HERE, body or Add(amount=1)), **more)


def turn(book: ShardBook, *envelopes: CommandEnvelope, at: datetime = AT) -> Outcome:
    outcome = take_turn(book, [PendingCommand(each, "answer") for each in envelopes], at)
    book.n += 1
    return outcome


def stored(n: int, outcome: Outcome) -> Commit:
    """Return a turn's commit as the journal holds it."""
    commit = Commit(n=n, epoch=1, turn="t", at=AT, entries=outcome.entries)
    return decode(Commit, encode(commit))


# Who commands, and why


def test_the_journal_and_the_history_tell_who_commanded_and_what_led_to_it():
    commit = stored(1, turn(ShardBook(ENTITY), envelope(**TOLD)))
    (entry,) = commit.entries
    moment = History(ENTITY, *HERE).add(1, commit, entry)

    assert {name: getattr(entry, name) for name in TOLD} == TOLD
    assert {name: getattr(moment, name) for name in TOLD} == TOLD


def test_a_rejected_command_is_journalled_with_who_commanded_it():
    (entry,) = turn(ShardBook(ENTITY), envelope(body=Break(where="decide"), **TOLD)).entries

    assert (entry.by, entry.cause, entry.events) == (TOLD["by"], TOLD["cause"], [])


def test_what_is_not_told_takes_no_room():
    plain = envelope()
    (entry,) = turn(ShardBook(ENTITY), plain).entries

    written = encode(plain) + encode(entry)
    assert not [name for name in (*TOLD, "deadline") if f'"{name}"'.encode() in written]


def test_a_caller_commands_as_the_admin_of_its_tenant_and_a_submission_is_the_cause():
    body, trace = Add(amount=1), "00-1-2-01"
    asked = Caller(tenant="acme", trace=trace).envelope(
        "1", "c", msgspec.Raw(encode(body)), digest="d", fresh=True
    )
    submitted = Caller(tenant=PLATFORM, submission="s-1").command("1", "c", body)

    assert asked == envelope(digest="d", fresh=True, by="acme/admin", trace=trace)
    assert (submitted.by, submitted.cause) == (f"{PLATFORM}/operator", "s-1")


# Until when


def test_a_command_whose_deadline_has_passed_is_answered_and_not_decided():
    book = ShardBook(ENTITY)
    late = envelope(deadline=AT - CLOCKS_DIFFER - timedelta(seconds=1))

    outcome = turn(book, late)
    ((_, answer),) = outcome.replies

    assert (decode(Problem, answer).code, decode(Problem, answer).retryable) == ("timeout", True)
    assert outcome.entries == []
    assert HERE not in book.slots


def test_a_deadline_holds_only_where_clocks_cannot_explain_it():
    outcome = turn(ShardBook(ENTITY), envelope(deadline=AT - CLOCKS_DIFFER))

    assert len(outcome.entries) == 1


def test_a_repeat_that_comes_too_late_is_given_the_answer_that_was_stored():
    book = ShardBook(ENTITY)
    turn(book, envelope())

    outcome = turn(book, envelope(deadline=AT), at=AT + timedelta(hours=1))

    assert [decode(Total, answer) for _, answer in outcome.replies] == [Total(total=1)]


async def test_who_asks_by_a_clock_gives_its_patience_as_the_deadline():
    heard: list[CommandEnvelope] = []

    def offer(shard: int, given: CommandEnvelope, answer: Callable[[bytes], None]) -> bool:
        del shard
        heard.append(given)
        answer(encode(Total(total=1)))
        return True

    async with memory_bus(TIMING) as world, world.process("one") as bus:
        by_clock = Owners(bus.transport, "thing", 1, TIMING, nearby=offer, clock=lambda: AT)
        without = Owners(bus.transport, "thing", 1, TIMING, nearby=offer)
        await by_clock.ask(envelope(), timeout=5)
        await without.ask(envelope(), timeout=5)

    assert [each.deadline for each in heard] == [AT + timedelta(seconds=5), None]


# What is announced


def test_an_announcement_has_an_id_that_replay_gives_it_again_and_no_other_has():
    book, replayed, found = ShardBook(ENTITY), ShardBook(ENTITY), list[str | None]()
    for n in (1, 2, 3):
        first, second = envelope(f"a{n}", Add(amount=n)), envelope(f"b{n}", Add(amount=1))
        other = msgspec.structs.replace(second, key="other")
        outcome = turn(book, first, second, other)
        commit = stored(n, outcome)
        again = replayed.replay(commit, commit.entries)
        assert [(each.id, each.body) for each in again] == [
            (each.id, each.body) for each in outcome.publications
        ]
        found += [each.id for each in outcome.publications]

    assert len(set(found)) == len(found) == 9
    assert found[0] == "counter.acme.c.1.1.0"


def test_an_announcement_keeps_its_id_where_an_entry_before_it_cannot_be_read():
    book, replayed = ShardBook(ENTITY), ShardBook(ENTITY)
    other = msgspec.structs.replace(envelope("b"), key="other")
    outcome = turn(book, envelope("a"), other)

    again = replayed.replay(stored(1, outcome), outcome.entries[1:])

    assert [each.id for each in again] == [outcome.publications[1].id]


def test_a_notice_that_is_not_stored_has_no_id():
    def announce(*states: Any) -> Any:
        return [msgspec.structs.replace(each, stored=False) for each in ENTITY.announce(*states)]

    outcome = turn(ShardBook(replace(ENTITY, announce=announce)), envelope())

    assert [each.id for each in outcome.publications] == [None]


# Where an answer stands


async def test_an_answer_over_the_bus_tells_its_position():
    async with memory_bus(TIMING) as world, world.process("one") as bus:

        async def answer(delivery: Delivery) -> None:
            headers = {POSITION: "thing.0.7"}
            await bus.transport.publish(delivery.reply, encode(Total(total=1)), headers=headers)

        owners = Owners(bus.transport, "thing", 1, TIMING)
        async with bus.transport.subscription("_cb.cmd.thing.0", answer):
            answered = await owners.ask(envelope(), timeout=5)

    assert answered.position == "thing.0.7"


@pytest.mark.parametrize(
    "message", [Total(total=1), Problem(code="conflict", message="no")], ids=["answer", "refusal"]
)
async def test_the_answer_to_a_caller_tells_the_positions_of_all_that_it_follows_from(
    message: Any,
):
    given = iter(("thing.0.7", "", "thing.0.9", "thing.1.2", "thing.0.8"))

    def offer(shard: int, asked: CommandEnvelope, answer: Callable[[bytes], None]) -> bool:
        del shard, asked
        answer(PositionedAnswer(encode(Total(total=1)), next(given)))
        return True

    heard: list[Delivery] = []
    caller = Caller(tenant="acme")
    async with memory_bus(TIMING) as world, world.process("one") as bus:
        owners = Owners(bus.transport, "thing", 2, TIMING, nearby=offer)
        for _ in range(5):
            assert await caller.ask(owners, envelope(), timeout=5) == encode(Total(total=1))

        async def hear(delivery: Delivery) -> None:
            heard.append(delivery)

        async with bus.transport.subscription("answers", hear):
            await reply(bus.transport, "answers", message, caller.positions)
            with anyio.fail_after(5):
                while not heard:
                    await anyio.sleep(0.001)

    assert (heard[0].headers or {})[POSITION] == "thing.0.9, thing.1.2"


# The seal


def test_a_seal_is_kept_by_entries_snapshots_and_states_at_rest():
    book = ShardBook(ENTITY)
    commits = [stored(1, turn(book, envelope(seal="key-3"))), stored(2, turn(book, envelope("2")))]
    replayed, loaded, woken = ShardBook(ENTITY), ShardBook(ENTITY), ShardBook(ENTITY)
    for commit in commits:
        replayed.replay(commit, commit.entries)
    loaded.load(decode(Snapshot, encode(book.image())))
    woken.wake(book.at_rest(HERE))

    assert [entry.seal for commit in commits for entry in commit.entries] == ["key-3", ""]
    for each in (book, replayed, loaded, woken):
        assert (each.slots[HERE].seal, each.slots[HERE].state) == ("key-3", Counter(total=2))
    turn(book, envelope("3", seal="key-4"))
    assert book.slots[HERE].seal == "key-4"


def test_an_entity_that_was_never_sealed_has_no_seal():
    book = ShardBook(ENTITY)
    take_turn(book, [pending("1", "c", Add(amount=1))], AT)

    assert b"seal" not in encode(book.image()) + book.at_rest(HERE).data
