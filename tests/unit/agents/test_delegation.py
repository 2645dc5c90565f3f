"""An agent runs others: their ends are results, and what nobody waits for is ended."""

import uuid
from collections import Counter
from datetime import timedelta
from functools import reduce

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.agents.core.execution import due, evolve, has_ended
from actors.agents.core.outward import record
from actors.agents.core.state import Execution
from actors.agents.core.tool_offers import ToolOffers, offers, servers
from schemas.agents import AgentStatus, AgentSummary, AgentTool
from schemas.beginnings import MOST_DEPTH, BeginWork, HasBegun
from schemas.callbacks import LOOK, Inquire, Noted
from schemas.executions import ExecuteAgent
from schemas.fleet import StopWork
from schemas.identity import admin
from schemas.ids import derived_id
from schemas.lifecycle import Cancel, Decide, Tick, ToolFailed, ToolFinished, ToolRefused
from schemas.problems import Problem
from schemas.streams import ToolProgressed, ToolReturned
from schemas.tool_turns import messages_of
from schemas.tools import ToolList
from schemas.work import Stopped, WorkFailure
from tests.unit.agents.delegating import (
    AWAY,
    PLAN,
    TASK,
    Steps,
    answer,
    asked,
    befall,
    child,
    delegating,
    ends,
    items,
    played,
    steps,
)
from tests.unit.agents.runs import TERMINALS, Run
from tests.unit.agents.samples import NOW, agent


def said(run: Run) -> list[str]:
    """Return what the model is told of its calls."""
    (item,) = items(run)
    return [message.text for message in messages_of(item.body.turns) if message.role == "tool"]


def test_a_call_begins_an_execution_waits_and_brings_its_answer():
    run = delegating({**TASK, "context": {"n": 1}})
    (item,) = items(run)
    body = item.body
    assert isinstance(body, BeginWork)
    assert (item.queue, item.work, item.once, body.name) == (
        "begin",
        "1.1",
        False,
        "agents.execute",
    )
    request = msgspec.json.decode(body.request, type=ExecuteAgent)
    assert (request.agent_id, request.task, request.context) == ("critic", "Judge it.", {"n": 1})
    assert (request.user, request.project, body.id) == ("ann", "p", child(run).key)

    run.take(HasBegun(work="1.1", attempt=1))
    assert (items(run), asked(run)) == ([], [])
    assert run.execution.status == "RUNNING"
    told = run.take(ends(child(run)))

    assert told.reply == Noted(fresh=True)
    assert said(run) == ["It is good."]
    (call,) = record(run.execution).tools
    assert (call.outcome, call.execution_id, call.cost) == ("ok", child(run).key, 700)
    assert record(run.execution).cost is None


def test_who_reads_along_is_told_which_execution_runs_and_what_it_has_cost():
    run = delegating(TASK)
    run.take(HasBegun(work="1.1", attempt=1))
    run.take(ends(child(run)))
    bodies = [each.body for each in run.published]
    (began,) = [body for body in bodies if isinstance(body, ToolProgressed)]
    (returned,) = [body for body in bodies if isinstance(body, ToolReturned)]

    assert began.child == returned.child == child(run).key
    assert (returned.content, returned.cost) == ("It is good.", 700)


def test_an_end_that_comes_before_the_word_of_the_beginning_counts():
    run = delegating(TASK)
    run.take(ends(child(run)))
    (name,) = [item.id for item in items(run)]
    late = run.take(HasBegun(work="1.1", attempt=1))

    assert name.endswith(".2.1")
    assert said(run) == ["It is good."]
    assert (late.events, asked(run)) == ((), [])


def test_a_value_is_told_as_one_and_a_failure_as_the_tools_own_error():
    run = delegating(TASK, TASK)
    run.take(ends(child(run), value=b'{"grade":"A"}'))
    run.take(ends(child(run, 2), status="FAILED"))

    assert said(run) == ['{"grade":"A"}', "FAILED: provider_error: down"]
    assert [call.outcome for call in record(run.execution).tools] == ["ok", "tool_error"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("{", "rejected: "),
        ("[1]", "rejected: Expected `object`"),
        ({"agent_id": "critic"}, "rejected: Object missing required field `task`"),
        ({**TASK, "agent_id": "boss"}, "rejected: agent_id must be one of critic, writer"),
        ({**TASK, "tenant": "globex"}, "rejected: Object contains unknown field `tenant`"),
        ({**TASK, "task": ""}, "rejected: Expected `str` of length >= 1"),
    ],
)
def test_arguments_that_name_no_task_of_an_allowed_agent_are_told_the_model(
    arguments: object, why: str
):
    run = delegating(arguments)

    assert said(run)[0].startswith(why)
    assert [call.outcome for call in record(run.execution).tools] == ["rejected"]


def test_agents_run_each_other_so_deep_and_no_deeper():
    assert items(delegating(TASK, depth=MOST_DEPTH - 1))[0].body.depth == MOST_DEPTH - 1
    run = delegating(TASK, depth=MOST_DEPTH)

    assert [call.outcome for call in record(run.execution).tools] == ["tool_limit"]
    assert "no deeper" in said(run)[0]


@pytest.mark.parametrize("begun", [False, True])
def test_who_is_cancelled_has_what_it_runs_ended(begun: bool):
    run = delegating(TASK)
    (item,) = items(run)
    if begun:
        run.take(HasBegun(work="1.1", attempt=1))
    run.take(Cancel(reason="enough"))
    (ask,) = asked(run)

    assert isinstance(ask.command, Cancel)
    assert (ask.entity, ask.tenant, ask.key) == ("execution", "acme", child(run).key)
    stopped = [each.body.item for each in run.published if isinstance(each.body, StopWork)]
    assert stopped == ([] if begun else [item.id])
    answer(run, ask)
    assert asked(run) == []
    assert has_ended(run.execution)
    assert run.take(ends(child(run))).reply == Noted(fresh=False)


@pytest.mark.parametrize("begins", [True, False])
def test_what_begins_when_nobody_waits_any_more_is_ended_too(begins: bool):
    run = delegating(TASK)
    run.take(Cancel(reason="enough"))
    (first,) = asked(run)
    gone = Problem(code="not_found", message="there is none")
    answer(run, first, 1.0, gone)
    late = HasBegun(work="1.1", attempt=1) if begins else Stopped(work="1.1", attempt=1)
    run.take(late, 1.0)
    (again,) = asked(run)

    assert isinstance(again.command, Cancel)
    assert first.id != again.id
    answer(run, again)
    assert asked(run) == []


def test_what_plainly_has_not_begun_is_not_asked_for_when_it_is_late():
    run = delegating(TASK)
    run.take(Cancel(reason="enough"))
    answer(run, asked(run)[0])
    run.take(WorkFailure(work="1.1", attempt=1, problem=AWAY, sent=False))

    assert asked(run) == []


def test_an_agent_that_is_not_done_in_its_time_is_ended_and_the_model_is_told():
    run = delegating(TASK)
    run.take(HasBegun(work="1.1", attempt=1))
    run.take(Tick(), 26.0)
    (ask,) = asked(run)

    assert isinstance(ask.command, Cancel)
    assert said(run) == ["deadline: The tool has not answered in its time."]


def test_who_hears_nothing_looks_and_what_it_finds_counts():
    slow = msgspec.structs.replace(PLAN.offered[0], seconds=3600)
    plan = msgspec.structs.replace(PLAN, offered=[slow])
    run = delegating(TASK, plan=plan)
    state = msgspec.structs.replace(run.execution, deadline=NOW + timedelta(hours=2))
    run.state = state
    run.take(HasBegun(work="1.1", attempt=1))
    assert due(run.execution) == NOW + LOOK

    run.take(Tick(), LOOK.total_seconds())
    (ask,) = asked(run)
    assert isinstance(ask.command, Inquire)
    answer(run, ask)
    assert (asked(run), due(run.execution)) == ([], NOW + 2 * LOOK)
    run.take(Tick(), LOOK.total_seconds())
    answer(run, asked(run)[0], told=ends(child(run)))

    assert said(run) == ["It is good."]


def test_a_person_is_asked_before_an_agent_runs():
    careful = msgspec.structs.replace(PLAN.offered[0], needs_approval=True)
    run = delegating(TASK, plan=msgspec.structs.replace(PLAN, offered=[careful]))
    assert (run.execution.status, items(run)) == ("WAITING", [])

    run.take(Decide(call_id="c1.1", approved=True, by="acme/ann"))
    assert [item.queue for item in items(run)] == ["begin"]


# Whatever happens


def outcomes(run: Run) -> list[str]:
    return [
        event.work
        for event in run.events
        if isinstance(event, ToolFinished | ToolRefused)
        or (isinstance(event, ToolFailed) and event.retry_at is None)
    ]


@settings(max_examples=60)
@given(steps)
def test_each_call_has_one_outcome_and_nothing_runs_on_for_nobody(sequence: Steps):
    run = played([*sequence, ("cancel", 1, 0.0)])

    assert sum(isinstance(event, TERMINALS) for event in run.events) == 1
    assert max(Counter(outcomes(run)).values(), default=0) <= 1
    assert items(run) == []
    calls = record(run.execution).tools
    assert all(call.outcome is not None for call in calls)
    over = {call.execution_id for call in calls if call.outcome in ("ok", "tool_error")}
    for ask in asked(run):
        assert isinstance(ask.command, Cancel)
        assert ask.key not in over
        answer(run, ask)
    assert asked(run) == []
    assert has_ended(run.execution)


@settings(max_examples=60)
@given(steps)
def test_an_execution_that_runs_agents_and_is_left_alone_ends(sequence: Steps):
    run = played(sequence)
    for _ in range(40):
        moment = due(run.execution)
        if moment is None:
            break
        run.take(Tick(), max(0.0, (moment - run.now).total_seconds()))

    assert has_ended(run.execution)
    assert reduce(evolve, run.events, None) == run.state
    assert msgspec.json.decode(msgspec.json.encode(run.state), type=Execution) == run.state


@given(steps)
def test_all_attempts_at_a_call_begin_the_same_execution(sequence: Steps):
    run = delegating(TASK)
    names: set[str] = set()
    for what, _, seconds in [*sequence, ("tick", 1, 0.0)]:
        names |= {item.body.id for item in items(run) if isinstance(item.body, BeginWork)}
        befall(run, what, 1, seconds)

    assert len(names) == 1


@given(st.text(max_size=20), st.integers(0, 10**12))
def test_a_derived_id_is_a_uuid_of_version_7_with_its_time(name: str, milliseconds: int):
    moment = NOW + timedelta(milliseconds=milliseconds)
    made = uuid.UUID(derived_id(name, moment))

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == round(moment.timestamp() * 1000)
    assert str(made) == derived_id(name, moment)
    assert str(made) != derived_id(f"{name}x", moment)


# What is offered


def row(name: str, status: AgentStatus = "IDLE") -> AgentSummary:
    return AgentSummary(
        id=name,
        name=name,
        description=f"does {name}",
        kind="general",
        status=status,
        provider="openai",
        model="m",
        version=1,
        execution_count=0,
        created_at=NOW,
        updated_at=NOW,
    )


def offered(*tools: AgentTool) -> ToolOffers:
    known = [*map(row, ("critic", "writer", "reviewer")), row("asleep", "OFFLINE")]
    definition = agent(tools=list(tools))
    assert servers(definition).all == []
    found = offers(definition, ToolList(tools=[]), known, admin("acme"))
    assert not isinstance(found, Problem)
    return found


def test_an_agent_is_offered_those_that_its_patterns_allow():
    entry = AgentTool(server="agents", tools=["critic", "w*"], deny=["writ*"])
    found = offered(entry)

    assert found.plan is not None
    (tool,) = found.plan.offered
    assert (tool.name, tool.agents, tool.once) == ("agents_execute", ["critic"], False)
    assert tool.seconds == 3600
    (told,) = found.definitions
    assert told.parameters["properties"]["agent_id"] == {"enum": ["critic"]}
    assert "critic: does critic" in told.description
    assert found.plan.by is not None
    assert found.plan.by.actions == ["agents:read", "executions:write", "tools:read"]


def test_the_name_alone_allows_all_that_are_in_service():
    found = offered(AgentTool(name="agents"))

    assert found.plan is not None
    assert found.plan.offered[0].agents == ["critic", "reviewer", "writer"]
    assert found.plan.callers == []
    described = offered(AgentTool(name="agents", description="mine"))
    assert described.plan is None


def test_approval_is_asked_where_any_agent_that_may_be_run_needs_it():
    careful = AgentTool(server="agents", requires_approval=["writ*"])
    alone = AgentTool(server="agents", tools=["critic"], requires_approval=["writ*"])

    first, second = offered(careful).plan, offered(alone).plan
    assert first is not None
    assert second is not None
    assert first.offered[0].needs_approval
    assert not second.offered[0].needs_approval


def test_where_no_agent_may_be_run_that_is_a_warning():
    found = offered(AgentTool(server="agents", tools=["boss"]))

    assert found.plan is None
    assert [warning.message for warning in found.warnings] == [
        "there is no other agent that may be run"
    ]
