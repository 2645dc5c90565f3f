"""The bill of one attempt: what is asked of the account of a tenant for it, and what is told of it.

``schemas.spend`` says how a bill goes from phase to phase.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from schemas.base import Internal, Value
from schemas.decision import Ask, Publish
from schemas.events import BillRefusedEvent
from schemas.executions import ModelCost
from schemas.journal import CommandEnvelope
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    BILL_SUBJECT,
    Charge,
    Party,
    Reference,
    Reserve,
    Settle,
    Void,
)
from schemas.letters import undelivered
from schemas.problems import Problem

GRACE = timedelta(seconds=60)
"""How long after its deadline an entity may still tell what it has spent: its worker has ended by
then, and a shard finds a new owner within seconds."""

ASKS = {"reserving": "reserve", "settling": "settle", "voiding": "void"}
"""The phases in which the account is asked, and for what."""

_WHAT: dict[type, Literal["reserve", "settle", "void"]] = {
    Reserve: "reserve",
    Settle: "settle",
    Void: "void",
}

_problem = msgspec.json.Decoder(Problem)


class BillSlices(Value):
    """How a stream that goes on extends its hold: by ``slice_pico`` at a time.

    ``input_pico`` is what its prompt costs at most, ``output_pico`` a token of its answer.
    ``lent_pico`` of a slice must be the platform's; None is all of it.
    """

    slice_pico: int
    input_pico: int
    output_pico: int
    lent_pico: int | None = None


class Spending(Value, omit_defaults=True):
    """What is reserved for each attempt, as it was reckoned at acceptance.

    ``amount_pico`` and ``tokens`` are upper bounds of one attempt; with ``slices`` the amount is
    that of the prompt and a first slice. One that ``waits`` asks again when it may be granted,
    others fail when they are refused. ``platform`` is set where a budget of the platform holds:
    ``lent_pico`` of the amount must be its money, all of it where that is None. ``chunk_pico`` is
    what may be spent before a provider that says too much is noticed. ``assumed_tokens`` is how
    long an answer was taken to become, where the request does not bound it. ``growth`` is what each
    further step may cost more, where tools bring results.
    """

    amount_pico: int
    tokens: int
    waits: bool = False
    platform: bool = False
    slices: BillSlices | None = None
    lent_pico: int | None = None
    chunk_pico: int = 0
    assumed_tokens: int | None = None
    growth: "Growth | None" = None


class Growth(Value):
    """What a conversation costs more with each ``GROWTH_BYTES`` that it grows by, at most."""

    amount_pico: int
    tokens: int


GROWTH_BYTES = 64 * 1024


class Payer(msgspec.Struct, frozen=True):
    """The entity that pays: its ``id`` names its attempts at the account of its tenant."""

    tenant: str
    id: str
    party: Party
    deadline: datetime


class AccountAnswered(Internal, tag="account_answered"):
    """The account has answered an ask of a bill; ``asked`` tells it from earlier ones."""

    work: str
    attempt: int
    what: Literal["reserve", "settle", "void"]
    asked: int
    problem: Problem | None = None


class Bill(Value, omit_defaults=True):
    """What the account knows, or is to be told, of one attempt.

    ``decided_at`` is the time of its reference. ``asked`` counts the asks of the present phase.
    ``charges`` were spent at ``at``; ``completed`` is set where the entity has completed by them.
    What is ``urgent`` is asked at once: it reserves, or frees money that others may wait for.
    """

    work: str
    attempt: int
    decided_at: datetime
    phase: Literal["reserving", "refused", "held", "settling", "voiding"]
    asked: int = 1
    retry_at: datetime | None = None
    charges: list[Charge] = []
    at: datetime | None = None
    completed: bool = False
    urgent: bool = False

    @property
    def is_unanswered(self) -> bool:
        """Say whether nothing was ever heard of the end of the attempt."""
        is_ending = self.phase in ("settling", "voiding")
        return is_ending and self.asked == 1 and self.retry_at is None

    def answers(self, answer: AccountAnswered) -> bool:
        """Say whether this is asked for still, and not answered."""
        known = (ASKS.get(self.phase), self.asked)
        return self.retry_at is None and known == (answer.what, answer.asked)


def grown(spending: Spending, size: int) -> Spending:
    """Return what is reserved for an attempt once the conversation is longer by ``size`` bytes."""
    growth = spending.growth
    if growth is None or not size:
        return spending
    more = -(-growth.amount_pico * size // GROWTH_BYTES)
    slices = spending.slices
    if slices is not None:
        slices = msgspec.structs.replace(slices, input_pico=slices.input_pico + more)
    lent = spending.lent_pico
    return msgspec.structs.replace(
        spending,
        amount_pico=spending.amount_pico + more,
        tokens=spending.tokens + -(-growth.tokens * size // GROWTH_BYTES),
        slices=slices,
        lent_pico=None if lent is None else lent + more,
    )


# What is asked


def ask_of(bill: Bill, spending: Spending | None, payer: Payer) -> Ask:
    """Return what is asked of the account for a bill; ``spending`` is what an attempt reserves."""
    return Ask(
        id=ask_id(payer, bill),
        entity=ACCOUNT_ENTITY,
        tenant=payer.tenant,
        key=ACCOUNT_KEY,
        since=bill.decided_at,
        command=_command(bill, spending, payer),
        urgent=bill.urgent,
    )


def answered(ask: Ask, answer: bytes) -> AccountAnswered:
    """Return the command that tells an entity what the account has answered to one of its asks."""
    command: Reserve | Settle | Void = ask.command
    return AccountAnswered(
        work=work_of(command.reference.step),
        attempt=command.reference.attempt,
        what=_WHAT[type(command)],
        asked=int(ask.id.rpartition(".")[2]),
        problem=problem_of(answer),
    )


def problem_of(answer: bytes) -> Problem | None:
    """Return the refusal that an encoded answer is, None if it is another answer."""
    return _problem.decode(answer) if answer.startswith(b'{"type":"problem"') else None


_CALLS = 1000
"""More than a step has calls of tools, and than an execution has steps."""


def number_of(work: str) -> int:
    """Return the number by which accounts and streams know a step, or a call of a tool in it."""
    step, _, place = work.partition(".")
    return int(step) * _CALLS + int(place) if place else int(step)


def work_of(number: int) -> str:
    """Return the work that has this number."""
    step, place = divmod(number, _CALLS)
    return f"{step}.{place}" if step else str(place)


def ask_id(payer: Payer, bill: Bill) -> str:
    """Return the id of what is asked for a bill in its present phase."""
    return f"{payer.id}.{bill.work}.{bill.attempt}.{ASKS[bill.phase]}.{bill.asked}"


def _command(bill: Bill, spending: Spending | None, payer: Payer) -> Reserve | Settle | Void:
    reference = Reference(
        execution_id=payer.id,
        step=number_of(bill.work),
        attempt=bill.attempt,
        at=bill.decided_at,
    )
    if bill.phase == "settling":
        return Settle(
            reference=reference,
            party=payer.party,
            charges=bill.charges,
            at=bill.at or bill.decided_at,
            completed=bill.completed,
        )
    if bill.phase == "reserving" and spending is not None:
        return _reserve(reference, spending, payer)
    return Void(reference=reference)


def _reserve(reference: Reference, spending: Spending, payer: Payer) -> Reserve:
    return Reserve(
        reference=reference,
        party=payer.party,
        amount_pico=spending.amount_pico,
        tokens=spending.tokens,
        lease_until=payer.deadline + GRACE,
        platform=spending.platform,
        lent_pico=spending.lent_pico,
        chunk_pico=spending.chunk_pico,
    )


# What is told


def handed_over(bill: Bill, payer: Payer) -> Publish:
    """Store a bill for the first pricing process that there is."""
    envelope = _enveloped(bill, payer)
    subject = BILL_SUBJECT.format(tenant=payer.tenant)
    return Publish(subject=subject, body=envelope, id=f"{envelope.tenant}.{envelope.id}")


def given_up(bill: Bill, problem: Problem, at: datetime, payer: Payer) -> Iterator[Publish]:
    """Tell everybody of a bill that cannot be booked, and lay it aside, to be handed in again."""
    if bill.phase == "settling":
        body = BillRefusedEvent(
            execution_id=payer.id,
            step=number_of(bill.work),
            attempt=bill.attempt,
            error=problem,
            at=at,
            cost_pico=summed(None, bill.charges),
        )
        subject = (body.SUBJECT or "").format(tenant=payer.tenant, execution_id=payer.id)
        yield Publish(subject=subject, body=body)
    envelope, reason = _enveloped(bill, payer), f"{problem.code}: {problem.message}"
    yield undelivered(envelope, ACCOUNT_ENTITY, reason, at, deliveries=bill.asked)


def _enveloped(bill: Bill, payer: Payer) -> CommandEnvelope:
    body = msgspec.Raw(msgspec.json.encode(_command(bill, None, payer)))
    return CommandEnvelope(id=ask_id(payer, bill), tenant=payer.tenant, key=ACCOUNT_KEY, body=body)


# Sums


def summed(cost: int | None, charges: Sequence[Charge]) -> int | None:
    """Add what calls have cost. No calls cost nothing; what has no price is not known to be 0."""
    priced = [charge.cost_pico for charge in charges if charge.cost_pico is not None]
    if charges and not priced:
        return cost
    return (cost or 0) + sum(priced)


def by_model(costs: tuple[ModelCost, ...], charges: Sequence[Charge]) -> tuple[ModelCost, ...]:
    """Add what calls have cost to what each model has."""
    if not charges:
        return costs
    found = {(each.provider, each.model): each for each in costs}
    for charge in charges:
        name = (charge.provider, charge.model)
        known = found.get(name)
        found[name] = ModelCost(
            provider=charge.provider,
            model=charge.model,
            calls=1 + (known.calls if known else 0),
            tokens=charge.usage.total + (known.tokens if known else 0),
            cost=summed(known.cost if known else None, [charge]),
            unpriced=(charge.cost_pico is None) + (known.unpriced if known else 0),
        )
    return tuple(found.values())
