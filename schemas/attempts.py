"""The attempts at pieces of work, any number in one entity: which of them count, and what is next.

Pure, and embedded by every entity that opens work. A piece of work goes through these phases::

    planned ──started──▶ running ──done──▶ ended
       ▲  │                │  ▲
       │  └─put off, again─┘  │ lost, released, or waited long enough: another attempt
       │                   │  │
       └──planned── waiting ◀─┴─failed, and another attempt is left; otherwise ended

An entity decides with the functions below and applies their events with ``Attempts.apply``. Where
it has more to say of an event, its own is a subclass. Attempts are counted from 1 and only grow;
what has ended is never opened again. Only the running attempt's report counts. Of an earlier one
only what it has spent does, once: see ``may_settle``.

Work that is ``once`` is attempted again only where no worker has claimed it, or where its worker
says that nothing was sent. If neither is known, it ends with ``outcome_unknown``; what its worker
tells later is an ``OutcomeLearned``.
"""

import zlib
from datetime import datetime, timedelta
from operator import is_
from typing import Literal, NamedTuple, TypeVar

import msgspec

from schemas import pages
from schemas.base import Internal, Value
from schemas.decision import Decision
from schemas.pages import Pages, Times
from schemas.problems import Problem
from schemas.retry import delay
from schemas.work import (
    Claim,
    Done,
    Granted,
    Lost,
    ReplyTo,
    Settled,
    Stopped,
    Superseded,
    WorkCommand,
    WorkFailure,
    WorkItem,
    item_id,
)

B = TypeVar("B")

LOST = Problem(
    code="provider_error",
    message="The workers that had the work were lost again and again.",
)
UNKNOWN = Problem(
    code="outcome_unknown",
    message="The worker that had begun the work is gone: it may have had its effect, or not.",
)
RELEASED = "its worker let go of it"
WORKER_LOST = "its worker fell silent"
ITEM_LOST = "the bus lost its work item"

_REPLACED = Superseded(reason="replaced by a new attempt")
_SPENT = Superseded(reason="attempts are spent")
_LATE, _ACCEPTED = Settled(accepted=False), Settled(accepted=True)


# Events


class WorkPlanned(Internal, tag="work_planned"):
    """An attempt waits for leave to start. ``counts`` is that of ``WorkStarted``."""

    work: str
    attempt: int
    at: datetime
    counts: int = 0


class WorkPutOff(Internal, tag="work_put_off"):
    """A planned attempt was refused leave. It is planned again at ``retry_at``, if that is set."""

    work: str
    attempt: int
    at: datetime
    retry_at: datetime | None = None


class WorkStarted(Internal, tag="work_started"):
    """An attempt is handed out.

    ``counts`` is 1 where the attempt before it was lost with its worker, which spends an attempt.
    ``reason`` is why there is another attempt than the first.
    """

    work: str
    attempt: int
    at: datetime
    reason: str | None = None
    counts: int = 0
    once: bool = False


class WorkClaimed(Internal, tag="work_claimed"):
    """A worker was allowed to begin an item that it may not begin unasked."""

    work: str
    attempt: int


class WorkFailed(Internal, tag="work_failed"):
    """An attempt failed. Another is made at ``retry_at``; None ends the work.

    It is not made by the worker to ``avoid`` if there is another one.
    """

    work: str
    attempt: int
    problem: Problem
    at: datetime
    retry_at: datetime | None = None
    avoid: str = ""


class WorkDone(Internal, tag="work_done"):
    """The end, in success."""

    work: str
    attempt: int
    at: datetime


class WorkDropped(Internal, tag="work_dropped"):
    """The end, because nobody needs the work any more."""

    work: str
    attempt: int
    at: datetime


class OutcomeLearned(Internal, tag="outcome_learned"):
    """A worker has told what became of work whose outcome was unknown: it was done, or never sent.

    The work stays ended.
    """

    work: str
    attempt: int
    at: datetime
    done: bool


WorkEvent = (
    WorkPlanned
    | WorkPutOff
    | WorkStarted
    | WorkClaimed
    | WorkFailed
    | WorkDone
    | WorkDropped
    | OutcomeLearned
)


# State


class Attempt(Value, omit_defaults=True):
    """A piece of work and its newest attempt, decided at ``at``.

    ``failures`` counts the attempts that failed or were lost; ``settled`` names those whose
    spending is counted. ``unknown`` is set where the work has ended and may have had its effect.
    ``avoid`` names workers that lack what the work takes.
    """

    attempt: int
    at: datetime
    phase: Literal["planned", "running", "waiting", "ended"] = "running"
    claimed: bool = False
    failures: int = 0
    once: bool = False
    retry_at: datetime | None = None
    settled: tuple[int, ...] = ()
    unknown: bool = False
    avoid: tuple[str, ...] = ()


class Rules(NamedTuple):
    """How often work may fail, and until when it is attempted. ``seed`` spreads its retries."""

    most: int
    deadline: datetime | None = None
    seed: str = ""


class Attempts(Value, omit_defaults=True):
    """All work of an entity, by name. Any number of works: an event costs the same for all.

    ``times`` are those of the attempts that wait for a moment.
    """

    works: Pages[Attempt] = ()
    times: Times = ()

    def of(self, work: str) -> Attempt | None:
        """Return what is known of a piece of work."""
        works = self.works
        # Mostly there is one page: this is asked several times for every event.
        return works[0].get(work) if len(works) == 1 else pages.get(works, work)

    def running(self, work: str) -> Attempt | None:
        """Return the attempt at a piece of work that a worker has, or is to have."""
        known = self.of(work)
        return known if known is not None and known.phase == "running" else None

    def open(self) -> list[tuple[str, Attempt]]:
        """Return all work that workers have, or are to have: a walk through everything."""
        return [
            entry for page in self.works for entry in page.items() if entry[1].phase == "running"
        ]

    def is_current(self, work: str, attempt: int) -> bool:
        """Say whether an attempt is running, so that its report counts."""
        known = self.running(work)
        return known is not None and known.attempt == attempt

    def may_settle(self, work: str, attempt: int) -> bool:
        """Say whether an attempt was made whose spending is not counted yet."""
        known = self.of(work)
        return known is not None and 0 < attempt <= known.attempt and attempt not in known.settled

    def due(self) -> datetime | None:
        """Return when the next attempt is to be made, or leave asked for again."""
        return pages.earliest(self.times) if self.times else None

    def apply(self, event: WorkEvent) -> "Attempts":
        """Apply one event, or one of a subclass.

        Raises:
            ValueError: another event than a start concerns work that was never started.
        """
        return self._with(event.work, _after(self.of(event.work), event))

    def settle(self, work: str, attempt: int) -> "Attempts":
        """Note that the spending of an attempt is counted.

        Raises:
            KeyError: the work was never started.
        """
        known = _known(self, work)
        settled = msgspec.structs.replace(known, settled=(*known.settled, attempt))
        return self._with(work, settled)

    def drop(self) -> "Attempts":
        """End everything: nobody needs it any more."""
        works = tuple(map(_all_dropped, self.works))
        is_same = all(map(is_, works, self.works))
        return self if is_same else Attempts(works=works)

    def _with(self, work: str, known: Attempt) -> "Attempts":
        works = pages.put(self.works, work, known)
        if not self.times and known.retry_at is None:
            return Attempts(works=works)
        return Attempts(works=works, times=pages.timed(self.times, works, work, _retry_at))


def item(reply_to: ReplyTo, work: str, known: Attempt, queue: str, body: B) -> WorkItem[B]:
    """Return the work item of a running attempt."""
    return WorkItem(
        id=item_id(reply_to, work, known.attempt),
        work=work,
        attempt=known.attempt,
        queue=queue,
        tenant=reply_to.tenant,
        reply_to=reply_to,
        since=known.at,
        body=body,
        once=known.once,
    )


def turnover(
    before: Attempts | None, after: Attempts, work: str
) -> tuple[Attempt | None, Attempt | None]:
    """Return the attempts whose items an event has closed and opened at one piece of work."""
    was = before.running(work) if before is not None else None
    now = after.running(work)
    is_same = was is not None and now is not None and was.attempt == now.attempt
    return (None, None) if is_same else (was, now)


def _retry_at(known: Attempt) -> datetime | None:
    return known.retry_at


def _known(state: Attempts, work: str) -> Attempt:
    known = state.of(work)
    if known is None:
        raise KeyError(work)
    return known


def _all_dropped(page: dict[str, Attempt]) -> dict[str, Attempt]:
    left = {work: _dropped(known) for work, known in page.items() if known.phase != "ended"}
    return {**page, **left} if left else page


def _after(known: Attempt | None, event: WorkEvent) -> Attempt:
    if isinstance(event, WorkStarted):
        return _begun(known, event, "running", once=event.once)
    if isinstance(event, WorkPlanned):
        return _begun(known, event, "planned")
    if known is None:
        message = f"{type(event).__name__} before the work {event.work} was started"
        raise ValueError(message)
    match event:
        case WorkDone():
            settled = (*known.settled, event.attempt)
            return msgspec.structs.replace(known, phase="ended", settled=settled)
        case WorkFailed():
            return _failed(known, event)
        case WorkClaimed():
            return msgspec.structs.replace(known, claimed=True)
        case WorkPutOff():
            return msgspec.structs.replace(known, retry_at=event.retry_at)
        case WorkDropped():
            return _dropped(known)
        case OutcomeLearned():
            return msgspec.structs.replace(known, unknown=False)


def _begun(
    known: Attempt | None,
    event: WorkStarted | WorkPlanned,
    phase: Literal["running", "planned"],
    *,
    once: bool = False,
) -> Attempt:
    if known is None:
        return Attempt(attempt=event.attempt, at=event.at, phase=phase, once=once)
    return Attempt(
        attempt=event.attempt,
        at=event.at,
        phase=phase,
        failures=known.failures + event.counts,
        once=known.once or once,
        settled=known.settled,
        avoid=known.avoid,
    )


def _failed(known: Attempt, event: WorkFailed) -> Attempt:
    return msgspec.structs.replace(
        known,
        phase="ended" if event.retry_at is None else "waiting",
        failures=known.failures + 1,
        retry_at=event.retry_at,
        unknown=known.once and event.problem.code == UNKNOWN.code,
        avoid=(*known.avoid, event.avoid) if event.avoid else known.avoid,
    )


def _dropped(known: Attempt) -> Attempt:
    is_running = known.phase == "running"
    unknown = known.unknown or (is_running and known.once and known.claimed)
    return msgspec.structs.replace(known, phase="ended", retry_at=None, unknown=unknown)


# Decisions


def decide(state: Attempts, command: WorkCommand, now: datetime, rules: Rules) -> Decision:
    """Decide on what a worker or the bus says: for entities that have no more to say to it."""
    match command:
        case Claim():
            return claim(state, command)
        case Lost():
            return replace(state, command, now, rules)
        case _ if not state.is_current(command.work, command.attempt):
            return learn(state, command, now)
        case Done():
            done = WorkDone(work=command.work, attempt=command.attempt, at=now)
            return Decision((done,), _ACCEPTED)
        case WorkFailure():
            return Decision((fail(state, command, now, rules),), _ACCEPTED)
        case Stopped():
            return Decision(replace(state, command, now, rules).events, _ACCEPTED)


def claim(state: Attempts, command: Claim) -> Decision:
    """Let one worker begin the attempt that counts."""
    known = state.of(command.work)
    if known is None or not state.is_current(command.work, command.attempt):
        return Decision(reply=_superseded(known))
    if known.claimed:
        return Decision(reply=Superseded(reason="another worker has begun it"))
    return Decision((WorkClaimed(work=command.work, attempt=command.attempt),), Granted())


def replace(state: Attempts, command: Lost | Stopped, now: datetime, rules: Rules) -> Decision:
    """Begin anew what nobody has any more, or end it with a ``WorkFailed``."""
    known = state.of(command.work)
    if known is None or not state.is_current(command.work, command.attempt):
        return Decision(reply=_superseded(known))
    if isinstance(command, Lost):
        spends, is_unsure = command.begun, known.claimed
        reason = WORKER_LOST if command.begun else ITEM_LOST
    else:
        spends, is_unsure, reason = command.sent, command.sent, RELEASED
    if known.once and is_unsure:
        return Decision((_end(command, UNKNOWN, now),), _SPENT)
    if spends and known.failures + 1 >= rules.most:
        return Decision((_end(command, LOST, now),), _SPENT)
    again = _again(command.work, known, now, reason)
    return Decision((msgspec.structs.replace(again, counts=int(spends)),), _REPLACED)


def fail(state: Attempts, command: WorkFailure, now: datetime, rules: Rules) -> WorkFailed:
    """Return what the failure of the attempt that counts leads to."""
    known = _known(state, command.work)
    seconds = None
    is_final = known.once and command.sent
    avoid = _unfit(known, command)
    if not is_final and may_fail_again(known, rules):
        seconds = delay(command.problem, failures=known.failures, jitter=_jitter(known, rules))
        seconds = 0.0 if avoid else seconds
    if seconds is not None and rules.deadline is not None:
        seconds = seconds if seconds < (rules.deadline - now).total_seconds() else None
    retry_at = None if seconds is None else now + timedelta(seconds=seconds)
    failed = _end(command, command.problem, now)
    return msgspec.structs.replace(failed, retry_at=retry_at, avoid=avoid)


def _unfit(known: Attempt, command: WorkFailure) -> str:
    """Return the worker that lacks what the work takes; "" for one that has said so before.

    It was given the work once more because there is no other.
    """
    return command.worker if command.elsewhere and command.worker not in known.avoid else ""


def may_fail_again(known: Attempt, rules: Rules) -> bool:
    """Say whether another attempt is left after one more failure."""
    return known.failures + 1 < rules.most


def learn(state: Attempts, command: Done | WorkFailure | Stopped, now: datetime) -> Decision:
    """Answer the report of an attempt that counts no more: it may tell an unknown outcome."""
    known = state.of(command.work)
    is_told = isinstance(command, Done) or not command.sent
    if known is None or not known.unknown or known.attempt != command.attempt or not is_told:
        return Decision(reply=_LATE)
    learned = OutcomeLearned(
        work=command.work, attempt=command.attempt, at=now, done=isinstance(command, Done)
    )
    return Decision((learned,), _ACCEPTED)


def again(state: Attempts, now: datetime, reason: str = "failed") -> tuple[WorkStarted, ...]:
    """Start the attempts that were waited for."""
    return tuple(
        _again(work, each, now, reason)
        for work, each in pages.due(state.times, state.works, now, _retry_at)
        if each.phase == "waiting"
    )


def _again(work: str, known: Attempt, now: datetime, reason: str) -> WorkStarted:
    return WorkStarted(work=work, attempt=known.attempt + 1, at=now, reason=reason)


def _end(command: WorkCommand, problem: Problem, now: datetime) -> WorkFailed:
    return WorkFailed(work=command.work, attempt=command.attempt, problem=problem, at=now)


def _superseded(known: Attempt | None) -> Superseded:
    return Superseded(reason="it is over" if known is None else known.phase)


def _jitter(known: Attempt, rules: Rules) -> float:
    """Return a number from 0 to 1 that is the same for the same attempt."""
    return (zlib.crc32(f"{rules.seed}.{known.attempt}".encode()) % 256) / 256
