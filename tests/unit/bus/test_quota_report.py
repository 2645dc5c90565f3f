"""What the tenants use is told by each process and shown where it is fullest."""

from collections.abc import Iterator

import anyio
import pytest

from bus.memory import memory_bus
from bus.runtime.quota_report import QuotaUsage, fullest_of, gathered, share
from bus.telemetry import metrics
from schemas.fleet import QuotaUse
from tests.virtual import VIRTUAL_TIME, Backend


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


def _use(tenant: str, used: int, allowed: int = 10, quota: str = "agents") -> QuotaUse:
    return QuotaUse(tenant=tenant, quota=quota, used=used, allowed=allowed)


def test_of_each_quota_the_fullest_process_counts_and_the_fullest_comes_first() -> None:
    told = [_use("a", 1), _use("b", 9), _use("a", 4), _use("a", 2), _use("c", 1, 0)]
    assert fullest_of(told) == [_use("c", 1, 0), _use("b", 9), _use("a", 4)]
    assert share(_use("c", 0, 0)) == 0


async def test_whoever_asks_hears_from_every_process() -> None:
    async with (
        memory_bus() as world,
        world.process("one") as one,
        world.process("two") as two,
        anyio.create_task_group() as tasks,
    ):
        for process, uses in ((one, [_use("a", 3)]), (two, [_use("a", 5), _use("b", 1)])):
            usage = QuotaUsage("p", process.transport)

            def source(uses: list[QuotaUse] = uses) -> Iterator[QuotaUse]:
                yield from uses

            usage.add(source)
            tasks.start_soon(usage.run)
        await anyio.wait_all_tasks_blocked()
        assert await gathered(one.transport, seconds=0.1) == [_use("a", 5), _use("b", 1)]
        tasks.cancel_scope.cancel()
    assert b'callboard_quota_used_ratio{quota="agents"} 0.5' in metrics.render()
