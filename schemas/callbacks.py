"""Callbacks: an entity starts another one, sleeps, and is told of the end. Pure.

The start is an ask that is answered by acceptance, or an item of work (``schemas.beginnings``) that
makes a public request. At its end, the entity that was started asks ``reply_to`` to take note
(``Ended``), again and again until it is answered: ``callback``. So who waits has nothing open
meanwhile, leaves memory, and is woken by the end. Should the callback never come, it looks by
itself after a long time (``Inquire``).

Who waits embeds ``Waits``, decides with ``decide`` and ``look``, and lists its asks with ``asks``.
Who waits no more has what it began ended: ``WaitStopped``.
Of a start that is an item it says itself what became of it: ``begun``, ``unbegun``. The first word
of an end counts, whichever way it comes; every later one changes nothing.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from schemas import pages
from schemas.base import Internal, Value
from schemas.decision import Ask, Decision
from schemas.pages import Pages, Times
from schemas.problems import Problem
from schemas.usage import Usage
from schemas.work import ReplyTo

LOOK = timedelta(minutes=15)
"""After so long without a callback who waits asks: more than the time in which a timer that comes
soon keeps an entity in memory."""


# Said between the two


MOST_TOLD_BYTES = 256 * 1024
"""What who waits is told of a result; the whole of it is in the record."""


class EndOutcome(Value, omit_defaults=True):
    """What has come out: a text, or a JSON value where the one that has ended says that it is one.

    ``truncated`` says that the text is not all: it was cut off at ``MOST_TOLD_BYTES``,
    or before; ``bytes`` is the size of all. ``model`` is who answered. ``is_error``: a tool says of
    its result that it has failed.
    """

    text: str = ""
    value: msgspec.Raw = msgspec.Raw()
    truncated: bool = False
    bytes: int = 0
    model: str = ""
    is_error: bool = False


class Ended(Internal, tag="ended"):
    """The entity ``of`` has ended: what it asks of who waits, and its answer to ``Inquire``.

    ``record`` is the subject of the whole record. ``cost`` is in pico-dollars; None is not known.
    ``outcome`` is its result, None where it has none.
    """

    of: ReplyTo
    status: str
    at: datetime
    record: str | None = None
    usage: Usage | None = None
    cost: int | None = None
    problem: Problem | None = None
    outcome: EndOutcome | None = None


class Noted(Internal, tag="noted"):
    """The answer to ``Ended``. ``fresh`` is False where the end was known, or not waited for."""

    fresh: bool


class Inquire(Internal, tag="inquire"):
    """Has it ended? Whatever may be started with a ``reply_to`` answers this."""


class Pending(Internal, tag="pending"):
    """The answer to ``Inquire`` of what has not ended."""


class WaitAnswered(Internal, tag="wait_answered"):
    """The command that tells who waits what was answered to ``ask``, of its own about ``of``."""

    ask: str
    of: ReplyTo
    end: Ended | None = None
    problem: Problem | None = None


_told = msgspec.json.Decoder(Ended | Problem)


# The side that ends


class CallbackAnswered(Internal, tag="callback_answered"):
    """The command that tells who has ended that its callback was answered, perhaps refused."""

    problem: Problem | None = None


class CalledBack(Internal, tag="called_back"):
    """The event: who waits was told of the end."""

    problem: Problem | None = None


def callback(to: ReplyTo, end: Ended) -> Ask:
    """Return what an entity that has ended asks of who waits for it."""
    return Ask(
        id=f"{name_of(end.of)}.ended",
        entity=to.entity,
        tenant=to.tenant,
        key=to.key,
        since=end.at,
        command=end,
    )


# The side that waits


class WaitBegun(Internal, tag="wait_begun"):
    """The start of ``of`` is asked for, or with ``by_item`` an item is opened that begins it."""

    of: ReplyTo
    at: datetime
    by_item: bool = False


class WaitPending(Internal, tag="wait_pending"):
    """It was accepted, or has not ended: it is looked at if nothing is heard until ``look_at``."""

    of: ReplyTo
    look_at: datetime


class WaitLooked(Internal, tag="wait_looked"):
    """Nothing was heard for long: it is asked whether it has ended."""

    of: ReplyTo


class WaitStopped(Internal, tag="wait_stopped"):
    """Nobody waits for ``of`` any more: it is asked to end, if it has begun or may have."""

    of: ReplyTo
    at: datetime


class WaitOver(Internal, tag="wait_over"):
    """The end is known."""

    of: ReplyTo
    end: Ended


WaitChange = WaitPending | WaitLooked | WaitStopped | WaitOver
"""What becomes of a wait. Its beginning may follow from an event of who waits."""

WaitEvent = WaitBegun | WaitChange


class Wait(Value, omit_defaults=True):
    """What is waited for. ``looks`` counts how often it was looked at.

    It is ``beginning`` while an item is open that begins it: then nothing is asked of it.
    """

    of: ReplyTo
    since: datetime
    phase: Literal["starting", "beginning", "waiting", "looking", "stopping"] = "starting"
    look_at: datetime | None = None
    looks: int = 0


class Waits(Value, omit_defaults=True):
    """All that an entity waits for, by ``name_of``."""

    known: Pages[Wait] = ()
    times: Times = ()

    def of(self, of: ReplyTo) -> Wait | None:
        """Return what is known of the wait for an entity; None if there is none."""
        return pages.get(self.known, name_of(of))

    def due(self) -> datetime | None:
        """Return when the next look is due."""
        return pages.earliest(self.times)

    def apply(self, event: WaitEvent) -> "Waits":
        """Apply one event.

        Raises:
            KeyError: there is no such wait.
        """
        if isinstance(event, WaitOver):
            return self.without(event.of)
        name = name_of(event.of)
        return self._with(name, pages.put(self.known, name, _after(self.of(event.of), event, name)))

    def without(self, of: ReplyTo) -> "Waits":
        """Return the same where an entity is waited for no more."""
        name = name_of(of)
        return self._with(name, pages.without(self.known, name)) if self.of(of) else self

    def stopped(self, at: datetime) -> "Waits":
        """Return the same where nobody waits for anything any more."""
        state = self
        for wait in list(pages.values(self.known)):
            state = state.apply(WaitStopped(of=wait.of, at=at))
        return state

    def _with(self, name: str, known: Pages[Wait]) -> "Waits":
        return Waits(known=known, times=pages.timed(self.times, known, name, _look_at))


def name_of(of: ReplyTo) -> str:
    """Name an entity, as no other is named."""
    return f"{of.entity}.{of.tenant}.{of.key}"


def decide(
    state: Waits, command: Ended | WaitAnswered, now: datetime, look: timedelta = LOOK
) -> Decision:
    """Decide on the word of an end, or on the answer to an ask of who waits."""
    wait = state.of(command.of)
    if isinstance(command, Ended):
        over = () if wait is None else (WaitOver(of=command.of, end=command),)
        return Decision(over, Noted(fresh=wait is not None and wait.phase != "stopping"))
    if wait is None or command.ask != _ask_name(wait):
        return Decision()
    end = command.end or _never_heard_of(wait, command, now)
    if wait.phase == "stopping":
        end = end or Ended(of=wait.of, status="CANCELLED", at=now)
    if end is not None:
        return Decision((WaitOver(of=wait.of, end=end),))
    return Decision((WaitPending(of=wait.of, look_at=now + look),))


def begun(
    state: Waits, of: ReplyTo, now: datetime, look: timedelta = LOOK
) -> tuple[WaitPending, ...]:
    """Return what follows where an item has begun what is waited for: nothing if it has ended."""
    wait = state.of(of)
    if wait is None or wait.phase != "beginning":
        return ()
    return (WaitPending(of=of, look_at=now + look),)


def unbegun(state: Waits, of: ReplyTo, problem: Problem, now: datetime) -> tuple[WaitOver, ...]:
    """Return the end of what no item will begin any more."""
    if state.of(of) is None:
        return ()
    return (WaitOver(of=of, end=Ended(of=of, status="FAILED", at=now, problem=problem)),)


def look(state: Waits, now: datetime) -> tuple[WaitLooked, ...]:
    """Return which waits have lasted so long that it is asked what became of them."""
    due = pages.due(state.times, state.known, now, _look_at)
    return tuple([WaitLooked(of=wait.of) for _, wait in due])


def _no_command(wait: Wait) -> Any:
    raise TypeError(f"{wait.of.entity} is not started or ended by an ask")


def asks(
    state: Waits,
    start: Callable[[Wait], Any] = _no_command,
    stop: Callable[[Wait], Any] = _no_command,
) -> Iterator[Ask]:
    """Yield all that is asked of others; ``start`` and ``stop`` return the commands for one."""
    for wait in pages.values(state.known):
        if (ask := ask_of(wait, start, stop)) is not None:
            yield ask


def ask_of(
    wait: Wait, start: Callable[[Wait], Any], stop: Callable[[Wait], Any] = _no_command
) -> Ask | None:
    """Return what is asked of what is waited for; None while it is only waited."""
    name = _ask_name(wait)
    if name is None:
        return None
    match wait.phase:
        case "starting":
            command = start(wait)
        case "stopping":
            command = stop(wait)
        case _:
            command = Inquire()
    return Ask(
        id=name,
        entity=wait.of.entity,
        tenant=wait.of.tenant,
        key=wait.of.key,
        since=wait.since,
        command=command,
    )


def said(ask: Ask, answer: bytes) -> WaitAnswered:
    """Return the command that tells who waits what was answered, as it was encoded."""
    if not answer.startswith((b'{"type":"ended"', b'{"type":"problem"')):
        return notification(ask, None)
    return notification(ask, _told.decode(answer))


def notification(ask: Ask, answer: Ended | Problem | None) -> WaitAnswered:
    """Return the command that tells who waits what was answered; None is anything else."""
    return WaitAnswered(
        ask=ask.id,
        of=ReplyTo(entity=ask.entity, tenant=ask.tenant, key=ask.key),
        end=answer if isinstance(answer, Ended) else None,
        problem=answer if isinstance(answer, Problem) else None,
    )


def _after(
    wait: Wait | None, event: WaitBegun | WaitPending | WaitLooked | WaitStopped, name: str
) -> Wait:
    if isinstance(event, WaitBegun):
        phase = "beginning" if event.by_item else "starting"
        return Wait(of=event.of, since=event.at, phase=phase)
    if isinstance(event, WaitStopped):
        return Wait(of=event.of, since=event.at, phase="stopping")
    if wait is None:
        raise KeyError(name)
    if isinstance(event, WaitPending):
        return msgspec.structs.replace(wait, phase="waiting", look_at=event.look_at)
    return msgspec.structs.replace(wait, phase="looking", look_at=None, looks=wait.looks + 1)


def _look_at(wait: Wait) -> datetime | None:
    return wait.look_at


def _ask_name(wait: Wait) -> str | None:
    match wait.phase:
        case "starting":
            return f"{name_of(wait.of)}.start"
        case "looking":
            return f"{name_of(wait.of)}.look.{wait.looks}"
        case "stopping":
            # What was begun late is asked anew, and not answered as it was before.
            return f"{name_of(wait.of)}.stop.{round(wait.since.timestamp() * 1000)}"
        case "waiting" | "beginning":
            return None


def _never_heard_of(wait: Wait, command: WaitAnswered, now: datetime) -> Ended | None:
    """Return the end of what was refused, or is not there; what is retryable is looked at later."""
    problem = command.problem
    if problem is None or problem.retryable:
        return None
    return Ended(of=wait.of, status="FAILED", at=now, problem=problem)
