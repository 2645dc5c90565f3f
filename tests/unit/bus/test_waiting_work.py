"""What waits for workers: in lines of their own, by priority and age, and not before its time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bus.work.waiting import TenantWaiting, WaitingWork
from schemas.work import WorkItem, tenant_of
from tests.hirer import item

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "take", "remove", "ripen"]),
        st.builds(
            lambda queue, lane, tenant, number, priority, age, delay: item(
                f"{queue}.{lane}.{tenant}.{number}",
                tenant,
                queue=queue,
                lane=lane,
                priority=priority,
                since=NOON - age * SECOND,
                not_before=None if delay is None else NOON + delay * SECOND,
            ),
            st.sampled_from(["q", "p"]),
            st.sampled_from(["", "slow"]),
            st.sampled_from(["a", "b"]),
            st.integers(0, 9),
            st.integers(-1, 1),
            st.integers(0, 3),
            st.none() | st.integers(-1, 3),
        ),
    ),
    max_size=60,
)


class Model:
    """All that waits, looked through anew each time."""

    def __init__(self) -> None:
        self.now = NOON
        self.known: dict[str, WorkItem[object]] = {}
        self.early: set[str] = set()

    def add(self, work: WorkItem[object]) -> None:
        if work.id not in self.known:
            self.known[work.id] = work
            if work.not_before is not None and work.not_before > self.now:
                self.early.add(work.id)

    def ripen(self) -> datetime | None:
        times = {name: self.known[name].not_before or NOON for name in self.early}
        self.early = {name for name, at in times.items() if at > self.now}
        return min((times[name] for name in self.early), default=None)

    def line(self, queue: str, line: str) -> list[WorkItem[object]]:
        found = [
            each
            for each in self.known.values()
            if (each.queue, each.line) == (queue, line) and each.id not in self.early
        ]
        return sorted(found, key=lambda each: (-each.priority, each.since, each.id))

    def waiting(self, queue: str) -> list[TenantWaiting]:
        names = {each.line for each in self.known.values()}
        lines = {name: self.line(queue, name) for name in sorted(names)}
        return [
            TenantWaiting(name, len(line), line[0].since) for name, line in lines.items() if line
        ]


@given(steps)
def test_the_first_of_a_line_is_taken_once_its_time_has_come(
    taken: list[tuple[str, WorkItem[object]]],
):
    waiting, model = WaitingWork[str](), Model()
    for what, work in taken:
        match what:
            case "add":
                waiting.add(work, work.id, model.now)
                model.add(work)
            case "remove":
                assert (waiting.remove(work.id) is None) == (work.id not in model.known)
                model.known.pop(work.id, None)
                model.early.discard(work.id)
            case "take":
                line = model.line(work.queue, work.line)
                assert waiting.take(work.queue, work.line) == (line[0].id if line else None)
                if line:
                    del model.known[line[0].id]
            case _:
                model.now += SECOND
                assert waiting.ripen(model.now) == model.ripen()
        assert sorted(waiting.items) == sorted(model.known)
        assert len(waiting) == len(model.known)
        assert all(name in waiting for name in model.known)
        for queue in ("q", "p"):
            assert sorted(waiting.waiting(queue, 99)) == model.waiting(queue)
            assert (queue in waiting.queues) == bool(model.waiting(queue))


@given(st.text("abc/_ ", max_size=5), st.text("abcXYZ09_-", min_size=1))
def test_a_line_tells_its_tenant_whatever_its_lane_is_called(lane: str, tenant: str):
    work = item("i", tenant, lane=lane)
    assert tenant_of(work.line) == tenant
    assert (work.line == tenant) == (not lane)


def test_where_more_wait_than_are_told_of_at_once_each_gets_its_turn():
    waiting = WaitingWork[str]()
    for number in range(10):
        waiting.add(item(f"i{number}", f"t{number}"), "", NOON)
    told = [each.line for _ in range(4) for each in waiting.waiting("q", 3)]
    assert set(told) == {f"t{number}" for number in range(10)}


def test_what_is_gone_does_not_pile_up():
    waiting, later = WaitingWork[int](), NOON + SECOND
    waiting.add(item("first"), 0, NOON)
    waiting.add(item("early", not_before=later), 0, NOON)
    for number in range(2000):
        waiting.add(item(f"{number}", since=NOON), number, NOON)
        waiting.add(item(f"{number}e", not_before=later), number, NOON)
        waiting.remove(f"{number}")
        waiting.remove(f"{number}e")
    assert len(waiting._lines["q"]["acme"].heap) < 200
    assert len(waiting._times) < 200
