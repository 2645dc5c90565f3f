"""Asking again: who was to answer may have died, and the bus may be away."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from bus.client import Client, follow
from bus.codec import encode
from bus.errors import DeadlineError, UnavailableError
from bus.ports import Delivery, Handler, Receiver
from schemas.executions import CancelExecution, ExecutionHandle
from schemas.streams import Cancelled, ReadStream, StreamPage
from tests.unit.agents.samples import NOW

HANDLE = ExecutionHandle(execution_id="e1", stream="cb.local.stream.e1", status="CANCELLED")
CANCEL = CancelExecution(execution_id="e1")
END = Cancelled(execution_id="e1", segment=1, sequence=0, at=NOW, reason="enough")


class Flaky:
    """A transport that fails so many times at each thing before it works."""

    def __init__(self, failures: int, answer: bytes) -> None:
        self._failures = failures
        self._answer = answer
        self.asked: list[tuple[str, bytes, float]] = []
        self.subscribed = 0

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        raise AssertionError(f"{subject} {data} {reply} {headers}")

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivery:
        await anyio.lowlevel.checkpoint()
        self.asked.append((subject, data, timeout))
        if len(self.asked) <= self._failures:
            raise DeadlineError(subject, timeout)
        return Delivery(subject, self._answer, "", headers)

    @asynccontextmanager
    async def subscription(
        self, subject: str, handler: Handler, *, queue: str = ""
    ) -> AsyncGenerator[None]:
        del handler, queue
        self.subscribed += 1
        if self.subscribed <= self._failures:
            raise UnavailableError(subject, "the bus is away")
        yield

    def tell(self, subject: str, data: bytes) -> None:
        raise AssertionError(f"{subject} {data}")

    @asynccontextmanager
    async def reception(self, subject: str, receiver: Receiver) -> AsyncGenerator[None]:
        raise AssertionError(f"{subject} {receiver}")
        yield

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        del callback
        return lambda: None


async def test_an_empty_answer_is_none():
    client = Client(Flaky(failures=0, answer=b""))

    with pytest.raises(UnavailableError, match="an empty answer"):
        await client.request("local", CANCEL)


async def test_the_same_request_is_sent_again_each_try_longer_than_the_one_before():
    transport = Flaky(2, encode(HANDLE))

    assert await Client(transport).insist("local", CANCEL, patience=20) == HANDLE

    same = ("cb.local.executions.cancel", encode(CANCEL))
    assert transport.asked == [(*same, 1.0), (*same, 2.0), (*same, 4.0)]


async def test_a_try_is_no_longer_than_the_time_that_is_left():
    transport = Flaky(2, encode(HANDLE))

    await Client(transport).insist("local", CANCEL, patience=2.5)

    assert [round(timeout) for _, _, timeout in transport.asked] == [1, 2, 2]


async def test_when_patience_is_over_the_last_error_is_told():
    transport = Flaky(2, encode(HANDLE))

    with pytest.raises(DeadlineError):
        await Client(transport).insist("local", CANCEL, patience=0)
    assert len(transport.asked) == 1


async def test_a_reader_comes_through_although_the_bus_is_away_when_it_begins():
    page = StreamPage(events=[END], next=END.cursor, more=False)
    transport = Flaky(1, encode(page))

    with anyio.fail_after(5):
        assert [event async for event in follow(Client(transport), "local", "e1")] == [END]

    assert transport.subscribed == 2
    assert transport.asked[-1][:2] == (
        "cb.local.streams.read",
        encode(ReadStream(execution_id="e1")),
    )
