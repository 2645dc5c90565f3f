"""An execution that another entity has started tells that entity of its end."""

from collections.abc import Callable

import msgspec
import pytest

from actors.agents.core.effects import answered, effects
from actors.agents.core.execution import due, has_ended
from bus.codec import encode
from schemas.callbacks import Ended, Inquire, Noted, Pending
from schemas.decision import Ask
from schemas.executions import ExecuteAgent, Generate
from schemas.lifecycle import Cancel, Tick
from schemas.problems import Problem
from schemas.usage import Usage
from schemas.work import Lost, ReplyTo
from tests.unit.agents.runs import REFUSED, Run, accept, fail, finish
from tests.unit.agents.samples import NOW

PARENT = ReplyTo(entity="parent", tenant="acme", key="p1")
SELF = ReplyTo(entity="execution", tenant="acme", key="e1")
ENDS: dict[str, Callable[[Run], object]] = {
    "COMPLETED": lambda run: run.take(finish(1, output=7)),
    "FAILED": lambda run: run.take(fail(1, REFUSED)),
    "CANCELLED": lambda run: run.take(Cancel(reason="enough")),
    "TIMED_OUT": lambda run: run.take(Tick(), 61.0),
}


def begun() -> Run:
    run = Run()
    run.take(msgspec.structs.replace(accept(), reply_to=PARENT))
    return run


def callbacks_of(run: Run) -> list[Ask]:
    asks = [each for each in effects(run.execution) if isinstance(each, Ask)]
    return [ask for ask in asks if isinstance(ask.command, Ended)]


@pytest.mark.parametrize("status", ENDS)
def test_every_end_is_told_to_who_waits_until_it_has_answered(status: str):
    run = begun()
    assert callbacks_of(run) == []

    ENDS[status](run)
    (ask,) = callbacks_of(run)
    run.take(answered(ask, encode(Noted(fresh=True))))

    assert (ask.entity, ask.tenant, ask.key) == ("parent", "acme", "p1")
    end = ask.command
    assert (end.of, end.status, end.record) == (SELF, status, "cb.acme.record.e1")
    assert (end.problem is None) == (status == "COMPLETED")
    assert end.usage == (Usage(output=7) if status == "COMPLETED" else None)
    assert callbacks_of(run) == []
    assert has_ended(run.execution)
    assert due(run.execution) is None


def test_a_second_answer_to_a_callback_and_a_refusal_change_nothing_more():
    run = begun()
    run.take(Cancel(reason="enough"))
    (ask,) = callbacks_of(run)
    gone = Problem(code="not_found", message="nobody waits")

    first = run.take(answered(ask, encode(gone)))
    again = run.take(answered(ask, encode(gone)))

    assert [event.problem for event in first.events] == [gone]
    assert again.events == ()


def test_what_is_told_stays_the_same_when_more_usage_is_learned_after_the_end():
    run = begun()
    run.take(Lost(work="1", attempt=1, begun=True))
    run.take(finish(2, output=3))
    (before,) = callbacks_of(run)

    run.take(finish(1, output=9))

    assert callbacks_of(run) == [before]
    assert run.execution.usage == Usage(output=12)


def test_an_execution_says_whether_it_has_ended():
    run = begun()

    assert run.take(Inquire()).reply == Pending()
    run.take(Cancel(reason="enough"))
    told = run.take(Inquire()).reply

    assert isinstance(told, Ended)
    assert (told.of, told.status, told.at) == (SELF, "CANCELLED", NOW)
    assert Run().take(Inquire()).reply == Problem(
        code="not_found", message="there is no such execution", field="execution_id"
    )


def test_an_execution_for_which_nobody_waits_calls_nobody_back():
    run = Run()
    run.take(accept())
    run.take(Cancel(reason="enough"))

    assert callbacks_of(run) == []
    assert run.execution.end is None


@pytest.mark.parametrize("request_type", [ExecuteAgent, Generate])
def test_no_public_request_can_name_who_waits(request_type: type[ExecuteAgent | Generate]):
    assert "reply_to" not in request_type.__struct_fields__
    assert request_type.__struct_config__.forbid_unknown_fields
