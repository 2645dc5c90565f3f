"""Asking everybody: when the answers are enough, and what happens to those that never come."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from bus.codec import encode
from bus.memory import memory_bus
from bus.ports import Delivery, Transport
from bus.requests.ask_all import Patience, ask_all
from schemas.fleet import QuotaReport
from tests.virtual import VIRTUAL_TIME, Backend

SUBJECT = "_cb.sys.test"


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


@pytest.fixture
async def transport() -> AsyncGenerator[Transport]:
    async with memory_bus() as world, world.process("one") as one:
        yield one.transport


@asynccontextmanager
async def answering(transport: Transport, *names: str) -> AsyncGenerator[list[str]]:
    """Let members of these names answer; yield who was asked, each time."""
    asked: list[str] = []

    async with AsyncExitStack() as stack:
        for name in names:

            async def answer(delivery: Delivery, name: str = name) -> None:
                asked.append(name)
                await transport.publish(delivery.reply, encode(QuotaReport(process=name, rows=[])))

            await stack.enter_async_context(transport.subscription(SUBJECT, answer))
        yield asked


async def ask(transport: Transport, patience: Patience, count: int) -> list[str]:
    told = await ask_all(
        transport, SUBJECT, b"", QuotaReport, patience, enough=lambda said: len(said) >= count
    )
    return sorted(each.process for each in told)


async def test_it_ends_when_the_answers_are_enough(transport: Transport):
    async with answering(transport, "a", "b"):
        with anyio.fail_after(5):
            assert await ask(transport, Patience(), 2) == ["a", "b"]


async def test_who_does_not_answer_is_waited_for_no_longer_than_is_given(
    transport: Transport,
):
    async with answering(transport, "a"):
        assert await ask(transport, Patience(0.05), 2) == ["a"]


async def test_where_nothing_is_wanted_nobody_is_asked(transport: Transport):
    async with answering(transport, "a") as asked:
        assert await ask(transport, Patience(), 0) == []
    assert asked == []


async def test_others_are_given_time_though_one_is_enough(transport: Transport):
    async with answering(transport, "a", "b"):
        assert await ask(transport, Patience(5, least=0.05), 1) == ["a", "b"]


async def test_who_comes_later_is_asked_again(transport: Transport):
    found: list[str] = []

    async def wanted() -> None:
        found.extend(await ask(transport, Patience(again=0.02), 1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wanted)
        await anyio.sleep(0.05)
        assert found == []
        async with answering(transport, "late"):
            with anyio.fail_after(5):
                while not found:
                    await anyio.sleep(0.01)
    assert found == ["late"]


@pytest.mark.parametrize("nonsense", [b"", b"{}", b"\xff"])
async def test_what_cannot_be_read_is_left_out(transport: Transport, nonsense: bytes):
    async def answer(delivery: Delivery) -> None:
        await transport.publish(delivery.reply, nonsense)

    async with answering(transport, "a"), transport.subscription(SUBJECT, answer):
        assert await ask(transport, Patience(0.1), 2) == ["a"]
