"""A small entity for the simulation: accounts that send each other money, on time and once.

A transfer waits for its timer. Then it becomes a work item, or one account asks the other
directly; either way it reaches the other as a command whose id is that of the effect, and the
receiver knows it by this id alone.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from bus.shard import Entity
from schemas.base import Internal, Message
from schemas.decision import Ask, Decision, Effect, Publish, Work, refuse
from schemas.lifecycle import Granted, Settled, Superseded
from schemas.problems import Problem

ENTITY = "purse"
QUEUE = "deliver"


class Transfer(Internal):
    """Money on its way. ``since`` is when the present attempt to deliver it was decided.

    ``direct`` is without a worker between the accounts.
    """

    to: str
    amount: int
    due: datetime
    phase: Literal["waiting", "sending", "delivered", "called_off"] = "waiting"
    attempt: int = 0
    claimed: bool = False
    since: datetime | None = None
    direct: bool = False


class Account(Internal):
    """The state of an account."""

    tenant: str
    key: str
    balance: int = 0
    revision: int = 0
    transfers: dict[str, Transfer] = {}


# Commands


class Order(Internal, tag="order"):
    """Send money after some seconds."""

    account: str
    tenant: str
    transfer: str
    to: str
    amount: int
    wait_seconds: float
    direct: bool = False


class CallOff(Internal, tag="call_off"):
    """Keep the money, if it has not left."""

    transfer: str


class Receive(Internal, tag="receive"):
    """Take money from another account. The command's id tells repeats apart, nothing else does."""

    account: str
    tenant: str
    amount: int


class Claim(Internal, tag="claim"):
    """May a worker deliver it?"""

    transfer: str
    attempt: int
    lost: bool


class Confirm(Internal, tag="confirm"):
    """It is delivered; or, with ``failed``, it could not be."""

    transfer: str
    attempt: int
    failed: bool = False


class Answered(Internal, tag="answered"):
    """The other account has answered, on being asked to take the money."""

    transfer: str


class Again(Internal, tag="again"):
    """The bus lost the work item."""

    transfer: str
    attempt: int


class Ring(Internal, tag="ring"):
    """A timer is due."""


class Break(Internal, tag="break"):
    """A command on which the core raises."""


AccountCommand = Order | CallOff | Receive | Claim | Confirm | Answered | Again | Ring | Break


# Events


class Ordered(Internal, tag="ordered"):
    """Money is set aside until ``due``."""

    account: str
    tenant: str
    transfer: str
    to: str
    amount: int
    due: datetime
    direct: bool = False


class Sending(Internal, tag="sending"):
    """An attempt to deliver begins; the first when the timer is due."""

    transfer: str
    attempt: int
    at: datetime


class Claimed(Internal, tag="claimed"):
    """A worker may begin."""

    transfer: str
    attempt: int


class Received(Internal, tag="received"):
    """Money has come."""

    account: str
    tenant: str
    amount: int


class Delivered(Internal, tag="delivered"):
    """The end of a transfer, in success."""

    transfer: str
    attempt: int


class CalledOff(Internal, tag="called_off"):
    """The end of a transfer that never left."""

    transfer: str


AccountEvent = Ordered | Sending | Claimed | Received | Delivered | CalledOff


class DeliverWork(Internal, tag="deliver"):
    """The work item: give the other account its money."""

    tenant: str
    account: str
    transfer: str
    to: str
    amount: int
    attempt: int


class AccountChanged(Message):
    """What everybody may know."""

    account: str
    what: str
    revision: int


# The pure functions


def decide(state: Account | None, command: AccountCommand, now: datetime) -> Decision:
    """See ``Entity.decide``."""
    match command:
        case Order():
            return _order(state, command, now)
        case Receive():
            event = Received(account=command.account, tenant=command.tenant, amount=command.amount)
            return Decision((event,), Settled(accepted=True))
        case Break():
            raise ArithmeticError("this command is broken")
        case _ if state is None:
            return refuse(Problem(code="not_found", message="no such account"))
        case Ring():
            return Decision(tuple(_due(state, now)))
        case CallOff():
            return _call_off(state, command)
        case Claim():
            return _claim(state, command, now)
        case Confirm(failed=False):
            return _confirm(state, command)
        case Answered():
            return _answered(state, command)
        case Again() | Confirm():
            return _again(state, command, now)


def _order(state: Account | None, command: Order, now: datetime) -> Decision:
    if state is not None and command.transfer in state.transfers:
        return Decision(reply=Settled(accepted=False))
    ordered = Ordered(
        account=command.account,
        tenant=command.tenant,
        transfer=command.transfer,
        to=command.to,
        amount=command.amount,
        due=now + timedelta(seconds=command.wait_seconds),
        direct=command.direct,
    )
    return Decision((ordered,), Settled(accepted=True))


def _due(state: Account, now: datetime) -> Iterator[Sending]:
    for name, transfer in state.transfers.items():
        if transfer.phase == "waiting" and transfer.due <= now:
            yield Sending(transfer=name, attempt=1, at=now)


def _call_off(state: Account, command: CallOff) -> Decision:
    transfer = state.transfers.get(command.transfer)
    if transfer is None or transfer.phase != "waiting":
        return Decision(reply=Settled(accepted=False))
    return Decision((CalledOff(transfer=command.transfer),), Settled(accepted=True))


def _claim(state: Account, command: Claim, now: datetime) -> Decision:
    transfer = state.transfers[command.transfer]
    if not is_current(transfer, command.attempt):
        return Decision(reply=Superseded(reason=transfer.phase))
    if command.lost:
        again = Sending(transfer=command.transfer, attempt=transfer.attempt + 1, at=now)
        return Decision((again,), Superseded(reason="replaced by a new attempt"))
    if transfer.claimed:
        return Decision(reply=Superseded(reason="another worker has begun it"))
    return Decision((Claimed(transfer=command.transfer, attempt=command.attempt),), Granted())


def _confirm(state: Account, command: Confirm) -> Decision:
    if not is_current(state.transfers[command.transfer], command.attempt):
        return Decision(reply=Settled(accepted=False))
    delivered = Delivered(transfer=command.transfer, attempt=command.attempt)
    return Decision((delivered,), Settled(accepted=True))


def _answered(state: Account, command: Answered) -> Decision:
    if not is_current(state.transfers[command.transfer], 1):
        return Decision()
    return Decision((Delivered(transfer=command.transfer, attempt=1),))


def _again(state: Account, command: Again | Confirm, now: datetime) -> Decision:
    transfer = state.transfers[command.transfer]
    if not is_current(transfer, command.attempt):
        return Decision(reply=Settled(accepted=False))
    again = Sending(transfer=command.transfer, attempt=transfer.attempt + 1, at=now)
    return Decision((again,), Settled(accepted=True))


def is_current(transfer: Transfer, attempt: int) -> bool:
    """Say whether an attempt is the one that counts."""
    return transfer.phase == "sending" and transfer.attempt == attempt


def evolve(state: Account | None, event: AccountEvent) -> Account:
    """See ``Entity.evolve``."""
    if isinstance(event, Ordered | Received):
        known = state or Account(tenant=event.tenant, key=event.account)
    elif state is None:
        message = f"{type(event).__name__} before the account"
        raise ValueError(message)
    else:
        known = state
    return msgspec.structs.replace(_applied(known, event), revision=known.revision + 1)


def _applied(state: Account, event: AccountEvent) -> Account:
    match event:
        case Ordered():
            fresh = Transfer(to=event.to, amount=event.amount, due=event.due, direct=event.direct)
            return _with(state, event.transfer, fresh, -event.amount)
        case Received():
            return msgspec.structs.replace(state, balance=state.balance + event.amount)
        case Sending():
            changed = _changed(state, event.transfer, "sending")
            changed = msgspec.structs.replace(
                changed, attempt=event.attempt, since=event.at, claimed=False
            )
            return _with(state, event.transfer, changed)
        case Claimed():
            claimed = msgspec.structs.replace(state.transfers[event.transfer], claimed=True)
            return _with(state, event.transfer, claimed)
        case Delivered():
            return _with(state, event.transfer, _changed(state, event.transfer, "delivered"))
        case CalledOff():
            changed = _changed(state, event.transfer, "called_off")
            return _with(state, event.transfer, changed, changed.amount)


def _changed(
    state: Account, name: str, phase: Literal["sending", "delivered", "called_off"]
) -> Transfer:
    return msgspec.structs.replace(state.transfers[name], phase=phase)


def _with(state: Account, name: str, transfer: Transfer, amount: int = 0) -> Account:
    transfers = {**state.transfers, name: transfer}
    return msgspec.structs.replace(state, balance=state.balance + amount, transfers=transfers)


def effect_id(account: str, transfer: str) -> str:
    """Name the effect for its receiver: the same for every attempt."""
    return f"receive.{account}.{transfer}"


def work_id(item: DeliverWork) -> str:
    """Name the work item of one attempt."""
    return f"{item.tenant}.{item.account}.{item.transfer}.{item.attempt}"


def _effects(state: Account) -> list[Effect]:
    return [
        _ask(state, name, transfer) if transfer.direct else _work(state, name, transfer)
        for name, transfer in state.transfers.items()
        if transfer.phase == "sending"
    ]


def _work(state: Account, name: str, transfer: Transfer) -> Work:
    item = DeliverWork(
        tenant=state.tenant,
        account=state.key,
        transfer=name,
        to=transfer.to,
        amount=transfer.amount,
        attempt=transfer.attempt,
    )
    since = transfer.since or transfer.due
    return Work(id=work_id(item), queue=QUEUE, tenant=state.tenant, since=since, item=item)


def _ask(state: Account, name: str, transfer: Transfer) -> Ask:
    return Ask(
        id=effect_id(state.key, name),
        entity=ENTITY,
        tenant=state.tenant,
        key=transfer.to,
        since=transfer.since or transfer.due,
        command=Receive(account=transfer.to, tenant=state.tenant, amount=transfer.amount),
        urgent=transfer.amount % 2 == 0,
    )


def _tell(ask: Ask, answer: bytes) -> Answered:
    """Tell the account that asked; there is only one answer."""
    del answer
    return Answered(transfer=ask.id.rpartition(".")[2])


def _due_at(state: Account) -> datetime | None:
    waiting = [each.due for each in state.transfers.values() if each.phase == "waiting"]
    return min(waiting, default=None)


def _announce(before: Account | None, event: AccountEvent, after: Account) -> Iterator[Publish]:
    del before
    if isinstance(event, Ordered | Received | Delivered):
        what = type(event).__name__.lower()
        body = AccountChanged(account=after.key, what=what, revision=after.revision)
        subject = f"cb.{after.tenant}.events.account.{what}.{after.key}"
        yield Publish(subject=subject, body=body)


def _record_subject(tenant: str, key: str) -> str:
    return f"cb.{tenant}.record.{key}"


def account_entity() -> Entity[Account, AccountCommand, AccountEvent]:
    """Return the account as the shard runtime sees it. It never ends."""
    return Entity(
        name=ENTITY,
        version=1,
        state_type=Account,
        command_type=AccountCommand,
        event_type=AccountEvent,
        decide=decide,
        evolve=evolve,
        effects=_effects,
        announce=_announce,
        due=_due_at,
        ended=lambda _: False,
        record=lambda state: Publish(subject=_record_subject(state.tenant, state.key), body=state),
        redispatch=lambda work: Again(transfer=work.item.transfer, attempt=work.item.attempt),
        lost=lambda work: Claim(transfer=work.item.transfer, attempt=work.item.attempt, lost=True),
        answered=_tell,
        tick=Ring(),
    )
