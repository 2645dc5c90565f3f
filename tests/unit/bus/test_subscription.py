"""One handler, one message after another: what waits, what is too much, what goes wrong."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from bus.connection.subscription import MAX_WAITING_BYTES, Handling, TooSlowError
from bus.errors import ProblemError
from bus.ports import Delivery
from bus.tasks import background
from schemas.problems import Problem


class Bench:
    """A handler that can be held up, and all that came of it."""

    def __init__(self) -> None:
        self.reported: list[Exception] = []
        self.handled: list[bytes] = []
        self.may_go_on = anyio.Event()
        client: Any = self
        self.handling = Handling(client, "s", self._handle)

    def report(self, error: Exception) -> None:
        self.reported.append(error)

    @asynccontextmanager
    async def fed(self) -> AsyncGenerator[None]:
        async with background(self.handling.feed):
            yield

    def put(self, *messages: bytes) -> None:
        for data in messages:
            self.handling.put(Delivery("s", data))

    async def _handle(self, delivery: Delivery) -> None:
        await self.may_go_on.wait()
        if delivery.data == b"defect":
            raise RuntimeError("cannot handle it")
        if delivery.data == b"refused":
            raise ProblemError(Problem(code="validation", message="no"))
        self.handled.append(delivery.data)


async def test_messages_are_handled_one_after_another_in_the_order_they_came():
    bench = Bench()
    async with bench.fed():
        bench.put(b"1", b"2")
        await anyio.wait_all_tasks_blocked()
        assert bench.handled == []
        bench.put(b"3")
        bench.may_go_on.set()
        await bench.handling.finish()

    assert bench.handled == [b"1", b"2", b"3"]


@pytest.mark.parametrize(("bad", "reported"), [(b"defect", 1), (b"refused", 0)])
async def test_a_handler_that_raises_loses_that_message_and_gets_the_next(
    bad: bytes, reported: int
):
    bench = Bench()
    bench.may_go_on.set()
    async with bench.fed():
        bench.put(bad, b"good")
        await bench.handling.finish()

    assert bench.handled == [b"good"]
    assert len(bench.reported) == reported


async def test_what_is_more_than_may_wait_is_lost_and_reported():
    bench = Bench()
    half = b"x" * (MAX_WAITING_BYTES // 2)
    bench.put(half, half, b"too much")
    bench.may_go_on.set()
    async with bench.fed():
        await bench.handling.finish()
        bench.put(b"there is room again")
        await bench.handling.finish()

    assert bench.handled == [half, half, b"there is room again"]
    assert [type(error) for error in bench.reported] == [TooSlowError]
    assert "messages are lost" in str(bench.reported[0])
