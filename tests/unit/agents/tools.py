"""An execution with tools, its answers and reports, and commands at random."""

from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st

from schemas.lifecycle import Accept, Cancel, Decide, ExecutionCommand, FinishGeneration, Tick
from schemas.llm import Answer, ToolCall
from schemas.problems import Problem
from schemas.tools import (
    FailTool,
    FinishTool,
    OfferedTool,
    ToolLimits,
    ToolOutcome,
    ToolPlan,
    ToolResult,
    ToolText,
)
from schemas.usage import Usage
from schemas.work import Claim, Lost, Stopped, WorkFailure
from tests.unit.agents.runs import DELTAS, Run, accept
from tests.unit.agents.samples import NOW

LIMITS = ToolLimits(rounds=3, calls=6, parallel=2)
OFFERED = [
    OfferedTool(name="find", server="notes", tool="find", once=False, seconds=20),
    OfferedTool(name="send", server="mail", tool="send", seconds=20),
    OfferedTool(name="pay", server="bank", tool="pay", needs_approval=True, seconds=20),
]
PLAN = ToolPlan(offered=OFFERED, callers=["mine"], limits=LIMITS)
DOWN = Problem(code="unavailable", message="the server is down", retryable=True)


def with_tools(plan: ToolPlan = PLAN) -> Accept:
    return msgspec.structs.replace(accept(), tools=plan)


def calling(
    *names: str, step: int = 1, attempt: int = 1, text: str = "Let me see."
) -> FinishGeneration:
    calls = [
        ToolCall(id=f"c{step}.{n}", name=name, arguments="{}") for n, name in enumerate(names, 1)
    ]
    reason = "tool_calls" if calls else "stop"
    answer = Answer(text=text, finish_reason=reason, usage=Usage(output=1), tool_calls=calls)
    return FinishGeneration(
        work=str(step), attempt=attempt, answer=answer, deltas=DELTAS, started_at=NOW
    )


def brings(
    work: str, text: str = "found", attempt: int = 1, *, is_error: bool = False
) -> FinishTool:
    result = ToolResult(content=[ToolText(text=text)], is_error=is_error)
    return FinishTool(work=work, attempt=attempt, result=result, started_at=NOW)


def fails(
    work: str,
    outcome: ToolOutcome = "protocol_error",
    attempt: int = 1,
    *,
    sent: bool = True,
    problem: Problem = DOWN,
) -> FailTool:
    return FailTool(
        work=work, attempt=attempt, problem=problem, sent=sent, outcome=outcome, started_at=NOW
    )


def begun(*names: str, plan: ToolPlan = PLAN) -> Run:
    """Return a run whose first answer calls these tools."""
    run = Run()
    run.take(with_tools(plan))
    run.take(calling(*names))
    return run


works = st.builds("{}.{}".format, st.integers(1, 4), st.integers(1, 3))
attempts = st.integers(1, 4)
names = st.lists(st.sampled_from(("find", "send", "pay", "nowhere")), max_size=4)
sent = st.booleans()
outcomes: st.SearchStrategy[ToolOutcome] = st.sampled_from(
    ("not_sent", "rejected", "protocol_error", "deadline", "overloaded", "outcome_unknown")
)


def _calling(step: int, called: Sequence[str]) -> FinishGeneration:
    return calling(*called, step=step)


tool_commands: st.SearchStrategy[ExecutionCommand] = st.one_of(
    st.builds(_calling, st.integers(1, 5), names),
    st.builds(Claim, work=works, attempt=attempts),
    st.builds(Lost, work=works, attempt=attempts, begun=sent),
    st.builds(Stopped, work=works, attempt=attempts, sent=sent),
    st.builds(WorkFailure, work=works, attempt=attempts, problem=st.just(DOWN), sent=sent),
    st.builds(brings, works, st.text(max_size=3), attempts, is_error=sent),
    st.builds(fails, works, outcomes, attempts, sent=sent),
    st.builds(
        Decide,
        call_id=st.builds("c{}.{}".format, st.integers(1, 4), st.integers(1, 3)),
        approved=sent,
        by=st.just("acme/ann"),
    ),
    st.just(Tick()),
)
last_words: st.SearchStrategy[ExecutionCommand] = st.just(Cancel(reason="enough"))
Steps = list[tuple[ExecutionCommand, float]]
tool_steps: st.SearchStrategy[Steps] = st.lists(
    st.tuples(st.one_of(*([tool_commands] * 9), last_words), st.floats(0, 8)), max_size=30
)


def played_with_tools(sequence: Steps) -> Run:
    """Play commands, the first of them an answer that calls."""
    run = begun("find", "send", "pay")
    for command, seconds in sequence:
        run.take(command, seconds)
    return run
