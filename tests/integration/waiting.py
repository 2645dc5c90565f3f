"""Waiting for what other tasks do, under a deadline."""

from collections.abc import Callable

import anyio

from bus.ports import Delivery
from tests.servers import PATIENCE

SECONDS = 30.0 * PATIENCE


async def until(condition: Callable[[], bool], *, seconds: float = SECONDS) -> None:
    """Return once a condition holds; fail after so many seconds."""
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.005)


class Inbox:
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    async def take(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    async def holds(self, count: int) -> None:
        await until(lambda: len(self.deliveries) >= count)

    @property
    def texts(self) -> list[str]:
        return [delivery.data.decode() for delivery in self.deliveries]
