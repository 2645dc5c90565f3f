"""One execution and all that happens to it, and commands at random."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from hypothesis import strategies as st

from actors.agents.core.decisions import decide
from actors.agents.core.effects import changes, effects
from actors.agents.core.execution import evolve
from actors.agents.core.outward import announce
from actors.agents.core.payer import payer
from actors.agents.core.state import Execution
from bus.shard.outstanding import Open, change
from schemas.attempts import Attempt
from schemas.decision import Ask, Decision, Effect, Publish, by_id
from schemas.lifecycle import (
    Accept,
    Cancel,
    Deltas,
    ExecutionCancelled,
    ExecutionCommand,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    FailGeneration,
    FinishGeneration,
    Look,
    Origin,
    Tick,
)
from schemas.llm import Answer, GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Scripted
from schemas.usage import Usage
from schemas.work import Claim, Lost, Stopped, WorkFailure
from tests.unit.agents.samples import NOW

TIMEOUT = 60.0
MAX_ATTEMPTS = 3
TERMINALS = (ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)
DELTAS = Deltas(count=0, sha256="")
OVERLOADED = Problem(code="provider_overloaded", message="come back later", retryable=True)
REFUSED = Problem(code="unauthorized", message="no")


def accept(digest: str = "one", max_attempts: int = MAX_ATTEMPTS) -> Accept:
    origin = Origin(
        tenant="acme",
        execution_id="e1",
        agent_id="reviewer",
        agent_version=1,
        task="Read this.",
        digest=digest,
        max_attempts=max_attempts,
        session="s1",
    )
    request = GenerateRequest(provider=Scripted(responses=["Yes."]), messages=[])
    return Accept(origin=origin, request=request, timeout_seconds=TIMEOUT)


def asks(state: Execution) -> list[Ask]:
    """Return what an execution asks of the account."""
    return state.spend.asks(payer(state))


def finish(attempt: int, output: int = 1) -> FinishGeneration:
    answer = Answer(
        text=f"answer {attempt}",
        finish_reason="stop",
        usage=Usage(output=output),
        reasoning="well",
        tool_calls=[ToolCall(id="c1", name="look", arguments="{}")],
        model_served="m-1",
        cached=attempt == 2,
    )
    return FinishGeneration(work="1", attempt=attempt, answer=answer, deltas=DELTAS, started_at=NOW)


def fail(
    attempt: int,
    problem: Problem = OVERLOADED,
    usage: Usage | None = None,
    next_place: int | None = None,
) -> FailGeneration:
    return FailGeneration(
        work="1",
        attempt=attempt,
        problem=problem,
        deltas=DELTAS,
        started_at=NOW,
        usage=usage,
        next_place=next_place,
    )


@dataclass
class Run:
    """One execution and all that happened to it."""

    state: Execution | None = None
    events: list[ExecutionEvent] = field(default_factory=list[ExecutionEvent])
    published: list[Publish] = field(default_factory=list[Publish])
    work: list[str] = field(default_factory=list[str])
    open: Open = field(default_factory=dict[str, Effect])
    now: datetime = NOW

    def take(self, command: ExecutionCommand, seconds: float = 0.0) -> Decision:
        self.now += timedelta(seconds=seconds)
        earlier, decision = self.state, decide(self.state, command, self.now)
        for event in decision.events:
            before, self.state = self.state, evolve(self.state, event)
            self.events.append(event)
            self.published.extend(announce(before, event, self.state))
        if self.state is not None:
            change(self.open, changes(earlier, decision.events, self.state), {})
            assert self.open == by_id(effects(self.state))
            self.work.extend(w.id for w in effects(self.state) if w.id not in self.work[-1:])
        return decision

    @property
    def execution(self) -> Execution:
        assert self.state is not None
        return self.state

    @property
    def current(self) -> Attempt:
        assert self.execution.current is not None
        return self.execution.current


def accepted(max_attempts: int = MAX_ATTEMPTS) -> Run:
    run = Run()
    run.take(accept(max_attempts=max_attempts))
    return run


usages = st.none() | st.builds(Usage, output=st.integers(0, 50))
problems = st.sampled_from(
    (OVERLOADED, REFUSED, msgspec.structs.replace(OVERLOADED, retry_after=5.0))
)
attempts = st.integers(1, 6)
commands: st.SearchStrategy[ExecutionCommand] = st.one_of(
    st.builds(accept, st.sampled_from(("one", "other"))),
    st.builds(Claim, work=st.just("1"), attempt=attempts),
    st.builds(Lost, work=st.just("1"), attempt=attempts, begun=st.booleans()),
    st.builds(Stopped, work=st.just("1"), attempt=attempts, sent=st.booleans()),
    st.builds(WorkFailure, work=st.just("1"), attempt=attempts, problem=problems),
    st.builds(finish, attempts, st.integers(0, 50)),
    st.builds(fail, attempts, problems, usages, st.none() | st.integers(0, 2)),
    st.builds(Cancel, reason=st.sampled_from(("", "enough"))),
    st.just(Tick()),
    st.just(Look()),
)
Steps = list[tuple[ExecutionCommand, float]]
steps: st.SearchStrategy[Steps] = st.lists(st.tuples(commands, st.floats(0, 25)), max_size=25)


def played(sequence: Sequence[tuple[ExecutionCommand, float]]) -> Run:
    run = accepted()
    for command, seconds in sequence:
        run.take(command, seconds)
    return run
