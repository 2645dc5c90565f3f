"""Parts that fail are started again, ever more slowly, until their budget is spent."""

import anyio
import pytest

from bus.config import Timing
from bus.errors import CallboardError
from bus.runtime.supervision import Part, PartKind, Runtime


async def test_a_part_that_fails_is_given_twice_as_long_each_time(monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    async def fail() -> None:
        raise OSError("no room")

    monkeypatch.setattr("bus.runtime.supervision.anyio.sleep", sleep)
    timing = Timing(restarts=4, restart_pause_seconds=0.5)

    with pytest.RaisesGroup(CallboardError):
        await Runtime([Part(name="fails", run=fail)], timing).run()
    assert pauses == [0.5, 1.0, 2.0, 4.0]


async def never() -> None:
    await anyio.sleep_forever()


async def test_parts_are_drained_by_kind_whoever_they_belong_to_and_those_of_a_kind_together():
    drained: list[str] = []
    both = anyio.Event()

    def part(name: str, kind: PartKind, *, meets: bool = False) -> Part:
        async def drain() -> None:
            if meets and drained[-1:] == ["one"]:
                both.set()
            drained.append(name)
            if meets:
                await both.wait()

        return Part(name=name, kind=kind, run=never, drain=drain)

    runtime = Runtime(
        [
            part("farewell", PartKind.FAREWELL),
            part("host", PartKind.HOST),
            part("one", PartKind.SERVICE, meets=True),
            part("worker", PartKind.WORKER),
            part("other", PartKind.SERVICE, meets=True),
        ],
        Timing(),
    )
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run)
            await anyio.wait_all_tasks_blocked()
            runtime.stop()

    assert drained == ["one", "other", "worker", "host", "farewell"]


def test_an_actor_is_ready_whatever_another_in_its_process_lacks():
    ready = Part(name="ready", run=never)
    lacking = Part(name="lacking", run=never, not_ready_reason=lambda: "its journal is not read")
    runtime = Runtime([ready, lacking], Timing())

    assert runtime.not_ready_reasons([ready]) == []
    assert (
        runtime.not_ready_reasons([lacking])
        == runtime.not_ready_reasons()
        == ["its journal is not read"]
    )


async def test_two_parts_of_one_name_have_a_budget_each():
    calls: list[str] = []

    def part(name: str) -> Part:
        async def run() -> None:
            calls.append(name)
            if calls.count(name) <= 2:
                raise OSError(name)
            await never()

        return Part(name="service", run=run)

    runtime = Runtime([part("one"), part("other")], Timing(restarts=2, restart_pause_seconds=0.001))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run)
            while len(calls) < 6:
                await anyio.sleep(0.001)
            runtime.stop()
