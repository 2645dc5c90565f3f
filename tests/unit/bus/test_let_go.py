"""What comes late to a shard that was let go does not hide its items from the next owner."""

from collections.abc import Callable

import anyio
import pytest

from actors.agents.core.entity import EXECUTION
from bus.config import Timing
from bus.memory import memory_bus
from bus.shard.book import ShardBook
from bus.shard.dispatch import WorkDispatch
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.subjects import journal_subject
from bus.work.assignments import Assignment, KnownWorker
from tests.hirer import hiring, item

WORK = item("i1")
ADDRESS = (WORK.tenant, "e1")
WORKER = KnownWorker("one", WORK.queue, 0.0)

Late = Callable[[WorkDispatch], None]


def refused(dispatch: WorkDispatch) -> None:
    """Let the answer to an offer come."""
    dispatch.refused(Assignment(ADDRESS, WORK, dispatch, WORKER))


def not_begun(dispatch: WorkDispatch) -> None:
    """Let the inventory of a worker come, which has not the item."""
    dispatch.wait(ADDRESS, WORK)


def held(dispatch: WorkDispatch) -> None:
    """Let the inventory of a worker come, which has the item."""
    dispatch.adopt(ADDRESS, WORK, "one")


@pytest.mark.parametrize("late", [refused, not_begun, held])
@pytest.mark.parametrize("let_go", [False, True])
async def test_only_who_owns_a_shard_has_its_items_wait(late: Late, *, let_go: bool):
    book = ShardBook(EXECUTION)
    book.slot(ADDRESS).open[WORK.id] = WORK
    async with (
        memory_bus() as memory,
        memory.process() as bus,
        hiring(bus, Timing()) as hirer,
        anyio.create_task_group() as tasks,
    ):

        def owning() -> tuple[Fence, WorkDispatch]:
            journal, inbox = bus.journal("execution"), Inbox(bus.transport)
            fence = Fence(journal, journal_subject("execution", 0), 1, 0)
            return fence, WorkDispatch(book, fence, inbox, hirer.registry, Timing(), tasks)

        (fence, former), (_, owner) = owning(), owning()
        if let_go:
            fence.is_down = True
            former.finish()
        late(former)
        assert owner.lacks(ADDRESS, WORK) is let_go
