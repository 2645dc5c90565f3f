"""What an account knows of blocks of the platform's money, and how events change it. Pure.

What a span of blocks pays for is an account like that of a budget: granted blocks fund it, and
whatever an attempt holds and spends moves in it as in all its other accounts. A new span begins
where a window of the platform ends.
"""

from datetime import UTC, datetime, timedelta
from typing import assert_never

import msgspec

from schemas.base import Internal
from schemas.decision import Ask
from schemas.escrow import (
    BlockAnswered,
    BlockAsked,
    BlockClosed,
    BlockGranted,
    BlockRefused,
    BlockReturned,
    EscrowEvent,
    Recall,
    RecallAnswered,
    Recalled,
    RecallMet,
    ReturnAnswered,
    ReturnMet,
)
from schemas.ids import PLATFORM
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    Charge,
    Extend,
    MoneyHeld,
    Party,
    Reference,
    Reserve,
    Settle,
    Void,
)
from schemas.problems import Problem
from schemas.usage import Usage

LEASE = timedelta(days=1)
"""How long the platform holds a block of which it hears nothing; then it counts as spent."""

PATIENCE = timedelta(seconds=2)
"""For so long others have the time to give back what they do not use; then a refusal counts."""

BLOCK = "block"
"""As a provider: what was spent of a block has been priced call by call where it was spent."""

_START = datetime(1970, 1, 1, tzinfo=UTC)
_SPANS = f"{PLATFORM}/"
_answer = msgspec.json.Decoder(MoneyHeld | Problem)
_problem = msgspec.json.Decoder(Problem)


class Block(Internal):
    """Money of the platform that this tenant holds; ``slice`` counts the parts given back."""

    number: int
    account: str
    amount_pico: int
    since: datetime
    slice: int = 0


class Return(Internal):
    """What the platform is to be told, until it has answered."""

    ask: str
    number: int
    since: datetime
    command: Extend | Settle | Void


class EscrowRefusal(Internal):
    """The platform had no block of ``least_pico`` to give, from ``since`` until ``at``."""

    problem: Problem
    least_pico: int
    since: datetime
    at: datetime


def is_over(refused: EscrowRefusal) -> bool:
    """Say whether all had the time to give back what they did not use."""
    return refused.at - refused.since >= PATIENCE


class Escrow(Internal):
    """The blocks of a tenant. ``account`` is that of the newest span, ``number`` the last block.

    ``scarce`` is set where less was granted than wanted. ``used_at`` is when the span was last
    used. The platform's own account has ``recalls``: tenants that are asked to give back, each by
    the number of its recall.
    """

    number: int = 0
    account: str | None = None
    blocks: tuple[Block, ...] = ()
    asking: BlockAsked | None = None
    refused: EscrowRefusal | None = None
    returns: tuple[Return, ...] = ()
    scarce: bool = False
    used_at: datetime = _START
    recalls: dict[str, int] = {}
    recalled_at: datetime = _START


NONE = Escrow()


def account_key(number: int) -> str:
    """Name the account of the span that begins with a block; no budget has an id like it."""
    return f"{PLATFORM}/{number}"


def is_escrow(account: str) -> bool:
    """Say whether an account is that of a span of blocks."""
    return account.startswith(_SPANS)


def used(escrow: Escrow, at: datetime) -> Escrow:
    """Return what is known once the span was used."""
    return msgspec.structs.replace(escrow, used_at=max(escrow.used_at, at))


def changed(escrow: Escrow, tenant: str, event: EscrowEvent) -> Escrow:
    """Return what is known after an event."""
    match event:
        case BlockAsked(number=number):
            return msgspec.structs.replace(escrow, asking=event, number=number)
        case BlockGranted():
            return _granted(escrow, event)
        case BlockRefused():
            return _refused(escrow, tenant, event)
        case BlockReturned():
            return _returned(escrow, tenant, event)
        case BlockClosed():
            return _closed(escrow, tenant, event)
        case ReturnMet(ask=ask):
            left = tuple(each for each in escrow.returns if each.ask != ask)
            return msgspec.structs.replace(escrow, returns=left)
        case Recalled(tenants=tenants, at=at):
            number = escrow.number + 1
            recalls = {**escrow.recalls, **dict.fromkeys(tenants, number)}
            return msgspec.structs.replace(escrow, number=number, recalls=recalls, recalled_at=at)
        case RecallMet(tenant=asked):
            recalls = {name: n for name, n in escrow.recalls.items() if name != asked}
            return msgspec.structs.replace(escrow, recalls=recalls)
        case _:
            assert_never(event)


def _granted(escrow: Escrow, event: BlockGranted) -> Escrow:
    asked = escrow.asking
    if asked is None:
        message = f"block {event.number} was never asked for"
        raise ValueError(message)
    block = Block(
        number=event.number,
        account=event.account,
        amount_pico=event.amount_pico,
        since=asked.since,
    )
    begins = event.account == account_key(event.number)
    return msgspec.structs.replace(
        escrow,
        account=event.account if begins else escrow.account,
        blocks=(*escrow.blocks, block),
        asking=None,
        refused=None,
        scarce=event.amount_pico < asked.amount_pico,
        used_at=max(escrow.used_at, event.at),
    )


def _refused(escrow: Escrow, tenant: str, event: BlockRefused) -> Escrow:
    asked = escrow.asking
    if asked is None:
        message = f"block {event.number} was never asked for"
        raise ValueError(message)
    refusal = _refusal(escrow.refused, event, asked.least_pico)
    void = Void(reference=reference(tenant, event.number, asked.since))
    given_up = _return(tenant, event.number, "void", event.at, void)
    return msgspec.structs.replace(
        escrow, asking=None, refused=refusal, returns=(*escrow.returns, given_up)
    )


def _refusal(known: EscrowRefusal | None, event: BlockRefused, least: int) -> EscrowRefusal:
    """Return what a refusal comes to beside an earlier one: that of more says nothing of less."""
    fresh = EscrowRefusal(problem=event.problem, least_pico=least, since=event.at, at=event.at)
    if known is None or is_over(known) or event.at - known.at > PATIENCE:
        return fresh
    if least > known.least_pico:
        return known
    return fresh if least < known.least_pico else msgspec.structs.replace(fresh, since=known.since)


def _returned(escrow: Escrow, tenant: str, event: BlockReturned) -> Escrow:
    block = next(each for each in escrow.blocks if each.number == event.number)
    smaller = msgspec.structs.replace(
        block, amount_pico=block.amount_pico - event.amount_pico, slice=event.slice
    )
    extend = Extend(
        reference=reference(tenant, event.number, block.since),
        slice=event.slice,
        amount_pico=-event.amount_pico,
    )
    given = _return(tenant, event.number, f"slice.{event.slice}", event.at, extend)
    blocks = tuple(smaller if each is block else each for each in escrow.blocks)
    return msgspec.structs.replace(escrow, blocks=blocks, returns=(*escrow.returns, given))


def _closed(escrow: Escrow, tenant: str, event: BlockClosed) -> Escrow:
    since = next((each.since for each in escrow.blocks if each.number == event.number), event.at)
    where = reference(tenant, event.number, since)
    command: Settle | Void = Void(reference=where)
    if event.spent_pico:
        charge = Charge(provider=BLOCK, model=BLOCK, usage=Usage(), cost_pico=event.spent_pico)
        command = Settle(reference=where, party=_party(tenant), charges=[charge], at=since)
    closed = _return(tenant, event.number, "close", event.at, command)
    return msgspec.structs.replace(
        escrow,
        number=max(escrow.number, event.number),
        blocks=tuple(each for each in escrow.blocks if each.number != event.number),
        returns=(*escrow.returns, closed),
    )


def reference(tenant: str, number: int, since: datetime) -> Reference:
    """Return by what the platform's account knows a block."""
    return Reference(execution_id=tenant, step=number, attempt=1, at=since)


def _party(tenant: str) -> Party:
    """Return who spends, to the platform: its projects are tenants."""
    return Party(project=tenant)


def _return(
    tenant: str, number: int, what: str, at: datetime, command: Extend | Settle | Void
) -> Return:
    return Return(ask=f"{tenant}.{number}.{what}", number=number, since=at, command=command)


# What is asked of other accounts


def asks(escrow: Escrow, tenant: str) -> tuple[Ask, ...]:
    """Return what is open: a block, what is given back, recalls."""
    if escrow is NONE:
        return ()
    found = [_ask(each.ask, PLATFORM, each.since, each.command) for each in escrow.returns]
    if escrow.asking is not None:
        found.append(_ask_for_block(escrow.asking, tenant))
    found += [
        _ask(f"recall.{number}.{each}", each, escrow.recalled_at, Recall())
        for each, number in escrow.recalls.items()
    ]
    return tuple(found)


def _ask_for_block(asked: BlockAsked, tenant: str) -> Ask:
    reserve = Reserve(
        reference=reference(tenant, asked.number, asked.since),
        party=_party(tenant),
        amount_pico=asked.amount_pico,
        least_pico=asked.least_pico,
        tokens=0,
        lease_until=asked.at + LEASE,
    )
    return _ask(f"{tenant}.{asked.number}.reserve", PLATFORM, asked.at, reserve)


def _ask(
    name: str, tenant: str, since: datetime, command: Reserve | Extend | Settle | Void | Recall
) -> Ask:
    return Ask(
        id=name,
        entity=ACCOUNT_ENTITY,
        tenant=tenant,
        key=ACCOUNT_KEY,
        since=since,
        command=command,
    )


def answered(ask: Ask, answer: bytes) -> BlockAnswered | ReturnAnswered | RecallAnswered:
    """Return the command that tells an account what another has answered."""
    if isinstance(ask.command, Recall):
        return RecallAnswered(tenant=ask.tenant)
    if not isinstance(ask.command, Reserve):
        refused = answer.startswith(b'{"type":"problem"')
        return ReturnAnswered(ask=ask.id, problem=_problem.decode(answer) if refused else None)
    number, found = ask.command.reference.step, _answer.decode(answer)
    if isinstance(found, Problem):
        return BlockAnswered(number=number, problem=found)
    return BlockAnswered(number=number, held_pico=found.held_pico, until=found.until)
