"""The money for the attempts of an entity: what is reserved, extended, settled and voided.

Pure, and embedded by every entity whose attempts cost money. Each attempt has one ``Bill``, which
goes through these phases::

              ┌──────asked again──────┐
              ▼                       │
    ──▶ reserving ──refused──▶ refused ──dropped──┐
          │     └───────dropped───────────────────┤
       granted                                    ▼
          └──▶ held ──nothing was spent──▶ voiding ──booked──▶ (gone)
                 └──charges──▶ settling ──booked──▶ (gone)

An attempt for which nothing is held, because no budget applies or because it counts no more, begins
with ``settling``. So each hold is either settled or voided, and never both; where a bill is voided
and its worker tells charges after all, it is settled.

The bills in the phases reserving, settling and voiding are asks to the account of the tenant, sent
again until it has answered; see ``Spend.asks``. A settlement that it refuses is asked again after
growing pauses and then given up: told to everybody and stored as a dead letter. One that nobody
answers at all is handed over to ``BILL_SUBJECT`` some time after the entity has ended.

A worker extends the hold of a long stream itself, by ``Extend`` with the reference of its attempt:
whatever is held then, the settlement or the void ends it. A hold of which nothing is ever told ends
with its lease at the account; the bill stays here in ``held``, so that a late report still settles
it. The platform's share of a hold is ``Spending.lent_pico``.

An entity decides with the functions below. Its own events say when an attempt is started or has
ended: with these it calls ``hold``, ``settle``, ``close`` and ``end``. The events of
this module it applies with ``Spend.apply``.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from schemas.attempts import WorkPlanned, WorkPutOff
from schemas.base import Internal, Value
from schemas.bills import (
    ASKS,
    AccountAnswered,
    Bill,
    Payer,
    Spending,
    ask_id,
    ask_of,
    by_model,
    given_up,
    handed_over,
    summed,
)
from schemas.decision import Ask, Changes, Publish
from schemas.executions import ModelCost
from schemas.ledger import Charge
from schemas.problems import Problem

PAUSES = tuple(timedelta(seconds=pause) for pause in (1, 5, 30, 120, 600, 3600))
"""Between one refusal of a bill and the next ask: an hour and more for a faulty release."""

PATIENCE = timedelta(seconds=120)
"""After its end an entity waits so long for the account to answer; a shard finds a new owner within
seconds, so that there is no pricing process then."""

LEAST_WAIT_SECONDS = 0.1
"""An account that is asked again must have had the time to change its mind."""


class ReserveAsked(WorkPlanned, tag="reserve_asked"):
    """An attempt waits for the account to hold what it may cost.

    ``asked`` counts how often it was asked. ``reason`` is why there is another attempt than the
    first, ``place`` the alternative with which it is to begin.
    """

    asked: int
    reason: str | None = None
    place: int = 0


class ReserveRefused(WorkPutOff, tag="reserve_refused"):
    """The account does not hold the money. It is asked again at ``retry_at``, if that is set.

    ``notice_segment`` is that of the stream in which an execution says that it waits.
    """

    problem: Problem
    notice_segment: int | None = None


class HoldVoided(Internal, tag="hold_voided"):
    """An attempt that counts no more has reported that nothing was spent of its hold."""

    work: str
    attempt: int
    at: datetime


class BillBooked(Internal, tag="bill_booked"):
    """The account has booked the end of an attempt: its settlement, or that it is void.

    ``handed_over`` is set where it has not answered for long: the bill is then stored on
    ``BILL_SUBJECT``, for the first pricing process that there is.
    """

    work: str
    attempt: int
    handed_over: bool = False


class BillRefused(Internal, tag="bill_refused"):
    """The account could not book a bill. It is asked again at ``retry_at``; None gives it up.

    A bill that is given up is told to everybody, and dead-lettered for an operator.
    """

    work: str
    attempt: int
    problem: Problem
    at: datetime
    retry_at: datetime | None = None


class BillRetried(Internal, tag="bill_retried"):
    """The account is asked once more to book what it could not."""

    work: str
    attempt: int


AnswerEvent = BillBooked | BillRefused | BillRetried
SpendEvent = ReserveAsked | ReserveRefused | HoldVoided | AnswerEvent


# State


class Spend(Value, omit_defaults=True):
    """The open bills of an entity, and what its attempts have cost.

    ``spending`` is what is reserved for each further attempt, None where no budget applies.
    ``cost`` sums all charges in pico-dollars, None while nothing with a price is known; ``costs``
    are the same by model.
    """

    spending: Spending | None = None
    bills: tuple[Bill, ...] = ()
    cost: int | None = None
    costs: tuple[ModelCost, ...] = ()

    def of(self, work: str, attempt: int) -> Bill | None:
        """Return the open bill of an attempt."""
        for bill in self.bills:
            if bill.attempt == attempt and bill.work == work:
                return bill
        return None

    @property
    def asking(self) -> list[Bill]:
        """The bills about which something is asked of the account."""
        return [bill for bill in self.bills if bill.phase in ASKS and bill.retry_at is None]

    def asks(self, payer: Payer) -> list[Ask]:
        """Return what is asked of the account: reservations, settlements, voids."""
        return [ask_of(bill, self.spending, payer) for bill in self.asking]

    def asked(self, answer: AccountAnswered) -> Bill | None:
        """Return the bill that an answer is about; None where it is not asked for any more."""
        bill = self.of(answer.work, answer.attempt)
        return bill if bill is not None and bill.answers(answer) else None

    def due(self, ended_at: datetime | None) -> datetime | None:
        """Return when a bill is to be asked again, or handed over by an entity that has ended."""
        soonest: datetime | None = None
        for bill in self.bills:
            moment = bill.retry_at
            if ended_at is not None and bill.is_unanswered:
                moment = ended_at + PATIENCE
            if moment is not None and (soonest is None or moment < soonest):
                soonest = moment
        return soonest

    @property
    def rests(self) -> bool:
        """Say whether no refused bill waits to be asked again."""
        return all(bill.retry_at is None for bill in self.bills)

    def apply(self, event: SpendEvent) -> "Spend":
        """Apply one event of this module. Of a bill that is not open it changes nothing."""
        if isinstance(event, ReserveAsked):
            # The first ask of an attempt finds no bill of it.
            known = self.of(event.work, event.attempt) if event.asked > 1 else None
            bill = Bill(
                work=event.work,
                attempt=event.attempt,
                decided_at=event.at,
                phase="reserving",
                asked=event.asked,
                urgent=True,
            )
            return self._put(known, bill)
        bill = self.of(event.work, event.attempt)
        if bill is None:
            return self
        if isinstance(event, HoldVoided):
            return self.void(event.work, event.attempt)
        return self._put(bill, _after(bill, event))

    def hold(self, work: str, attempt: int) -> "Spend":
        """Note that the account holds the money and the attempt is started."""
        bill = self.of(work, attempt)
        if bill is None or bill.phase != "reserving":
            return self
        return self._put(bill, msgspec.structs.replace(bill, phase="held", asked=1))

    def close(
        self,
        work: str,
        attempt: int,
        charges: Sequence[Charge] | None,
        *,
        at: datetime,
        decided_at: datetime,
    ) -> "Spend":
        """End an attempt: settle its charges, or void its hold if there are none.

        Where ``charges`` is None nothing is known of prices: the hold ends with its lease.
        """
        if charges:
            return self.settle(work, attempt, charges, at=at, decided_at=decided_at)
        return self if charges is None else self.void(work, attempt)

    def settle(
        self,
        work: str,
        attempt: int,
        charges: Sequence[Charge],
        *,
        at: datetime,
        decided_at: datetime,
    ) -> "Spend":
        """Settle the charges of an attempt, once.

        ``decided_at`` is the time of its reference where nothing was held for it.
        """
        known = self.of(work, attempt)
        if known is not None and known.phase == "settling":
            return self
        bill = Bill(
            work=work,
            attempt=attempt,
            decided_at=decided_at if known is None else known.decided_at,
            phase="settling",
            charges=list(charges),
            at=at,
            urgent=self.spending is not None,
        )
        others = [each for each in self.bills if each is not known]
        return msgspec.structs.replace(
            self,
            bills=(*others, bill),
            cost=summed(self.cost, charges),
            costs=by_model(self.costs, charges),
        )

    def void(self, work: str, attempt: int) -> "Spend":
        """Void the hold of an attempt that has spent nothing, if there is one."""
        bill = self.of(work, attempt)
        if bill is None or bill.phase in ("settling", "voiding"):
            return self
        return self._put(bill, _voiding(bill, urgent=self.spending is not None))

    def end(self, completed_by: tuple[str, int] | None = None) -> "Spend":
        """Reserve nothing more, and void what was asked for attempts that never began.

        The bill of the attempt by which the entity has completed says so.
        """
        bills = [_at_end(bill, completed_by) for bill in self.bills]
        return msgspec.structs.replace(self, spending=None, bills=tuple(bills))

    def _put(self, known: Bill | None, bill: Bill | None) -> "Spend":
        """Return the same with a bill in place of the one that is known; None is no bill."""
        if known is None:
            bills = self.bills if bill is None else (*self.bills, bill)
        elif len(self.bills) == 1:
            bills = () if bill is None else (bill,)
        else:
            left = [each for each in self.bills if each is not known]
            bills = tuple(left if bill is None else [*left, bill])
        return msgspec.structs.replace(self, bills=bills)


def _at_end(bill: Bill, completed_by: tuple[str, int] | None) -> Bill:
    if bill.phase in ("reserving", "refused"):
        return _voiding(bill, urgent=False)
    if bill.phase == "settling" and (bill.work, bill.attempt) == completed_by:
        return msgspec.structs.replace(bill, completed=True, urgent=False)
    return bill


def _voiding(bill: Bill, *, urgent: bool) -> Bill:
    return msgspec.structs.replace(bill, phase="voiding", asked=1, urgent=urgent)


def _after(bill: Bill, event: ReserveRefused | AnswerEvent) -> Bill | None:
    match event:
        case BillBooked():
            return None
        case ReserveRefused():
            return msgspec.structs.replace(bill, phase="refused")
        case BillRefused(retry_at=datetime() as retry_at):
            return msgspec.structs.replace(bill, retry_at=retry_at)
        case BillRetried():
            # Asked under another id, so that it is another ask.
            return msgspec.structs.replace(bill, asked=bill.asked + 1, retry_at=None)
        case BillRefused():
            return None


def changes(before: Spend, after: Spend, payer: Payer) -> Changes:
    """Return which asks are opened and closed between two states: those of one entity."""
    was, now = before.asking, after.asking
    if not was or not now:
        opened = [ask_of(bill, after.spending, payer) for bill in now]
        return Changes(opened, [ask_id(payer, bill) for bill in was])
    left = {ask_id(payer, bill) for bill in now}
    known = set(map(id, was))
    opened = [ask_of(bill, after.spending, payer) for bill in now if id(bill) not in known]
    names = [ask_id(payer, bill) for bill in was]
    return Changes(opened, [name for name in names if name not in left])


# Decisions


def refuse_reserve(
    state: Spend, bill: Bill, problem: Problem, now: datetime, deadline: datetime
) -> ReserveRefused:
    """Return what the refusal of a reservation leads to.

    Where the entity waits and has the time it asks again. One that is neither granted nor refused
    (``unavailable``) is waited for by all.
    """
    retry_at = None
    waits = problem.code == "unavailable" or (state.spending is not None and state.spending.waits)
    if waits and problem.retry_after is not None:
        retry_at = now + timedelta(seconds=max(problem.retry_after, LEAST_WAIT_SECONDS))
    return ReserveRefused(
        work=bill.work,
        attempt=bill.attempt,
        problem=problem,
        at=now,
        retry_at=retry_at if retry_at is not None and retry_at < deadline else None,
    )


def book(bill: Bill, problem: Problem | None, now: datetime) -> BillBooked | BillRefused:
    """Return what the account's answer to a settlement or a void leads to."""
    if problem is None:
        return BillBooked(work=bill.work, attempt=bill.attempt)
    retry_at = None
    if problem.code != "conflict" and bill.asked <= len(PAUSES):
        pause = timedelta(seconds=problem.retry_after or 0)
        retry_at = now + max(PAUSES[bill.asked - 1], pause)
    return BillRefused(
        work=bill.work, attempt=bill.attempt, problem=problem, at=now, retry_at=retry_at
    )


def tick(
    state: Spend, ended_at: datetime | None, now: datetime
) -> Iterator[BillRetried | BillBooked]:
    """Yield what the time has come for: refused bills are asked again, others handed over."""
    for bill in state.bills:
        if bill.retry_at is not None and bill.retry_at <= now:
            yield BillRetried(work=bill.work, attempt=bill.attempt)
        elif ended_at is not None and now >= ended_at + PATIENCE and bill.is_unanswered:
            yield BillBooked(work=bill.work, attempt=bill.attempt, handed_over=True)


# What is told


def announce(before: Spend, event: BillBooked | BillRefused, payer: Payer) -> Iterator[Publish]:
    """Yield what an event has to publish: a bill that is handed over or given up."""
    bill = before.of(event.work, event.attempt)
    if bill is None:
        return
    if isinstance(event, BillBooked):
        if event.handed_over:
            yield handed_over(bill, payer)
    elif event.retry_at is None:
        yield from given_up(bill, event.problem, event.at, payer)
