"""Who waits for the end of an execution hears of it at once, without asking again and again."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from actors.agents.adapters import awaiting
from actors.agents.adapters.awaiting import Endings
from bus.codec import decode
from bus.errors import ProblemError, UnavailableError, problem
from bus.memory.bus import MemoryBus, memory_bus
from bus.ports import Bus, Delivery
from bus.requests.caller import Caller
from bus.requests.rpc import POSITION
from bus.tasks import background
from schemas.events import ExecutionCompletedEvent
from schemas.executions import AwaitedExecution, AwaitExecution, ExecutionRecord
from tests.unit.agents.samples import record


class Executions:
    """What their owners know, and how often they were asked."""

    def __init__(self) -> None:
        self.records: dict[str, ExecutionRecord] = {}
        self.looks = Counter[str]()
        self.away = False

    async def look(self, caller: Caller, execution_id: str) -> ExecutionRecord:
        self.looks[execution_id] += 1
        await anyio.lowlevel.checkpoint()
        if self.away:
            raise UnavailableError("owner", "away")
        if execution_id not in self.records:
            raise problem("not_found", "no such execution")
        assert caller.tenant == "acme"
        caller.commits["execution.0"] = self.looks.total()
        return self.records[execution_id]

    def stands(self, name: str, status: str) -> None:
        self.records[name] = msgspec.structs.replace(record(1), execution_id=name, status=status)


class Client:
    """Takes the answers that come later."""

    def __init__(self, endings: Endings) -> None:
        self._endings = endings
        self.answers: list[dict[str, Any]] = []
        self.positions: list[str] = []
        self._arrived = anyio.Event()

    async def heard(self, delivery: Delivery) -> None:
        self.answers.append(msgspec.json.decode(delivery.data))
        self.positions.append((delivery.headers or {}).get(POSITION, ""))
        self._arrived.set()

    async def wait(self, name: str, seconds: float = 30) -> AwaitedExecution | None:
        caller = Caller(tenant="acme", reply="_INBOX.me")
        wanted = AwaitExecution(execution_id=name, timeout_seconds=seconds)
        return await self._endings.wait(caller, wanted)

    async def answered(self, count: int) -> None:
        with anyio.fail_after(5):
            while len(self.answers) < count:
                self._arrived = anyio.Event()
                await self._arrived.wait()


@asynccontextmanager
async def waiting(
    executions: Executions,
) -> AsyncGenerator[tuple[Client, Bus, MemoryBus, Endings]]:
    async with memory_bus() as world, world.process() as bus:
        endings = Endings(bus, executions.look)
        client = Client(endings)
        async with (
            background(endings.run),
            bus.transport.subscription("_INBOX.me", client.heard),
        ):
            with anyio.fail_after(5):
                while endings.not_ready_reason():
                    await anyio.lowlevel.checkpoint()
            yield client, bus, world, endings


async def _end(bus: Bus, name: str, tenant: str = "acme") -> None:
    subject = (ExecutionCompletedEvent.SUBJECT or "").format(tenant=tenant, execution_id=name)
    await bus.transport.publish(subject, b"{}")


@pytest.fixture
def executions() -> Executions:
    return Executions()


async def test_what_has_ended_is_answered_at_once(executions: Executions):
    executions.stands("e", "FAILED")
    async with waiting(executions) as (client, *_):
        answer = await client.wait("e")
        assert answer == AwaitedExecution(ended=True, execution=executions.records["e"])


async def test_who_waits_is_answered_when_the_end_is_heard_of_and_all_by_one_look(
    executions: Executions,
):
    executions.stands("e", "RUNNING")
    executions.stands("other", "RUNNING")
    async with waiting(executions) as (client, bus, *_):
        for _ in range(500):
            assert await client.wait("e") is None
        assert await client.wait("other") is None
        executions.looks.clear()
        executions.stands("e", "COMPLETED")
        await _end(bus, "e", tenant="bolt")
        await _end(bus, "e")
        await client.answered(500)
        assert executions.looks == {"e": 1}
        assert set(client.positions) == {"execution.0.1"}
        assert all(each["ended"] for each in client.answers)
        assert client.answers[0]["execution"]["status"] == "COMPLETED"


async def test_an_end_between_the_note_and_the_look_is_not_missed(executions: Executions):
    executions.stands("e", "RUNNING")
    async with waiting(executions) as (client, bus, *_):
        look = executions.look

        async def slow(caller: Caller, execution_id: str) -> ExecutionRecord:
            before = await look(caller, execution_id)
            executions.stands("e", "CANCELLED")
            await _end(bus, "e")
            await anyio.sleep(0.01)
            return before

        client._endings._look = slow
        assert await client.wait("e") is None
        await client.answered(1)
        assert client.answers[0]["ended"] is True


async def test_after_the_time_the_execution_is_told_as_it_stands(executions: Executions):
    executions.stands("e", "RUNNING")
    async with waiting(executions) as (client, *_):
        now = await client.wait("e", seconds=0)
        assert now is not None
        assert (now.ended, now.execution.status) == (False, "RUNNING")
        for seconds in (30, 0.05, 0.05):
            assert await client.wait("e", seconds) is None
        executions.looks.clear()
        await client.answered(2)
        assert [each["ended"] for each in client.answers] == [False, False]
        assert executions.looks["e"] <= 2


async def test_an_end_is_learned_though_its_event_was_lost_with_the_bus(executions: Executions):
    executions.stands("e", "RUNNING")
    async with waiting(executions) as (client, _, world, _):
        assert await client.wait("e") is None
        executions.stands("e", "COMPLETED")
        await world.restart()
        await client.answered(1)
        assert client.answers[0]["ended"] is True


async def test_an_end_is_looked_for_again_where_the_owner_is_away(
    executions: Executions, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(awaiting, "RETRY_SECONDS", 0.02)
    executions.stands("e", "RUNNING")
    async with waiting(executions) as (client, bus, *_):
        assert await client.wait("e") is None
        executions.away = True
        executions.stands("e", "COMPLETED")
        await _end(bus, "e")
        await anyio.sleep(0.03)
        assert client.answers == []
        executions.away = False
        await client.answered(1)
        assert client.answers[0]["ended"] is True


async def test_what_does_not_exist_is_refused_and_nobody_waits_for_it(executions: Executions):
    async with waiting(executions) as (client, *_, endings):
        with pytest.raises(ProblemError) as refused:
            await client.wait("nothing")
        assert refused.value.problem.code == "not_found"
        await endings.drain()


async def test_a_drain_answers_everybody(executions: Executions):
    for name in ("a", "b"):
        executions.stands(name, "RUNNING")
    async with waiting(executions) as (client, *_, endings):
        for name in ("a", "b", "b"):
            assert await client.wait(name) is None
        with anyio.fail_after(5):
            await endings.drain()
        await client.answered(3)
        assert [each["ended"] for each in client.answers] == [False] * 3
        late = await client.wait("a")
        assert late is not None


async def test_waiters_are_bounded_by_tenant(
    executions: Executions, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(awaiting, "MOST_WAITING_EACH", 2)
    executions.stands("e", "RUNNING")
    async with waiting(executions) as (client, bus, *_):
        for _ in range(2):
            await client.wait("e")
        with pytest.raises(ProblemError) as refused:
            await client.wait("e")
        assert refused.value.problem.code == "rate_limited"
        executions.stands("e", "COMPLETED")
        await _end(bus, "e")
        await client.answered(2)
        assert await client.wait("e") is not None


def test_the_time_to_wait_is_bounded():
    assert decode(AwaitExecution, b'{"execution_id":"e"}').timeout_seconds == 30
    for seconds in (b"-1", b"31"):
        with pytest.raises(ProblemError) as refused:
            decode(AwaitExecution, b'{"execution_id":"e","timeout_seconds":%b}' % seconds)
        assert refused.value.problem.field == "timeout_seconds"
