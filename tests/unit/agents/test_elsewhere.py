"""Work that one worker has not the means for goes to another, at once, and never back to it."""

import msgspec

from schemas.lifecycle import FailGeneration, Tick
from schemas.problems import Problem
from schemas.work import WorkItem
from tests.unit.agents.runs import Run, accepted, fail

LACKS = Problem(code="unauthorized", message="no such secret here", field="provider.secret")


def lacking(attempt: int, worker: str) -> FailGeneration:
    return msgspec.structs.replace(fail(attempt, LACKS), elsewhere=True, worker=worker)


def item(run: Run) -> WorkItem[object]:
    (work,) = run.open.values()
    assert isinstance(work, WorkItem)
    return work


def test_the_next_attempt_is_made_at_once_by_another_worker():
    run = accepted()
    run.take(lacking(1, "generate-1"))
    run.take(Tick())

    assert (item(run).attempt, item(run).avoid) == (2, ["generate-1"])
    run.take(lacking(2, "generate-2"))
    run.take(Tick())
    assert item(run).avoid == ["generate-1", "generate-2"]


def test_who_gets_it_twice_is_the_only_one_and_ends_it():
    run = accepted()
    run.take(lacking(1, "generate-1"))
    run.take(Tick())
    run.take(lacking(2, "generate-1"))

    assert (run.execution.status, run.execution.problem) == ("FAILED", LACKS)


def test_what_the_provider_refuses_is_not_tried_elsewhere():
    run = accepted()
    run.take(fail(1, LACKS))

    assert run.execution.status == "FAILED"
