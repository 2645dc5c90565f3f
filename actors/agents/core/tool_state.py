"""The calls of tools that an execution makes, and the conversation that grows with them. Pure.

What an answer calls is a round. Each of its calls goes through these phases::

    asking ──approved──▶ waiting ──started──▶ running ──result, or none──▶ ended
       └──not approved─────┴──unknown, or beyond a limit──────────────────────▲

When all have ended the answer and what they brought become turns of the conversation, and the next
step begins. ``core.tool_rounds`` decides; attempts at a call are those of ``schemas.attempts``.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from schemas.attempts import Attempt, Attempts, OutcomeLearned
from schemas.base import Value
from schemas.lifecycle import (
    ToolBegan,
    ToolDecided,
    ToolEvent,
    ToolFailed,
    ToolFinished,
    ToolRefused,
    ToolsCalled,
    ToolStarted,
)
from schemas.llm import Answer, ChatMessage, ToolCall, ToolRequest
from schemas.tool_turns import said, size_of, text_of
from schemas.tools import (
    CalledTool,
    CallOutcome,
    OfferedTool,
    ToolPlan,
    ToolResult,
    Turn,
)
from schemas.usage import Usage

MOST_MADE = 1000
"""Calls that a record tells: more than the limits allow."""

OVERDUE = timedelta(seconds=5)
"""So long after a call's time its worker may still say what became of it."""

_MILLISECOND = timedelta(milliseconds=1)


def is_call(work: str) -> bool:
    """Say whether work is the call of a tool; a step has no place."""
    return "." in work


class RoundCall(Value, omit_defaults=True):
    """A call of the present round. ``text`` tells the model why there is no ``result``.

    ``child`` is the execution that it has begun, where it runs an agent, and ``cost`` its price.
    """

    place: int
    id: str
    name: str
    offered: OfferedTool | None = None
    phase: Literal["asking", "waiting", "running", "ended"] = "waiting"
    outcome: CallOutcome | None = None
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    by: str | None = None
    reason: str = ""
    declined: CallOutcome | None = None
    result: ToolResult | None = None
    text: str = ""
    learned: bool | None = None
    child: str | None = None
    cost: int | None = None


class ToolRounds(Value, omit_defaults=True):
    """What an execution knows of its tools.

    ``turns`` are the messages since its prompt; ``size`` is how many bytes the conversation has
    grown by. ``made`` are the calls of earlier rounds. ``stored`` says that the prompt holds the
    answer of the present round already, ``parted`` that it holds some turns. In the ``last`` round
    nothing is called any more. ``result`` is that of an execution that was one call.
    """

    plan: ToolPlan
    step: str = ""
    rounds: int = 0
    calls: tuple[RoundCall, ...] = ()
    turns: tuple[Turn, ...] = ()
    made: tuple[CalledTool, ...] = ()
    size: int = 0
    asked_at: datetime | None = None
    until_decided: datetime | None = None
    stored: bool = False
    parted: bool = False
    last: bool = False
    result: ToolResult | None = None

    @property
    def asking(self) -> list[RoundCall]:
        """The calls that wait for a person."""
        return [call for call in self.calls if call.phase == "asking"]

    @property
    def all_made(self) -> tuple[CalledTool, ...]:
        """All calls, those of the present round at the end."""
        return (*self.made, *(_made(self.step, call) for call in self.calls))[-MOST_MADE:]

    @property
    def inline(self) -> int:
        """How many bytes the conversation takes in the state."""
        results = sum(size_of(call.result) for call in self.calls if call.result)
        return results + sum(len(msgspec.json.encode(turn)) for turn in self.turns)

    def work(self, call: RoundCall) -> str:
        """Name a call of the present round as work."""
        return f"{self.step}.{call.place}"

    def call(self, work: str) -> RoundCall | None:
        """Return the call of the present round that is named so."""
        step, _, place = work.partition(".")
        found = (call for call in self.calls if step == self.step and str(call.place) == place)
        return next(found, None)

    def of_child(self, child: str) -> RoundCall | None:
        """Return the call of the present round that has begun this execution, and waits for it."""
        found = (call for call in self.calls if call.child == child and call.phase == "running")
        return next(found, None)

    def made_as(self, work: str) -> CalledTool | None:
        """Return the call that is named so, of this round or an earlier one."""
        made = (each for each in self.all_made if f"{each.step}.{each.place}" == work)
        return next(made, None)

    def apply(self, event: ToolEvent, answer: Answer | None) -> "ToolRounds":
        """Apply one event; ``answer`` is that of the present step."""
        if isinstance(event, ToolsCalled):
            return self._opened(event, answer)
        if isinstance(event, OutcomeLearned):
            return self._learned(event)
        call = self.call(event.work)
        if call is None:
            return self
        changed = _after(call, event)
        calls = tuple(changed if each is call else each for each in self.calls)
        return msgspec.structs.replace(self, calls=calls)

    def closed(self, answer: Answer | None) -> "ToolRounds":
        """Return the same after the round: its answer and results are turns of the conversation."""
        if not self.calls:
            return self
        turns = [] if self.stored or answer is None else [Turn(message=said(answer))]
        turns += [brought(call) for call in self.calls]
        grown = sum(len(msgspec.json.encode(turn)) for turn in turns)
        grown += sum(map(_bytes_apart, self.calls))
        return msgspec.structs.replace(
            self,
            calls=(),
            turns=(*self.turns, *turns),
            made=self.all_made,
            size=self.size + grown,
            stored=False,
        )

    def dropped(self, at: datetime, attempts: Attempts, *, alone: bool) -> "ToolRounds":
        """Return the same at the end of the execution: calls that were under way are over.

        ``attempts`` know which of them may have had their effect. What brought the result of an
        execution that is one call ``alone`` stays.
        """
        known = [(call, attempts.of(self.work(call))) for call in self.calls]
        calls = tuple(_dropped(call, at, attempt) for call, attempt in known)
        made = msgspec.structs.replace(self, calls=calls).all_made
        plan = ToolPlan(offered=[])
        result = calls[0].result if alone and calls else None
        return ToolRounds(plan=plan, rounds=self.rounds, made=made, step=self.step, result=result)

    def _opened(self, event: ToolsCalled, answer: Answer | None) -> "ToolRounds":
        offered = {tool.name: tool for tool in self.plan.offered}
        asked = answer.tool_calls if answer is not None else []
        last = self.is_spent
        calls = tuple(
            _called(place, call, offered.get(call.name), asks=event.until is not None)
            for place, call in enumerate(asked, 1)
        )
        return msgspec.structs.replace(
            self,
            step=event.step,
            rounds=self.rounds + 1,
            calls=calls,
            asked_at=event.at if event.until is not None else None,
            until_decided=event.until,
            last=last,
        )

    def until(self, call: RoundCall, deadline: datetime) -> datetime:
        """Return when a call is to have ended: its time is counted from its first attempt."""
        began, offered = call.started_at, call.offered
        if began is None or offered is None:
            return deadline
        own = began + timedelta(seconds=offered.seconds)
        return own if self.asking else min(deadline, own)

    def due(self, deadline: datetime) -> datetime | None:
        """Return when calls must be looked at: those that are overdue, those nobody approves of."""
        under_way = [call for call in self.calls if call.phase == "running"]
        moments = [self.until(call, deadline) + OVERDUE for call in under_way]
        moments += [self.until_decided] if self.until_decided is not None and self.asking else []
        return min(moments, default=None)

    def waited(self, event: ToolEvent) -> timedelta | None:
        """Return for how long people were waited for, once the last of them has decided."""
        over = isinstance(event, ToolDecided) and not self.asking
        return event.at - self.asked_at if over and self.asked_at is not None else None

    def next_segment(self, event: ToolEvent) -> int | None:
        """Return the next segment of the stream after an event that takes some."""
        match event:
            case ToolsCalled(notice_segment=int() as first):
                return first + len(self.asking)
            case ToolFinished() | ToolRefused() | ToolFailed(notice_segment=int()):
                return (event.notice_segment or 0) + 1
            case _:
                return None

    @property
    def is_spent(self) -> bool:
        """Whether nothing may be called any more."""
        limits = self.plan.limits
        return self.rounds >= limits.rounds or self.count >= limits.calls

    @property
    def count(self) -> int:
        """How many calls of earlier rounds were made."""
        return sum(call.attempts > 0 for call in self.made)

    def _learned(self, event: OutcomeLearned) -> "ToolRounds":
        step, _, place = event.work.partition(".")
        calls = tuple(
            msgspec.structs.replace(call, learned=event.done)
            if step == self.step and str(call.place) == place
            else call
            for call in self.calls
        )
        made = tuple(
            msgspec.structs.replace(each, learned=event.done)
            if (str(each.step), str(each.place)) == (step, place)
            else each
            for each in self.made
        )
        return msgspec.structs.replace(self, calls=calls, made=made)


def alone(request: ToolRequest) -> Answer:
    """Return the answer that would have asked for a call which no model has asked for."""
    call = ToolCall(id="call", name=request.name, arguments=request.arguments)
    return Answer(text="", finish_reason="tool_calls", usage=Usage(), tool_calls=[call])


def answer_of(result: ToolResult) -> Answer:
    """Return a result as the answer of an execution that is one call of a tool."""
    return Answer(text=text_of(result), finish_reason="stop", usage=Usage())


def brought(call: RoundCall) -> Turn:
    """Return what a call has brought as a turn of the conversation."""
    failed = call.result is None
    message = ChatMessage(role="tool", content=call.text, tool_call_id=call.id, is_error=failed)
    return Turn(message=message, result=call.result)


def asks(plan: ToolPlan, calls: list[ToolCall]) -> Iterator[ToolCall]:
    """Yield the calls that wait for a person."""
    careful = {tool.name for tool in plan.offered if tool.needs_approval}
    return (call for call in calls if call.name in careful)


def _called(place: int, call: ToolCall, offered: OfferedTool | None, *, asks: bool) -> RoundCall:
    careful = asks and offered is not None and offered.needs_approval
    phase = "asking" if careful else "waiting"
    return RoundCall(place=place, id=call.id, name=call.name, offered=offered, phase=phase)


def _bytes_apart(call: RoundCall) -> int:
    reference = call.result.reference if call.result is not None else None
    return reference.bytes if reference is not None else 0


def _after(
    call: RoundCall,
    event: ToolStarted | ToolBegan | ToolFinished | ToolFailed | ToolRefused | ToolDecided,
) -> RoundCall:
    match event:
        case ToolStarted():
            return msgspec.structs.replace(
                call,
                phase="running",
                attempts=event.attempt,
                started_at=call.started_at or event.at,
                child=call.child or event.child,
            )
        case ToolBegan():
            return call
        case ToolFinished(result=result):
            outcome = "tool_error" if result.is_error else "ok"
            ended = _ended(call, outcome, event.at, result=result)
            return msgspec.structs.replace(ended, cost=event.cost)
        case ToolFailed(retry_at=None):
            return _ended(call, event.outcome, event.at, text=told(event.outcome, event))
        case ToolFailed():
            return call
        case ToolRefused():
            return _ended(call, event.outcome, event.at, text=event.message)
        case ToolDecided(approved=True):
            return msgspec.structs.replace(call, phase="waiting", by=event.by, reason=event.reason)
        case ToolDecided():
            declined = "declined" if event.by else "expired"
            by, reason = event.by or None, event.reason
            return msgspec.structs.replace(
                call, phase="waiting", by=by, reason=reason, declined=declined
            )


def told(outcome: CallOutcome, event: ToolFailed) -> str:
    """Return what the model is told of a call that brought no result."""
    if outcome == "outcome_unknown":
        return (
            "outcome_unknown: whether the call was carried out is not known. It may have happened;"
            " do not repeat it unasked."
        )
    return f"{outcome}: {event.problem.message}"


def _ended(
    call: RoundCall,
    outcome: CallOutcome,
    at: datetime,
    *,
    result: ToolResult | None = None,
    text: str = "",
) -> RoundCall:
    return msgspec.structs.replace(
        call, phase="ended", outcome=outcome, ended_at=at, result=result, text=text
    )


def _dropped(call: RoundCall, at: datetime, attempt: Attempt | None) -> RoundCall:
    if call.phase == "ended":
        return call
    unknown = attempt is not None and attempt.unknown
    return _ended(call, "outcome_unknown" if unknown else "cancelled", at)


def _made(step: str, call: RoundCall) -> CalledTool:
    offered, began, end = call.offered, call.started_at, call.ended_at
    lasted = None if began is None or end is None else round((end - began) / _MILLISECOND)
    return CalledTool(
        call_id=call.id,
        name=call.name,
        step=int(step),
        place=call.place,
        server=offered.server if offered else "",
        tool=offered.tool if offered else "",
        outcome=call.outcome,
        attempts=call.attempts,
        started_at=began,
        duration_ms=lasted,
        by=call.by,
        learned=call.learned,
        execution_id=call.child,
        cost=call.cost,
    )
