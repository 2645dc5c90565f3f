"""An execution that runs other agents, and what befalls these at random."""

import json
from typing import Any

import msgspec
from hypothesis import strategies as st

from actors.agents.core.effects import answered
from bus.codec import encode
from schemas.beginnings import HasBegun
from schemas.callbacks import Ended, EndOutcome, Noted, Pending
from schemas.decision import Ask
from schemas.identity import KeptPrincipal, admin
from schemas.lifecycle import Cancel, FinishGeneration, Tick
from schemas.llm import ToolCall
from schemas.problems import Problem
from schemas.tools import OfferedTool, ToolLimits, ToolPlan
from schemas.work import Lost, ReplyTo, Stopped, WorkFailure, WorkItem
from tests.unit.agents.runs import Run, accept
from tests.unit.agents.samples import NOW
from tests.unit.agents.tools import calling

RUNS = OfferedTool(
    name="agents_execute",
    server="agents",
    tool="agents.execute",
    once=False,
    seconds=20,
    agents=["critic", "writer"],
)
PLAN = ToolPlan(
    offered=[RUNS],
    limits=ToolLimits(rounds=3, calls=6, parallel=2),
    by=KeptPrincipal.of(admin("acme")),
)
TASK = {"agent_id": "critic", "task": "Judge it."}
AWAY = Problem(code="unavailable", message="nobody is there", retryable=True)


def running(*arguments: Any, step: int = 1) -> FinishGeneration:
    """Return an answer that runs agents with these arguments, or texts that should be some."""
    plain = calling(*(RUNS.name for _ in arguments), step=step)
    texts = [each if isinstance(each, str) else json.dumps(each) for each in arguments]
    calls: list[ToolCall] = [
        msgspec.structs.replace(call, arguments=text)
        for call, text in zip(plain.answer.tool_calls, texts, strict=True)
    ]
    return msgspec.structs.replace(
        plain, answer=msgspec.structs.replace(plain.answer, tool_calls=calls)
    )


def delegating(*arguments: Any, depth: int = 0, plan: ToolPlan = PLAN) -> Run:
    """Return a run whose first answer runs agents."""
    run, plain = Run(), accept()
    origin = msgspec.structs.replace(plain.origin, depth=depth, user="ann", project="p")
    run.take(msgspec.structs.replace(plain, origin=origin, tools=plan))
    run.take(running(*arguments))
    return run


def items(run: Run) -> list[WorkItem[Any]]:
    return [each for each in run.open.values() if isinstance(each, WorkItem)]


def asked(run: Run) -> list[Ask]:
    return [each for each in run.open.values() if isinstance(each, Ask)]


def child(run: Run, place: int = 1) -> ReplyTo:
    """Return the execution that a call has begun."""
    assert run.execution.tools is not None
    made = run.execution.tools.all_made[place - 1]
    return ReplyTo(entity="execution", tenant="acme", key=made.execution_id or "")


def ends(
    of: ReplyTo, text: str = "It is good.", *, status: str = "COMPLETED", value: bytes = b""
) -> Ended:
    problem = None if status == "COMPLETED" else Problem(code="provider_error", message="down")
    outcome = EndOutcome(value=msgspec.Raw(value)) if value else EndOutcome(text=text)
    return Ended(
        of=of,
        status=status,
        at=NOW,
        cost=700,
        problem=problem,
        outcome=None if problem else outcome,
    )


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("begun", "ended", "failed", "lost", "stopped", "refused", "answered", "tick", "cancel")
        ),
        st.integers(1, 3),
        st.floats(0, 8),
    ),
    max_size=25,
)
Steps = list[tuple[str, int, float]]


def played(sequence: Steps) -> Run:
    """Play what befalls three calls that begin agents, one of them with wrong arguments."""
    run = delegating(TASK, {**TASK, "agent_id": "nobody"}, TASK)
    for what, place, seconds in sequence:
        befall(run, what, place, seconds)
    return run


def befall(run: Run, what: str, place: int, seconds: float = 0.0) -> None:
    """Let one thing befall the call of a place."""
    work, of = f"1.{place}", child(run, place)
    commands: dict[str, Any] = {
        "begun": HasBegun(work=work, attempt=1),
        "ended": ends(of),
        "failed": ends(of, status="FAILED"),
        "lost": Lost(work=work, attempt=1, begun=True),
        "stopped": Stopped(work=work, attempt=1),
        "refused": WorkFailure(work=work, attempt=1, problem=AWAY, sent=place > 1),
        "tick": Tick(),
        "cancel": Cancel(reason="enough"),
    }
    if what != "answered":
        run.take(commands[what], seconds)
    for ask in asked(run) if what == "answered" else []:
        answer(run, ask, seconds)


def answer(run: Run, ask: Ask, seconds: float = 0.0, told: Any = None) -> None:
    """Answer what the execution asks of another: the child's cancellation, or whether it ended."""
    reply = told or (Pending() if type(ask.command).__name__ == "Inquire" else Noted(fresh=True))
    run.take(answered(ask, encode(reply)), seconds)
