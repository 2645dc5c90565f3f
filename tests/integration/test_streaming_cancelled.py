"""Work that is called off: the provider is left at once, and what it has used is told."""

import anyio
import pytest

from actors.streaming.actor import Streaming
from actors.streaming.flow.embedding import Embedder
from bus.config import Timing
from bus.memory import memory_bus
from schemas.lifecycle import FailGeneration
from schemas.usage import Usage
from schemas.work import Stopped
from tests.attempts import at, detour, enclosed, generating, work
from tests.providers_fake import (
    Behaviour,
    chunk,
    event,
    fake_provider,
    falling_silent,
    never_beginning,
)

HALF = event(chunk("Hello"))


@pytest.mark.parametrize(
    ("behaviour", "events", "usage"),
    [
        (falling_silent(HALF), 2, Usage(input=6, output=2, quality="estimated")),
        (never_beginning, 1, Usage(input=6, quality="estimated")),
    ],
)
async def test_work_that_is_called_off_reports_what_it_has_used(
    behaviour: Behaviour, events: int, usage: Usage
):
    with anyio.fail_after(20):
        async with (
            fake_provider(behaviour) as fake,
            generating() as generator,
            memory_bus(Timing()) as memory,
            memory.process() as bus,
        ):
            streaming = Streaming(generator, Embedder({}, bus.clock), bus)
            job = streaming.job()
            item = enclosed(work(at(fake)))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(streaming.do_generate, item)
                while bus.outbox.posted < events:
                    await anyio.sleep(0.001)
                while not fake.bodies:
                    await anyio.sleep(0.001)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            await fake.abandoned.wait()
            report = job.stopped(item)

    assert isinstance(report, FailGeneration)
    assert (report.problem.code, report.usage) == ("cancelled", usage)
    assert report.deltas.count == events
    assert report.detours == [detour("cancelled", usage)]


async def test_work_that_was_never_begun_has_used_nothing():
    async with (
        fake_provider(never_beginning) as fake,
        generating() as generator,
        memory_bus(Timing()) as memory,
        memory.process() as bus,
    ):
        item = enclosed(work(at(fake)))
        report = Streaming(generator, Embedder({}, bus.clock), bus).job().stopped(item)

    assert report == Stopped(work="1", attempt=1, sent=False)
