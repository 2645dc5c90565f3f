"""Work is done by as few tasks as it takes, and by no more than allowed."""

import anyio
import pytest

from bus.tasks import TaskPool


class Site:
    """Pieces of work that last until they are let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.tasks: set[int] = set()
        self.doors: dict[int, anyio.Event] = {}

    async def work(self, piece: int) -> None:
        self.begun.append(piece)
        self.tasks.add(anyio.get_current_task().id)
        if piece in self.doors:
            await self.doors[piece].wait()


async def test_work_that_comes_one_by_one_is_done_by_one_task():
    site = Site()
    async with anyio.create_task_group() as tasks:
        pool = TaskPool(tasks, site.work, most=8)
        for piece in range(5):
            pool.give(piece)
            await anyio.wait_all_tasks_blocked()
        pool.dismiss()

    assert (site.begun, len(site.tasks)) == ([0, 1, 2, 3, 4], 1)


async def test_work_above_the_bound_waits_and_is_done_in_order():
    site = Site()
    site.doors = {0: anyio.Event(), 1: anyio.Event()}
    async with anyio.create_task_group() as tasks:
        pool = TaskPool(tasks, site.work, most=2)
        for piece in range(5):
            pool.give(piece)
        await anyio.wait_all_tasks_blocked()
        assert site.begun == [0, 1]
        site.doors[1].set()
        site.doors[0].set()
        await anyio.wait_all_tasks_blocked()
        pool.dismiss()

    assert (site.begun, len(site.tasks)) == ([0, 1, 2, 3, 4], 2)


async def test_a_dismissed_pool_ends_when_its_work_is_done():
    site = Site()
    site.doors = {0: anyio.Event()}
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            pool = TaskPool(tasks, site.work, most=1)
            pool.give(0)
            pool.give(1)
            await anyio.wait_all_tasks_blocked()
            pool.dismiss()
            site.doors[0].set()

    assert site.begun == [0, 1]


async def test_a_cancelled_group_takes_its_pool_along():
    site, ended = Site(), list[int]()
    site.doors = {0: anyio.Event()}

    async def work(piece: int) -> None:
        try:
            await site.work(piece)
        finally:
            ended.append(piece)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            TaskPool(tasks, work, most=1).give(0)
            await anyio.wait_all_tasks_blocked()
            assert (site.begun, ended) == ([0], [])
            tasks.cancel_scope.cancel()

    assert ended == [0]


async def test_an_error_ends_the_group():
    async def fail(_: int) -> None:
        raise LookupError

    with pytest.RaisesGroup(LookupError):
        async with anyio.create_task_group() as tasks:
            TaskPool(tasks, fail, most=1).give(0)
