"""Who spends the platform's money: blocks of it are asked for, spent from and given back. Pure.

A block is ``SIZE`` times what the attempt wants that ran short. The platform gives at most an
eighth of what it has left, and never less than is wanted: so blocks shrink as a cap comes near.
The next one is asked for while a quarter is left. What is not used is given back after a pause,
at the end of the platform's window, and when the platform recalls it because it had to refuse
somebody; only then, after ``PATIENCE``, is an attempt refused for want of the platform's money.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from actors.pricing.core.budgets import opening
from actors.pricing.core.escrow import NONE, Block, EscrowRefusal, account_key, is_escrow, is_over
from actors.pricing.core.ledger import Account, Ledger
from actors.pricing.core.postings import touched
from schemas import pages
from schemas.decision import Decision
from schemas.escrow import (
    BlockAnswered,
    BlockAsked,
    BlockClosed,
    BlockGranted,
    BlockRefused,
    BlockReturned,
    Recall,
    RecallAnswered,
    Recalled,
    RecallMet,
    ReturnAnswered,
    ReturnMet,
)
from schemas.ids import PLATFORM
from schemas.ledger import AccountEvent, Booked
from schemas.problems import Problem

SIZE = 32
EARLY = 8
"""The next block is asked for when less than so many times what was wanted is left."""

LONGEST_SPAN = timedelta(hours=1)
IDLE = timedelta(seconds=10)
"""After so long without use all is given back."""

AGAIN = timedelta(seconds=0.3)
"""Between two questions for a block that was refused."""

REMEMBERED = timedelta(seconds=1)
"""For so long a refusal is repeated without asking for another block."""

SOON = 0.1
PAUSE = 1.0
"""Seconds until a retry: when a block is on its way, and when holds alone are in the way."""


class Draw(NamedTuple):
    """Where the platform's money for an attempt comes from, or why there is none yet."""

    accounts: tuple[str, ...] = ()
    problem: Problem | None = None
    events: tuple[AccountEvent, ...] = ()


def draw(state: Ledger, wanted: int, now: datetime, account: str | None = None) -> Draw:
    """Find so much in the span of this moment, or in that of ``account``; or ask for a block."""
    escrow = state.escrow
    span = _present(state, now) if account is None else pages.get(state.accounts, account)
    if span is not None and span.available >= wanted:
        left = span.available - wanted
        early = escrow.asking is None and not escrow.scarce and left < EARLY * wanted
        early = early and (escrow.refused is None or now - escrow.refused.at >= REMEMBERED)
        return Draw((span.key,), None, (_asked(state, span, wanted, now),) if early else ())
    if escrow.asking is not None:
        return Draw(problem=_on_its_way(SOON))
    refused, short = escrow.refused, _short(span, wanted)
    if refused is not None and short >= refused.least_pico:
        if _is_final(refused) and now - refused.at < REMEMBERED:
            return Draw(problem=refused.problem)
        if now - refused.at < AGAIN:
            return Draw(problem=_on_its_way(AGAIN.total_seconds()))
    return Draw(problem=_on_its_way(SOON), events=(_asked(state, span, wanted, now),))


def _is_final(refused: EscrowRefusal) -> bool:
    """Say whether waiting does not help: nothing could be given back, or all has been."""
    after = refused.problem.retry_after
    return after is None or after > PAUSE or is_over(refused)


def _present(state: Ledger, now: datetime) -> Account | None:
    """Return the span that what begins now is paid from."""
    key = state.escrow.account
    span = pages.get(state.accounts, key) if key is not None else None
    return span if span is not None and (span.end is None or now < span.end) else None


def _asked(state: Ledger, span: Account | None, wanted: int, now: datetime) -> BlockAsked:
    number = state.escrow.number + 1
    return BlockAsked(
        number=number,
        account=span.key if span is not None else account_key(number),
        amount_pico=wanted * SIZE,
        least_pico=_short(span, wanted) or wanted,
        since=span.opened_at if span is not None else now,
        at=now,
    )


def _short(span: Account | None, wanted: int) -> int:
    """Return what is lacking: with the rest of its own span a tenant needs no more of others."""
    return max(0, wanted - span.available) if span is not None else wanted


# Answers


def answer(
    state: Ledger,
    command: BlockAnswered | ReturnAnswered | Recall | RecallAnswered,
    now: datetime,
) -> Decision:
    """Take in what another account has answered, or asks for."""
    match command:
        case BlockAnswered():
            return Decision(tuple(_block_answered(state, command, now)))
        case ReturnAnswered(ask=ask, problem=problem):
            is_open = any(each.ask == ask for each in state.escrow.returns)
            return Decision((ReturnMet(ask=ask, problem=problem),) if is_open else ())
        case Recall():
            return Decision(tuple(_recalled(state, now)), Booked())
        case RecallAnswered(tenant=tenant):
            is_open = tenant in state.escrow.recalls
            return Decision((RecallMet(tenant=tenant),) if is_open else ())


def _recalled(state: Ledger, now: datetime) -> Iterator[AccountEvent]:
    for key in sorted({block.account for block in state.escrow.blocks}):
        span = pages.get(state.accounts, key)
        free = span.available if span is not None else 0
        fresh = state.escrow.number + 1
        yield from _unused(state, key, _blocks(state, key), free, fresh, now)


def _block_answered(state: Ledger, command: BlockAnswered, now: datetime) -> Iterator[AccountEvent]:
    asked = state.escrow.asking
    if asked is None or asked.number != command.number:
        return
    if command.problem is not None:
        problem = _of_the_platform(command.problem, asked.least_pico)
        yield BlockRefused(number=asked.number, problem=problem, at=now)
        return
    if pages.get(state.accounts, asked.account) is None:
        ends = asked.since + LONGEST_SPAN
        span = Account(
            key=asked.account,
            budget_id=PLATFORM,
            opened_at=asked.since,
            start=asked.since,
            end=ends if command.until is None else min(ends, command.until),
        )
        yield opening(span)
    yield BlockGranted(
        number=asked.number, account=asked.account, amount_pico=command.held_pico, at=now
    )


# What is given back


def tidied(state: Ledger, events: Iterable[AccountEvent], now: datetime) -> Iterator[AccountEvent]:
    """Yield what is to be told the platform after a command, beside its events."""
    if state.escrow is NONE:
        return
    spans = {block.account for block in state.escrow.blocks}
    spans.update(key for event in events for key in touched(event) if is_escrow(key))
    number = state.escrow.number
    for key in sorted(spans):
        for event in _paid(state, key, number, now):
            number = max(number, getattr(event, "number", 0))
            yield event


def due(state: Ledger) -> datetime | None:
    """Return when something is to be given back."""
    due_times = [_over_at(state, key) for key in {each.account for each in state.escrow.blocks}]
    return min((each for each in due_times if each is not None), default=None)


def _over_at(state: Ledger, key: str) -> datetime | None:
    span = pages.get(state.accounts, key)
    if span is None or span.held:
        return None if span is None or span.available <= 0 else span.end
    if key != state.escrow.account:
        return state.escrow.used_at
    idle = state.escrow.used_at + IDLE
    return idle if span.end is None else min(idle, span.end)


def _paid(state: Ledger, key: str, number: int, now: datetime) -> Iterator[AccountEvent]:
    """Close blocks that are spent; when a span is over, all of them."""
    span = pages.get(state.accounts, key)
    if span is None:
        return
    blocks = _blocks(state, key)
    spent, over = span.spent, key != state.escrow.account or _is_past(span, now)
    while blocks and spent >= blocks[0].amount_pico > 0:
        block = blocks.pop(0)
        spent -= block.amount_pico
        yield _closed(block, block.amount_pico, now)
    idle = over or not blocks or now >= state.escrow.used_at + IDLE
    if idle and span.held == 0:
        yield from _all_closed(key, blocks, spent, number + 1, now)
    elif over:
        yield from _unused(state, key, blocks, span.available, number + 1, now)


def _blocks(state: Ledger, key: str) -> list[Block]:
    return [block for block in state.escrow.blocks if block.account == key]


def _all_closed(
    key: str, blocks: list[Block], spent: int, fresh: int, now: datetime
) -> Iterator[AccountEvent]:
    """Close what is left of a span: its last block bears what is spent, however much that is."""
    for block in blocks[:-1]:
        part = min(max(spent, 0), block.amount_pico)
        spent -= part
        yield _closed(block, part, now)
    if blocks:
        yield _closed(blocks[-1], spent, now)
    elif spent:
        yield BlockClosed(number=fresh, account=key, amount_pico=0, spent_pico=spent, at=now)


def _unused(
    state: Ledger, key: str, blocks: Sequence[Block], free: int, fresh: int, now: datetime
) -> Iterator[AccountEvent]:
    """Give back what nothing is held of: whole blocks, and parts, the newest first.

    What is free beyond all blocks was told to be spent, and a late bill has shown that it was not.
    """
    under_way = {each.number for each in state.escrow.returns}
    for block in reversed(blocks):
        if free <= 0 or block.number in under_way:
            continue
        part = min(free, block.amount_pico)
        free -= part
        if part == block.amount_pico:
            yield _closed(block, 0, now)
        elif part:
            yield BlockReturned(
                number=block.number,
                account=block.account,
                slice=block.slice + 1,
                amount_pico=part,
                at=now,
            )
    if free > 0 and under_way.isdisjoint(block.number for block in blocks):
        yield BlockClosed(number=fresh, account=key, amount_pico=0, spent_pico=-free, at=now)


def _closed(block: Block, spent: int, now: datetime) -> BlockClosed:
    return BlockClosed(
        number=block.number,
        account=block.account,
        amount_pico=block.amount_pico,
        spent_pico=spent,
        at=now,
    )


def _is_past(span: Account, now: datetime) -> bool:
    return span.end is not None and now >= span.end


# The platform's side


def portion(free: int, wanted: int, least: int) -> int:
    """Return how large a block may be where so much is left."""
    return max(least, min(wanted, free // 8))


def recalled(state: Ledger, asker: str, now: datetime) -> tuple[Recalled, ...]:
    """Ask all that have blocks to give back what they do not use, if it is not done yet.

    The one that was refused too: one that keeps asking would else be the only one whose rest is
    not lent on.
    """
    if now - state.escrow.recalled_at < AGAIN:
        return ()
    lent = {hold.reference.execution_id for hold in pages.values(state.holds)}
    asked = sorted(lent - state.escrow.recalls.keys())
    return (Recalled(tenants=asked, at=now),) if lent - {asker} and asked else ()


# Refusals


def _on_its_way(seconds: float) -> Problem:
    return Problem(
        code="unavailable",
        message="money of the platform is on its way to the account of this tenant",
        retryable=True,
        retry_after=seconds,
    )


def _of_the_platform(problem: Problem, wanted: int) -> Problem:
    """Say it to a tenant, who need not know how much others have spent."""
    details: dict[str, Any] = {"scope": "platform", "name": None, "wanted_pico": wanted}
    if problem.code == "budget_exceeded":
        details["window"] = problem.details.get("window")
        message = f"the {details['window']} budget of the platform does not cover this"
    else:
        message = "the platform has refused to pay for this"
    return Problem(
        code="budget_exceeded",
        message=message,
        retryable=problem.retryable,
        retry_after=problem.retry_after,
        details=details,
    )
