"""What an execution owes the account of its tenant, and what it has cost so far."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import add

import msgspec

from schemas.base import Internal
from schemas.executions import ModelCost
from schemas.ledger import Charge, Party, Reference, Settle, Void
from schemas.lifecycle import DueAskedAgain, DueMet, DueRefused, Origin
from schemas.llm import Answer
from schemas.policy import Detour
from schemas.problems import Problem
from schemas.usage import Usage

PAUSES = tuple(timedelta(seconds=pause) for pause in (1, 5, 30, 120, 600, 3600))
"""Between one refusal of a bill and the next question: an hour and more for a faulty release."""


PATIENCE = timedelta(seconds=120)
"""After its end an execution waits so long for the account to answer; a shard finds a new owner
within seconds, so that there is no pricing process then."""


class Hold(Internal):
    """Money that is held for an attempt of which nobody has said yet what it has cost."""

    step: str
    attempt: int
    decided_at: datetime


class Due(Internal):
    """A bill to be booked or a hold to be let go, until the account has answered to it.

    ``refused`` counts its refusals; after one it waits until ``retry_at``. What is ``urgent`` is
    told at once, because another attempt may wait for the money that this leaves.
    """

    ask: str
    command: Settle | Void
    refused: int = 0
    retry_at: datetime | None = None
    urgent: bool = False


def number_of(step: str) -> int:
    """Return the number of a step, by which accounts and streams know it."""
    return int(step)


def party(origin: Origin) -> Party:
    """Return on whose behalf an execution spends."""
    return Party(
        user=origin.user,
        project=origin.project,
        agent_id=origin.agent_id,
        session=origin.session,
    )


def bill(origin: Origin, hold: Hold, charges: Sequence[Charge], at: datetime) -> Due:
    """Return what is to be booked for an attempt that has ended."""
    command = Settle(
        reference=_reference(origin, hold), party=party(origin), charges=list(charges), at=at
    )
    return Due(ask=f"{_name(origin, hold)}.settle", command=command)


def release(origin: Origin, hold: Hold) -> Due:
    """Return what is to be told where an attempt has spent nothing."""
    return Due(ask=f"{_name(origin, hold)}.void", command=Void(reference=_reference(origin, hold)))


def next_try(due: Due, problem: Problem, now: datetime) -> datetime | None:
    """Return when the account is to be asked again; None where it will never say otherwise."""
    if problem.code == "conflict" or due.refused >= len(PAUSES):
        return None
    return now + max(PAUSES[due.refused], timedelta(seconds=problem.retry_after or 0))


def waits_until(dues: tuple[Due, ...], ended_at: datetime | None) -> datetime | None:
    """Return when bills are handed over to which the account has said nothing."""
    if ended_at is None or not any(is_unanswered(due) for due in dues):
        return None
    return ended_at + PATIENCE


def is_unanswered(due: Due) -> bool:
    """Say whether nothing was ever heard of a bill."""
    return not due.refused


def after(dues: tuple[Due, ...], event: DueMet | DueRefused | DueAskedAgain) -> tuple[Due, ...]:
    """Return what is due after the account has answered, or is asked once more."""
    return tuple(left for due in dues if (left := _after(due, event)) is not None)


def _after(due: Due, event: DueMet | DueRefused | DueAskedAgain) -> Due | None:
    if due.ask != event.ask:
        return due
    match event:
        case DueRefused(retry_at=datetime() as retry_at):
            return msgspec.structs.replace(due, refused=due.refused + 1, retry_at=retry_at)
        case DueAskedAgain():
            # Another name, so that it is another question.
            name = f"{due.ask.partition('#')[0]}#{due.refused}"
            return msgspec.structs.replace(due, ask=name, retry_at=None)
        case _:
            return None


def summed(cost: int | None, charges: Sequence[Charge] | None) -> int | None:
    """Add what calls have cost. No calls cost nothing; what has no price is not known to be 0."""
    if charges is None:
        return cost
    priced = [charge.cost_pico for charge in charges if charge.cost_pico is not None]
    if charges and not priced:
        return cost
    return (cost or 0) + sum(priced)


def by_model(
    costs: tuple[ModelCost, ...], charges: Sequence[Charge] | None
) -> tuple[ModelCost, ...]:
    """Add what calls have cost to what each model has."""
    found = {(each.provider, each.model): each for each in costs}
    for charge in charges or ():
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


def spent_by(answer: Answer, detours: Iterable[Detour]) -> Usage:
    """Return what an attempt has used: its answer, and the calls that failed before it."""
    return reduce(add, (each.usage for each in detours if each.usage), answer.usage)


def both(one: Usage | None, other: Usage | None) -> Usage | None:
    """Add what was used, as far as it is known."""
    return one + other if one is not None and other is not None else one or other


def _reference(origin: Origin, hold: Hold) -> Reference:
    return Reference(
        execution_id=origin.execution_id,
        step=number_of(hold.step),
        attempt=hold.attempt,
        at=hold.decided_at,
    )


def _name(origin: Origin, hold: Hold) -> str:
    return f"{origin.execution_id}.{hold.step}.{hold.attempt}"
