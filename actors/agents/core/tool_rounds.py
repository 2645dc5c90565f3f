"""What the owner of an execution decides on the calls of tools: start, retry, refuse, go on. Pure.

``core.tool_state`` says through which phases a call goes.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from actors.agents.core import delegation
from actors.agents.core.execution import evolve
from actors.agents.core.state import Execution
from actors.agents.core.tool_state import OVERDUE, RoundCall, ToolRounds, asks
from schemas import attempts, callbacks, tool_turns
from schemas.attempts import OutcomeLearned, Rules, WorkDone, WorkFailed, WorkStarted
from schemas.beginnings import MOST_DEPTH, HasBegun
from schemas.callbacks import Ended, WaitAnswered, WaitOver, WaitStopped
from schemas.decision import Decision, refuse
from schemas.ids import derived_id
from schemas.lifecycle import (
    AttemptStarted,
    Decide,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ToolBegan,
    ToolDecided,
    ToolFailed,
    ToolFinished,
    ToolRefused,
    ToolsCalled,
    ToolStarted,
)
from schemas.llm import Answer
from schemas.problems import Problem
from schemas.spend import ReserveAsked
from schemas.tools import UNSENT, CallOutcome, FailTool, FinishTool
from schemas.work import Lost, Settled, Stopped, WorkFailure

Report = FinishTool | HasBegun | FailTool | WorkFailure | Lost | Stopped

ATTEMPTS = 3
"""Attempts at one call, where another can do no harm."""

APPROVAL_TIME = timedelta(hours=24)

MOST_CALLS = 128
"""Calls of one answer: each takes a result, also one that is refused."""

KEPT_BYTES = 64 * 1024
"""No result takes more in the state of an execution, however large it was reported."""

ALL_KEPT_BYTES = 512 * 1024
"""Nor do all turns together: they travel in one work item."""

LEAST_KEPT_BYTES = 1024

_GOES_ON = ("tool_calls", "stop", "other")
"""How an answer ends whose calls are whole."""

_UNKNOWN_TOOL = "unknown_tool: there is no tool of this name."
_LIMIT = "tool_limit: no more tools may be called. Answer now with what you have."
_SPENT = Problem(
    code="tool_limit",
    message="The model called tools after all that its limits allow, and was told so before.",
)
_TOO_MANY = Problem(code="tool_limit", message=f"The model made over {MOST_CALLS} calls at once.")
_OVERDUE = Problem(code="timeout", message="The tool has not answered in its time.")
_NOT_BEGUN = Problem(code="timeout", message="Nothing that calls the tool was there in its time.")


class _Course:
    """The events of one decision, and the state that they lead to."""

    def __init__(self, state: Execution) -> None:
        self.state = state
        self.events: list[ExecutionEvent] = []

    @property
    def rounds(self) -> ToolRounds:
        rounds = self.state.tools
        if rounds is None:
            raise ValueError("an execution without tools")
        return rounds

    def take(self, event: ExecutionEvent) -> None:
        self.state = evolve(self.state, event)
        self.events.append(event)


# A round


def answered(state: Execution, answer: Answer, now: datetime) -> tuple[ExecutionEvent, ...]:
    """Return what follows an answer: the calls that it asks for, or the end.

    Where one of them is the caller's own tool, the execution ends and the caller runs them.
    """
    rounds, calls = state.tools, answer.tool_calls
    end = (ExecutionCompleted(segment=state.next_segment, at=now),)
    if rounds is None or not calls or answer.finish_reason not in _GOES_ON:
        return end
    if any(call.name in rounds.plan.callers for call in calls):
        return end
    if rounds.last or len(calls) > MOST_CALLS:
        problem = _SPENT if rounds.last else _TOO_MANY
        return (ExecutionFailed(segment=state.next_segment, at=now, problem=problem),)
    course = _Course(state)
    careful = not rounds.is_spent and any(asks(rounds.plan, calls))
    called = ToolsCalled(
        step=state.step,
        at=now,
        notice_segment=state.next_segment if careful else None,
        until=now + APPROVAL_TIME if careful else None,
    )
    course.take(called)
    _advance(course, now)
    return tuple(course.events)


def _advance(course: _Course, now: datetime) -> None:
    """Refuse and start calls as far as they can be, and begin the next step after the last."""
    limits = course.rounds.plan.limits
    for call in course.rounds.calls:
        if call.phase == "waiting":
            refused = _refusal(course, call, now)
            if refused is not None:
                course.take(refused)
            elif _running(course.rounds) < limits.parallel:
                course.take(_started(course, call, now))
    if all(call.phase == "ended" for call in course.rounds.calls):
        is_alone = course.state.origin.kind == "tool"
        course.take(_end(course, now) if is_alone else _next_step(course.state, now))


def _started(course: _Course, call: RoundCall, now: datetime) -> ToolStarted:
    """Begin a call; what it runs is named here, so that every attempt begins the same."""
    work, offered, origin = course.rounds.work(call), call.offered, course.state.origin
    name = f"{origin.tenant}.{origin.execution_id}.{work}"
    return ToolStarted(
        work=work,
        attempt=1,
        at=now,
        once=offered is not None and offered.once,
        child=derived_id(name, now) if offered is not None and offered.agents else None,
    )


def _running(rounds: ToolRounds) -> int:
    return sum(call.phase == "running" for call in rounds.calls)


def _refusal(course: _Course, call: RoundCall, now: datetime) -> ToolRefused | None:
    """Return why a call is not made, None where it is."""
    found = _reason(course.rounds, call) or _misdirected(course.state, call)
    if found is None:
        return None
    outcome, message = found
    return ToolRefused(
        work=course.rounds.work(call),
        at=now,
        outcome=outcome,
        message=message,
        notice_segment=course.state.next_segment,
    )


def _reason(rounds: ToolRounds, call: RoundCall) -> tuple[CallOutcome, str] | None:
    if rounds.last or rounds.count + call.place > rounds.plan.limits.calls:
        return "tool_limit", _LIMIT
    if call.offered is None:
        return "unknown_tool", _UNKNOWN_TOOL
    if call.declined == "expired":
        return "expired", "expired: nobody approved of the call in time."
    if call.declined is not None:
        return call.declined, f"declined: a person has rejected the call. {call.reason}".strip()
    return None


def _misdirected(state: Execution, call: RoundCall) -> tuple[CallOutcome, str] | None:
    """Return why a call cannot run the agent that it names."""
    offered, answer = call.offered, state.answer
    if offered is None or not offered.agents or answer is None:
        return None
    if state.origin.depth >= MOST_DEPTH:
        return "tool_limit", delegation.TOO_DEEP
    found = delegation.arguments_of(answer.tool_calls[call.place - 1].arguments, offered)
    return ("rejected", found) if isinstance(found, str) else None


def _next_step(state: Execution, now: datetime) -> ReserveAsked | AttemptStarted:
    step = str(int(state.step) + 1)
    if state.spend.spending is not None:
        return ReserveAsked(work=step, attempt=1, asked=1, at=now, place=state.place)
    return AttemptStarted(
        work=step, attempt=1, segment=state.next_segment, at=now, place=state.place
    )


# A call without an agent


def called_alone(accepted: Execution, now: datetime) -> tuple[ExecutionEvent, ...]:
    """Begin an execution that is one call of a tool."""
    course = _Course(accepted)
    course.take(ToolsCalled(step=accepted.step, at=now))
    _advance(course, now)
    return tuple(course.events)


def _end(course: _Course, now: datetime) -> ExecutionCompleted | ExecutionFailed:
    """End an execution that is one call: with its result, or because it brought none."""
    segment, call = course.state.next_segment, course.rounds.calls[0]
    if call.result is not None:
        return ExecutionCompleted(segment=segment, at=now)
    code = "outcome_unknown" if call.outcome == "outcome_unknown" else "provider_error"
    if call.outcome in UNSENT or call.outcome == "unknown_tool":
        code = "unavailable"
    if call.outcome == "deadline":
        code = "timeout"
    problem = Problem(code=code, message=call.text, details={"outcome": call.outcome})
    return ExecutionFailed(segment=segment, at=now, problem=problem)


# What workers say


def on_work(state: Execution, command: Report, now: datetime) -> Decision:
    """Decide on what became of an attempt at a call."""
    rules = Rules(most=ATTEMPTS, deadline=_until(state, command.work), seed=command.work)
    said = _unsure(state, command)
    decided = attempts.decide(state.attempts, said, now, rules)
    if not decided.events:
        return Decision(_late(state, command, now), decided.reply)
    if isinstance(decided.events[0], OutcomeLearned):
        return decided
    course = _Course(state)
    event = decided.events[0]
    match event:
        case WorkDone() if isinstance(command, HasBegun):
            began = ToolBegan(
                work=event.work, attempt=event.attempt, at=now, look_at=now + callbacks.LOOK
            )
            return Decision((began,), decided.reply)
        case WorkDone() if isinstance(command, FinishTool):
            course.take(_finished(course, command, now))
        case WorkStarted():
            course.take(_again(event))
        case WorkFailed():
            outcome = _outcome(said, event)
            course.take(_failed(course, event, outcome))
        case _:
            return Decision(reply=Settled(accepted=False))
    _advance(course, now)
    return Decision(tuple(course.events), decided.reply)


def _late(state: Execution, command: Report, now: datetime) -> tuple[WaitStopped, ...]:
    """Have an execution ended that has begun, or may have, when its call was over already."""
    rounds = state.tools
    may_stand = isinstance(command, HasBegun) or (
        isinstance(command, WorkFailure | Stopped) and command.sent
    )
    made = rounds.made_as(command.work) if rounds is not None and may_stand else None
    if made is None or made.execution_id is None or made.outcome in _NOT_TO_STOP:
        return ()
    return (WaitStopped(of=delegation.child_of(state.origin, made.execution_id), at=now),)


_NOT_TO_STOP = (None, "ok", "tool_error")
"""So far a call has come whose execution goes on or has ended by itself."""


def on_child(state: Execution, command: Ended | WaitAnswered, now: datetime) -> Decision:
    """Decide on the end of an execution that a call has run: its call ends with it."""
    decided = callbacks.decide(state.waits, command, now)
    course = _Course(state)
    for event in decided.events:
        call = state.tools.of_child(event.of.key) if state.tools is not None else None
        if not isinstance(event, WaitOver):
            course.take(event)
        elif call is None:
            # Its result is nobody's: it need not be stored.
            end = msgspec.structs.replace(event.end, outcome=None)
            course.take(msgspec.structs.replace(event, end=end))
        else:
            course.take(_brought(course, call, event.end, now))
            _advance(course, now)
    return Decision(tuple(course.events), decided.reply)


def _brought(course: _Course, call: RoundCall, end: Ended, now: datetime) -> ToolFinished:
    finished = FinishTool(
        work=course.rounds.work(call),
        attempt=call.attempts,
        result=delegation.result_of(end),
        started_at=call.started_at or now,
    )
    return msgspec.structs.replace(_finished(course, finished, now), cost=end.cost)


def _unsure(state: Execution, command: Report) -> Report:
    """Return a failure that leaves open whether the tool did its work as what it is."""
    known = state.attempts.of(command.work)
    is_open = isinstance(command, WorkFailure) and command.sent and known is not None and known.once
    if not is_open:
        return command
    sure = isinstance(command, FailTool) and command.outcome == "protocol_error"
    return command if sure else msgspec.structs.replace(command, problem=attempts.UNKNOWN)


def _finished(course: _Course, command: FinishTool, now: datetime) -> ToolFinished:
    left = ALL_KEPT_BYTES - course.rounds.inline
    most = max(LEAST_KEPT_BYTES, min(KEPT_BYTES, left))
    return ToolFinished(
        work=command.work,
        attempt=command.attempt,
        at=now,
        result=tool_turns.bounded(command.result, most),
        started_at=command.started_at,
        notice_segment=course.state.next_segment,
        charges=command.charges,
    )


def _outcome(command: Report, failed: WorkFailed) -> CallOutcome:
    """Return what became of a call of which an attempt brought no result."""
    if failed.problem.code == attempts.UNKNOWN.code:
        return "outcome_unknown"
    if isinstance(command, FailTool):
        return command.outcome
    if isinstance(command, WorkFailure):
        return "protocol_error" if command.sent else "not_sent"
    return "not_sent"


def _failed(course: _Course, failed: WorkFailed, outcome: CallOutcome) -> ToolFailed:
    return ToolFailed(
        work=failed.work,
        attempt=failed.attempt,
        problem=failed.problem,
        at=failed.at,
        retry_at=failed.retry_at,
        avoid=failed.avoid,
        outcome=outcome,
        notice_segment=course.state.next_segment if failed.retry_at is None else None,
    )


def _again(started: WorkStarted) -> ToolStarted:
    return ToolStarted(
        work=started.work,
        attempt=started.attempt,
        at=started.at,
        reason=started.reason,
        counts=started.counts,
    )


# Time


def _until(state: Execution, work: str) -> datetime | None:
    """Return when a call is to have ended."""
    rounds = state.tools
    call = rounds.call(work) if rounds is not None else None
    return None if rounds is None or call is None else rounds.until(call, state.deadline)


def tick(state: Execution, now: datetime) -> tuple[ExecutionEvent, ...]:
    """Return what the time has come for: retries, calls that are overdue, approvals that expire."""
    rounds = state.tools
    if rounds is None or not rounds.calls:
        return ()
    course = _Course(state)
    for looked in callbacks.look(state.waits, now):
        course.take(looked)
    for started in attempts.again(state.attempts, now):
        if rounds.call(started.work) is not None:
            course.take(_again(started))
    for call in rounds.calls:
        if call.phase == "running" and now >= rounds.until(call, state.deadline) + OVERDUE:
            course.take(_overdue(course, rounds.work(call), now))
        elif call.phase == "asking" and rounds.until_decided and now >= rounds.until_decided:
            course.take(ToolDecided(work=rounds.work(call), at=now, approved=False))
    if course.events:
        _advance(course, now)
    return tuple(course.events)


def _overdue(course: _Course, work: str, now: datetime) -> ToolFailed:
    """End an attempt of which nothing is heard.

    What is ``once`` and was not claimed was not begun, and now cannot be any more.
    """
    known = course.state.attempts.of(work)
    if known is None:
        raise ValueError(work)
    problem, outcome = _OVERDUE, "deadline"
    if known.once:
        problem = attempts.UNKNOWN if known.claimed else _NOT_BEGUN
        outcome = "outcome_unknown" if known.claimed else "not_sent"
    failed = WorkFailed(work=work, attempt=known.attempt, problem=problem, at=now)
    return _failed(course, failed, outcome)


# People


def by_person(
    state: Execution, command: Decide, now: datetime, handle: Callable[[Execution], msgspec.Struct]
) -> Decision:
    """Decide on what a person says of a call; ``handle`` returns the answer.

    The same word twice changes nothing; another one than the first is a ``conflict``.
    """
    rounds = state.tools
    named = [call for call in rounds.calls if call.id == command.call_id] if rounds else []
    pending = next((call for call in named if call.phase == "asking"), None)
    if rounds is None or pending is None:
        return _decided_before(state, command, handle)
    course = _Course(state)
    decided = ToolDecided(
        work=rounds.work(pending),
        at=now,
        approved=command.approved,
        by=command.by,
        reason=command.reason,
    )
    course.take(decided)
    _advance(course, now)
    return Decision(tuple(course.events), handle(course.state))


def _decided_before(
    state: Execution, command: Decide, handle: Callable[[Execution], msgspec.Struct]
) -> Decision:
    made = state.tools.all_made if state.tools is not None else ()
    known = [each for each in made if each.call_id == command.call_id and each.by is not None]
    if known and (known[-1].outcome != "declined") is command.approved:
        return Decision(reply=handle(state))
    what = "was decided otherwise" if known else "waits for no approval"
    code = "conflict" if known else "not_found"
    return refuse(Problem(code=code, message=f"the call {what}", field="call_id"))
