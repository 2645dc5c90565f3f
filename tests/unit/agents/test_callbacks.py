"""An execution that another entity has started tells that entity of its end."""

from collections.abc import Callable

import msgspec
import pytest

from actors.agents.core.acceptance import begun_by
from actors.agents.core.effects import answered, effects
from actors.agents.core.execution import due, has_ended
from actors.agents.core.outcomes import outcome_of
from bus.codec import encode
from schemas.beginnings import MOST_DEPTH, Beginner
from schemas.callbacks import MOST_TOLD_BYTES, Ended, EndOutcome, Inquire, Noted, Pending
from schemas.decision import Ask
from schemas.executions import ExecuteAgent, Generate
from schemas.lifecycle import Accept, Cancel, Tick
from schemas.problems import Problem
from schemas.tools import ToolResult, ToolText
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


def told(run: Run) -> EndOutcome | None:
    """Return what who waits is told has come out."""
    reply = run.take(Inquire()).reply
    assert isinstance(reply, Ended)
    return reply.outcome


def answering(text: str, *, is_json: bool = False) -> EndOutcome | None:
    run, last = begun(), finish(1)
    answer = msgspec.structs.replace(last.answer, text=text, is_json=is_json, model_served="m")
    run.take(msgspec.structs.replace(last, answer=answer))
    return told(run)


def test_who_waits_is_told_the_text_and_a_value_where_it_was_verified():
    assert answering("Yes.") == EndOutcome(text="Yes.", model="m")
    assert answering('{"a": 1}') == EndOutcome(text='{"a": 1}', model="m")
    assert answering('{"a": 1}', is_json=True) == EndOutcome(
        value=msgspec.Raw(b'{"a": 1}'), model="m"
    )


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}", "\x00"])
def test_what_is_told_has_a_bound_and_says_where_it_was_cut(character: str, is_json: bool):
    outcome = answering(character * (MOST_TOLD_BYTES + 1), is_json=is_json)

    assert outcome is not None
    assert outcome.truncated
    assert MOST_TOLD_BYTES / 2 < len(encode(outcome.text)) <= MOST_TOLD_BYTES
    assert bytes(outcome.value) == b""


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "TIMED_OUT"])
def test_what_has_not_completed_has_brought_nothing(status: str):
    run = begun()
    ENDS[status](run)

    assert told(run) is None


def test_a_tool_that_was_called_alone_tells_its_value_or_its_text_and_whether_it_failed():
    text, value = ToolText(text="found"), {"n": 1}
    plain = ToolResult(content=[text], is_error=True, truncated=True, bytes=99)

    found = outcome_of(None, ToolResult(content=[text], structured=value), "")
    assert found == EndOutcome(value=msgspec.Raw(b'{"n":1}'))
    failed = outcome_of(None, plain, "")
    assert failed is not None
    assert (failed.text[:5], failed.truncated, failed.is_error) == ("found", True, True)


def test_what_an_entity_has_begun_lies_deeper_and_not_too_deep():
    wanted = accept()
    first = begun_by(Beginner(reply_to=PARENT, scope="run-1"), wanted)
    assert isinstance(first, Accept)
    assert (first.reply_to, first.origin.depth, first.origin.scope) == (PARENT, 1, "run-1")
    assert begun_by(None, wanted) == wanted

    deep = begun_by(Beginner(reply_to=PARENT, depth=MOST_DEPTH), wanted)
    assert isinstance(deep, Problem)
    assert deep.code == "tool_limit"
