"""A deleted execution is gone from wherever it was stored, and stays so whoever owns its shard."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings

from actors.agents.core.decisions import decide
from actors.agents.core.entity import EXECUTION
from actors.agents.core.execution import evolve, has_ended
from actors.agents.core.outward import kept_record, left, retention
from actors.agents.core.state import Execution
from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError, UnavailableError
from bus.membership import Membership
from bus.memory import memory_bus
from bus.memory.bus import MemoryBus, MemoryProcess
from bus.ports import Journal
from bus.requests.rpc import Owners, command
from bus.shard import ShardHost
from bus.shard.recovery import take_over
from schemas.decision import Decision, Left
from schemas.fleet import Alive
from schemas.journal import Commit
from schemas.lifecycle import Accept, Delete, ExecutionCommand, ExecutionDeleted, Forgotten, Look
from schemas.llm import ChatMessage
from schemas.problems import Problem
from schemas.usage import Usage
from schemas.work import Lost
from tests.unit.agents.runs import Steps, accept, accepted, finish, played, steps
from tests.unit.agents.samples import later

SECRET = "heliotrope"
TIMING = msgspec.structs.replace(
    Timing(),
    heartbeat_seconds=0.02,
    join_seconds=0.06,
    reconcile_seconds=0.03,
    housekeeping_seconds=0.05,
    record_delay_seconds=0.01,
    resend_window_seconds=0.1,
    erase_seconds=0.1,
    request_try_seconds=0.3,
)


def secret() -> Accept:
    """Return a request that is told from all others by what it says."""
    wanted = accept()
    messages = [ChatMessage(role="user", content=f"What is {SECRET}?")]
    origin = msgspec.structs.replace(wanted.origin, task=f"What is {SECRET}?")
    request = msgspec.structs.replace(wanted.request, messages=messages)
    return msgspec.structs.replace(wanted, origin=origin, request=request)


def answered() -> ExecutionCommand:
    wanted = finish(1)
    answer = msgspec.structs.replace(wanted.answer, text=f"It is {SECRET}.")
    return msgspec.structs.replace(wanted, answer=answer)


def as_it_is(bus: MemoryProcess) -> MemoryProcess:
    return bus


@asynccontextmanager
async def owned(
    world: MemoryBus,
    name: str,
    timing: Timing = TIMING,
    seen: Callable[[MemoryProcess], MemoryProcess] = as_it_is,
) -> AsyncGenerator[tuple[MemoryProcess, Owners]]:
    """Own the executions while the context is open, and die with its end.

    ``seen`` is how the owner sees the bus.
    """
    entity = EXECUTION
    alive = Alive(process=name, actor="test", entities=[entity.name])
    async with world.process(name) as bus, anyio.create_task_group() as tasks:
        membership = Membership(bus.transport, lambda: alive, timing)
        host = ShardHost(entity, 1, name, membership, seen(bus), timing)
        tasks.start_soon(membership.run)
        tasks.start_soon(host.run)
        yield bus, Owners(bus.transport, entity.name, 1, TIMING)
        tasks.cancel_scope.cancel()


async def ask(owners: Owners, body: ExecutionCommand) -> bytes:
    envelope = command(f"{type(body).__name__}", "acme", "e1", body, digest="")
    return await owners.ask(envelope, timeout=8)


async def refused(owners: Owners, body: ExecutionCommand, name: str) -> str:
    with pytest.raises(ProblemError) as refusal:
        await owners.ask(command(name, "acme", "e1", body), timeout=8)
    return refusal.value.problem.code


def places(world: MemoryBus) -> set[str]:
    """Return where the secret is stored."""
    found = {
        subject
        for stream in world.store._streams
        for subject, stored in world.store.everything(stream)
        if SECRET.encode() in stored.data
    }
    found |= {name for name, data in world.blobs.kept.items() if SECRET.encode() in data}
    states = world.states.read_all(("execution", 0))
    return found | {"state" for state in states if SECRET.encode() in state.data}


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(8):
        while not is_so():
            await anyio.sleep(0.01)


async def test_it_is_gone_from_everywhere_and_stays_deleted_under_the_next_owner():
    async with memory_bus(TIMING) as world:
        async with owned(world, "one") as (_, owners):
            await ask(owners, secret())
            await ask(owners, answered())
            await until(lambda: "cb.acme.record.e1" in places(world))
            assert len(places(world)) >= 4
            answer = await ask(owners, Delete())
            assert answer == encode(Forgotten(agent_id="reviewer", session="s1"))
            assert await ask(owners, Delete()) == answer
            await until(lambda: not places(world))
            assert await refused(owners, Look(), "look") == "not_found"
            assert await refused(owners, Delete(), "again") == "not_found"
        async with owned(world, "two") as (_, owners):
            assert await refused(owners, Look(), "look") == "not_found"
            assert await refused(owners, accept(), "anew") == "conflict"
            assert not places(world)


async def test_the_next_owner_erases_what_the_one_before_died_over():
    async with memory_bus(TIMING) as world:
        async with owned(world, "one") as (_, owners):
            await ask(owners, secret())
            await ask(owners, answered())
            await ask(owners, Delete())
        assert places(world)
        async with owned(world, "two") as (_, owners):
            assert await refused(owners, Look(), "look") == "not_found"
            await until(lambda: not places(world))


async def test_the_state_at_rest_is_replaced_at_once():
    resting = msgspec.structs.replace(TIMING, entities_in_memory=0, rest_seconds=0.02)
    async with memory_bus(TIMING) as world:
        async with owned(world, "one", resting) as (_, owners):
            await ask(owners, secret())
            await ask(owners, answered())
            await until(lambda: "state" in places(world))
        async with owned(world, "two") as (_, owners):
            await ask(owners, Delete())
            await until(lambda: not places(world))
            [tombstone] = world.states.read_all(("execution", 0))
            assert b"deleted_at" in tombstone.data


async def test_a_deletion_is_not_settled_before_everything_is_erased():
    async with memory_bus(TIMING) as world:
        async with owned(world, "one", seen=without_erasing) as (_, owners):
            await ask(owners, secret())
            await ask(owners, answered())
            await ask(owners, Delete())
            await anyio.sleep(0.6)
            assert "cb.acme.stream.e1" in places(world)
        async with owned(world, "two"):
            await until(lambda: not places(world))


async def test_the_journals_copy_goes_though_its_owner_died_when_a_snapshot_was_named():
    async with memory_bus(TIMING) as world:
        journal = "_cb.journal.execution.0"
        async with owned(world, "one", seen=without_purging) as (_, owners):
            await ask(owners, secret())
            await ask(owners, answered())
            await ask(owners, Delete())
            await until(lambda: places(world) == {journal} and names_a_snapshot(world, journal))
        async with owned(world, "two"):
            await until(lambda: not places(world))


async def test_what_is_to_be_erased_is_not_published_again():
    async with memory_bus(TIMING) as world:
        async with owned(world, "one", seen=without_erasing) as (bus, owners):
            await ask(owners, secret())
            await ask(owners, answered())
            await ask(owners, Delete())
            taken = await take_over(
                EXECUTION,
                "_cb.journal.execution.0",
                "two",
                journal=bus.journal("execution"),
                blobs=bus.blobs,
                states=bus.states("execution"),
            )
        subjects = [each.subject for each in taken.publications]
        assert subjects == [
            "cb.acme.events.execution.accepted.e1",
            "cb.acme.events.execution.completed.e1",
        ]


def without_erasing(bus: MemoryProcess) -> MemoryProcess:
    """Return a bus on which nothing published can be removed."""

    async def erase(left: Left) -> None:
        raise UnavailableError(left.subject, "no answer")

    return replace(bus, erase=erase)


class Unpurged:
    """A journal of which nothing can be removed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def purge(self, subject: str, *, below: int) -> None:
        raise UnavailableError(subject, f"no answer to a purge below {below}")


def without_purging(bus: MemoryProcess) -> MemoryProcess:
    return replace(bus, journal=lambda name: Unpurged(bus.journal(name)))


def names_a_snapshot(world: MemoryBus, subject: str) -> bool:
    newest = world.store.last("JOURNAL_EXECUTION", subject)
    snapshot = decode(Commit, newest.data).snapshot if newest else None
    return snapshot is not None and snapshot.n > 3


async def test_other_turns_of_the_session_stay():
    async with memory_bus(TIMING) as world, owned(world, "one") as (bus, owners):
        subject = "_cb.conversation.acme.reviewer.s1"
        await bus.outbox.post(subject, b'{"execution_id":"e0"}')
        await ask(owners, secret())
        await ask(owners, answered())
        await ask(owners, Delete())
        await until(lambda: not places(world))
        kept = [data async for _, data, _ in bus.stored("CONVERSATIONS").read(subject, start=1)]
        assert kept == [b'{"execution_id":"e0"}']


def test_what_has_not_ended_is_not_deleted():
    decision = accepted().take(Delete())

    assert isinstance(decision.reply, Problem)
    assert (decision.reply.code, decision.reply.field) == ("conflict", "execution_id")


@settings(max_examples=100)
@given(steps, steps)
def test_a_tombstone_has_no_texts_and_keeps_what_is_to_be_paid(before: Steps, after: Steps):
    run = played(before)
    if not has_ended(run.execution):
        return
    owed, spent = run.execution.spend.bills, run.execution.usage
    run.take(Delete())
    assert (run.execution.spend.bills, run.execution.usage) == (owed, spent)
    for wanted, seconds in after:
        run.take(wanted, seconds)
    state = run.execution
    told = (state.answer, state.problem, state.reason, state.logs, state.detours, state.findings)
    assert told == (None, None, None, (), (), ())
    assert (state.origin.task, state.request) == ("", None)
    assert kept_record(state) is None
    assert [type(event) for event in run.events].count(ExecutionDeleted) == 1
    assert {each.subject.split(".")[2] for each in left(state)} == {"record", "stream", "acme"}


def test_usage_that_is_told_after_the_deletion_still_counts():
    run = accepted()
    run.take(Lost(work="1", attempt=1, begun=True))
    run.take(finish(2))
    run.take(Delete())
    run.take(finish(1, output=7))

    assert run.execution.usage == Usage(output=8)
    assert run.execution.answer is None


def test_what_was_kept_for_its_time_is_not_found_any_more():
    wanted = accept()
    origin = msgspec.structs.replace(wanted.origin, kept=60)
    state = _after(_after(None, msgspec.structs.replace(wanted, origin=origin)), finish(1))

    assert isinstance(_asked(state, Look(), 59.0).reply, msgspec.Struct)
    assert not isinstance(_asked(state, Look(), 59.0).reply, Problem)
    for gone in (Look(), Delete(), wanted):
        assert isinstance(_asked(state, gone, 60.0).reply, Problem)
    record = kept_record(state)
    assert record is not None
    assert record.ttl == 60
    assert retention(state, later(20)).total_seconds() == 40


def _asked(state: Execution, wanted: ExecutionCommand, seconds: float) -> Decision:
    return decide(state, wanted, later(seconds))


def _after(state: Execution | None, wanted: ExecutionCommand) -> Execution:
    for event in decide(state, wanted, later(0)).events:
        state = evolve(state, event)
    assert state is not None
    return state
