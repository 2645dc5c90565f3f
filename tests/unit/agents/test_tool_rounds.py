"""Rounds of tools: what is called, what the model is told, what people decide, what it costs."""

from datetime import timedelta

import msgspec

from actors.agents.core.entity import EXECUTION
from actors.agents.core.outward import record
from actors.agents.core.tool_rounds import KEPT_BYTES
from actors.agents.core.work_items import outstanding_work
from schemas.bills import Growth, Spending, grown
from schemas.bodies import BodyReference
from schemas.conversations import ConversationTurn
from schemas.executions import ExecutionHandle
from schemas.lifecycle import (
    Decide,
    ExecutionFailed,
    GenerateWork,
    Prompt,
    Tick,
    ToolFailed,
)
from schemas.llm import ChatMessage, ToolRequest
from schemas.problems import Problem
from schemas.streams import ApprovalRequested, Completed, ToolReturned, first_progress
from schemas.tool_turns import messages_of
from schemas.tools import OfferedTool, ToolPlan, ToolWork
from schemas.work import Claim, Lost, Stopped
from tests.unit.agents.runs import Run, accept
from tests.unit.agents.tools import LIMITS, OFFERED, begun, brings, calling, fails

PARENT = BodyReference(name="n", digest="n", bytes=20_000)


def asked(run: Run) -> list[ChatMessage]:
    """Return what the next call of the model has behind the request."""
    (item,) = outstanding_work(run.execution)
    assert isinstance(item.body, GenerateWork)
    return messages_of(item.body.turns)


def told(run: Run) -> list[tuple[str, str]]:
    returned = [each.body for each in run.published if isinstance(each.body, ToolReturned)]
    return [(body.call_id, body.outcome) for body in returned]


def test_calls_go_to_their_servers_and_what_they_bring_goes_to_the_model():
    run = begun("find", "send")
    items = outstanding_work(run.execution)
    run.take(Claim(work="1.2", attempt=1))
    run.take(brings("1.2", "sent", is_error=True))
    run.take(brings("1.1", "two"))

    bodies = [item.body for item in items]
    assert [(item.lane, item.once, item.work) for item in items] == [
        ("notes", False, "1.1"),
        ("mail", True, "1.2"),
    ]
    assert all(isinstance(body, ToolWork) for body in bodies)
    assert [body.sequence for body in bodies if isinstance(body, ToolWork)] == [
        first_progress(1, 1),
        first_progress(2, 1),
    ]
    first, *results = asked(run)
    assert [call.name for call in first.tool_calls] == ["find", "send"]
    assert [(one.tool_call_id, one.text, one.is_error) for one in results] == [
        ("c1.1", "two", False),
        ("c1.2", "sent", True),
    ]
    run.take(calling(step=2, text="Done."))
    assert run.execution.status == "COMPLETED"
    assert record(run.execution).output == "Done."
    assert [(c.name, c.outcome) for c in record(run.execution).tools] == [
        ("find", "ok"),
        ("send", "tool_error"),
    ]


def test_a_session_remembers_calls_and_results_and_none_that_lack_one():
    run = begun("find")
    run.take(brings("1.1", "two"))
    run.take(calling(step=2, text="Done."))
    (turn,) = [each.body for each in run.published if isinstance(each.body, ConversationTurn)]

    assert [message.role for message in turn.messages] == ["assistant", "tool"]
    assert turn.assistant == "Done."


def test_what_is_stored_apart_of_a_conversation_is_read_for_the_session():
    run = begun("find")
    run = Run()
    run.take(msgspec.structs.replace(accept(), tools=ToolPlan(offered=OFFERED)))
    run.take(msgspec.structs.replace(calling("find"), prompt=PARENT))
    run.take(brings("1.1", "two"))
    (item,) = outstanding_work(run.execution)
    run.take(calling(step=2, text="Done."))
    (kept,) = [each for each in run.published if isinstance(each.body, ConversationTurn)]
    prompt = Prompt(request=accept().request, own_from=0, task="", task_at=None)
    answer = ChatMessage(
        role="assistant", content="Let me see.", tool_calls=calling("find").answer.tool_calls
    )
    stored = msgspec.structs.replace(
        prompt, request=msgspec.structs.replace(accept().request, messages=[answer])
    )

    assert isinstance(item.body, GenerateWork)
    assert item.body.prompt == PARENT
    assert [turn.message.role for turn in item.body.turns] == ["tool"]
    assert kept.lacks == PARENT
    assert EXECUTION.filled is not None
    whole = EXECUTION.filled(kept.body, msgspec.json.encode(stored), None)
    assert isinstance(whole, ConversationTurn)
    assert [message.role for message in whole.messages] == ["assistant", "tool"]


def test_the_callers_own_tool_ends_the_execution_and_runs_nothing():
    run = begun("find", "mine")

    assert run.execution.status == "COMPLETED"
    assert record(run.execution).finish_reason == "tool_calls"
    assert record(run.execution).tools == []


def test_an_unknown_tool_is_told_the_model_and_the_execution_goes_on():
    run = begun("nowhere")

    assert told(run) == [("c1.1", "unknown_tool")]
    assert asked(run)[-1].is_error


def test_an_unknown_outcome_is_told_as_such_and_learned_later():
    run = begun("send")
    run.take(Claim(work="1.1", attempt=1))
    run.take(Lost(work="1.1", attempt=1, begun=True))
    assert "may have happened" in asked(run)[-1].text
    run.take(brings("1.1"))

    (call,) = record(run.execution).tools
    assert (call.outcome, call.learned) == ("outcome_unknown", True)


def test_what_was_not_sent_is_made_again_and_what_may_have_been_is_not():
    run = begun("send", "find")
    run.take(fails("1.1", "not_sent", sent=False))
    run.take(Tick(), seconds=1)
    assert run.execution.attempts.running("1.1") is not None
    run.take(fails("1.1", "deadline", attempt=2))
    run.take(Stopped(work="1.2", attempt=1))

    assert told(run) == [("c1.1", "outcome_unknown")]
    assert run.execution.attempts.running("1.2") is not None


def test_a_call_that_nobody_takes_is_over_in_its_time():
    run = begun("send")
    run.take(Tick(), seconds=26)

    assert told(run) == [("c1.1", "not_sent")]
    assert run.take(Claim(work="1.1", attempt=1)).events == ()


def test_a_person_is_asked_and_the_time_waits():
    run = begun("pay")
    deadline = run.execution.deadline
    (asks,) = [each.body for each in run.published if isinstance(each.body, ApprovalRequested)]
    assert run.execution.status == "WAITING"
    run.take(Tick(), seconds=3600)
    assert run.execution.status == "WAITING"
    answer = run.take(Decide(call_id="c1.1", approved=True, by="acme/ann"))
    again = run.take(Decide(call_id="c1.1", approved=True, by="acme/bob"))
    other = run.take(Decide(call_id="c1.1", approved=False, by="acme/bob"))

    assert asks.tool_name == "pay"
    assert isinstance(answer.reply, ExecutionHandle)
    assert (again.events, type(again.reply)) == ((), ExecutionHandle)
    assert isinstance(other.reply, Problem)
    assert other.reply.code == "conflict"
    assert run.execution.deadline == deadline + timedelta(seconds=3600)
    assert run.execution.attempts.running("1.1") is not None


def test_what_a_person_rejects_or_nobody_approves_of_is_not_made():
    run = begun("pay")
    run.take(Decide(call_id="c1.1", approved=False, by="acme/ann", reason="too much"))
    assert told(run) == [("c1.1", "declined")]
    assert "too much" in asked(run)[-1].text
    run.take(calling("pay", step=2))
    run.take(Tick(), seconds=24 * 3600 + 1)

    assert told(run)[-1] == ("c2.1", "expired")
    assert run.execution.attempts.of("2.1") is None


def test_beyond_its_limits_the_model_is_told_so_once_and_then_the_execution_fails():
    run = begun("find")
    for step in range(1, LIMITS.rounds + 1):
        run.take(brings(f"{step}.1"))
        run.take(calling("find", step=step + 1))
    assert told(run)[-1] == (f"c{LIMITS.rounds + 1}.1", "tool_limit")
    run.take(calling("find", step=LIMITS.rounds + 2))

    end = run.events[-1]
    assert isinstance(end, ExecutionFailed)
    assert end.problem.code == "tool_limit"


def test_no_result_takes_more_than_its_share_of_the_state():
    run = begun("find")
    run.take(brings("1.1", "ä" * 300_000))

    assert len(msgspec.json.encode(run.execution)) < KEPT_BYTES + 10_000
    assert "cut off" in asked(run)[-1].text


def test_a_call_without_an_agent_ends_with_its_result_or_without_one():
    plan = ToolPlan(offered=[OfferedTool(name="tool", server="notes", tool="find")])
    origin = msgspec.structs.replace(accept().origin, kind="tool", agent_id=None, session=None)
    wanted = msgspec.structs.replace(
        accept(), origin=origin, request=ToolRequest(name="tool", arguments="{}"), tools=plan
    )
    done, lost = Run(), Run()
    for run in (done, lost):
        run.take(wanted)
        run.take(Claim(work="1.1", attempt=1))
    done.take(brings("1.1", "two"))
    lost.take(Lost(work="1.1", attempt=1, begun=True))

    assert (done.execution.status, record(done.execution).output) == ("COMPLETED", "two")
    assert record(done.execution).result == brings("1.1", "two").result
    assert sum(isinstance(each.body, Completed) for each in done.published) == 1
    assert lost.execution.status == "FAILED"
    error = record(lost.execution).error
    assert error is not None
    assert error.code == "outcome_unknown"
    assert isinstance(lost.events[-2], ToolFailed)


def test_a_step_reserves_what_the_longer_conversation_may_cost_more():
    growth = Growth(amount_pico=640, tokens=64 * 1024)
    spending = Spending(amount_pico=100, tokens=10, growth=growth)

    assert grown(spending, 0) is spending
    longer = grown(spending, 1024)
    assert (longer.amount_pico, longer.tokens) == (110, 1034)
