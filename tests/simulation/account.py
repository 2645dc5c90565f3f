"""A small entity for the simulation: accounts that send each other money, on time and once.

A transfer waits for its timer. Then it becomes a work item, or one account asks the other
directly; either way it reaches the other as a command whose id is that of the effect, and the
receiver knows it by this id alone.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from schemas import attempts
from schemas.attempts import (
    Attempts,
    Rules,
    WorkClaimed,
    WorkDone,
    WorkFailed,
    WorkStarted,
    again,
)
from schemas.base import Internal, Message
from schemas.decision import Ask, Decision, Effect, Publish, refuse
from schemas.entity import Entity
from schemas.problems import Problem
from schemas.work import (
    Claim,
    Done,
    Lost,
    ReplyTo,
    Settled,
    Stopped,
    WorkFailure,
    WorkItem,
    item_id,
)

ENTITY = "purse"
QUEUE = "deliver"
RULES = Rules(most=1_000_000)
"""Money is brought for as long as it takes."""


class Transfer(Internal):
    """Money on its way. ``since`` is when it was sent. ``direct`` is without a worker between."""

    to: str
    amount: int
    due: datetime
    phase: Literal["waiting", "sending", "delivered", "called_off"] = "waiting"
    since: datetime | None = None
    direct: bool = False


class Account(Internal):
    """The state of an account."""

    tenant: str
    key: str
    balance: int = 0
    revision: int = 0
    transfers: dict[str, Transfer] = {}
    attempts: Attempts = Attempts()


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


class Answered(Internal, tag="answered"):
    """The other account has answered, on being asked to take the money."""

    transfer: str


class Ring(Internal, tag="ring"):
    """A timer is due."""


class Break(Internal, tag="break"):
    """A command on which the core raises."""


AccountCommand = (
    Order
    | CallOff
    | Receive
    | Claim
    | Lost
    | Done
    | WorkFailure
    | Stopped
    | Answered
    | Ring
    | Break
)


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
    """The timer of a transfer is due."""

    transfer: str
    at: datetime


class Received(Internal, tag="received"):
    """Money has come."""

    account: str
    tenant: str
    amount: int


class Delivered(Internal, tag="delivered"):
    """The end of a transfer, in success."""

    transfer: str


class CalledOff(Internal, tag="called_off"):
    """The end of a transfer that never left."""

    transfer: str


AttemptEvent = WorkStarted | WorkClaimed | WorkFailed | WorkDone
AccountEvent = Ordered | Sending | Received | Delivered | CalledOff | AttemptEvent


class DeliverWork(Internal, tag="deliver"):
    """The body of a work item: give the other account its money."""

    account: str
    transfer: str
    to: str
    amount: int


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
            return Decision((*_due(state, now), *again(state.attempts, now)))
        case CallOff():
            return _call_off(state, command)
        case Answered():
            return _answered(state, command)
        case Claim() | Lost() | Done() | WorkFailure() | Stopped():
            return _on_work(state, command, now)


def _on_work(
    state: Account, command: Claim | Lost | Done | WorkFailure | Stopped, now: datetime
) -> Decision:
    decided = attempts.decide(state.attempts, command, now, RULES)
    if not any(isinstance(event, WorkDone) for event in decided.events):
        return decided
    return Decision((*decided.events, Delivered(transfer=command.work)), decided.reply)


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


def _due(state: Account, now: datetime) -> Iterator[Sending | WorkStarted]:
    for name, transfer in state.transfers.items():
        if transfer.phase == "waiting" and transfer.due <= now:
            yield Sending(transfer=name, at=now)
            if not transfer.direct:
                yield WorkStarted(work=name, attempt=1, at=now)


def _call_off(state: Account, command: CallOff) -> Decision:
    transfer = state.transfers.get(command.transfer)
    if transfer is None or transfer.phase != "waiting":
        return Decision(reply=Settled(accepted=False))
    return Decision((CalledOff(transfer=command.transfer),), Settled(accepted=True))


def _answered(state: Account, command: Answered) -> Decision:
    if state.transfers[command.transfer].phase != "sending":
        return Decision()
    return Decision((Delivered(transfer=command.transfer),))


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
            return _with(state, event.transfer, msgspec.structs.replace(changed, since=event.at))
        case WorkStarted() | WorkClaimed() | WorkFailed() | WorkDone():
            return msgspec.structs.replace(state, attempts=state.attempts.apply(event))
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


def _effects(state: Account) -> list[Effect]:
    asks = [
        _ask(state, name, transfer)
        for name, transfer in state.transfers.items()
        if transfer.direct and transfer.phase == "sending"
    ]
    work = [_item(state, name, each) for name, each in state.attempts.open()]
    return [*asks, *work]


def _item(state: Account, name: str, attempt: attempts.Attempt) -> WorkItem[DeliverWork]:
    reply_to = ReplyTo(entity=ENTITY, tenant=state.tenant, key=state.key)
    transfer = state.transfers[name]
    body = DeliverWork(account=state.key, transfer=name, to=transfer.to, amount=transfer.amount)
    return WorkItem(
        id=item_id(reply_to, name, attempt.attempt),
        work=name,
        attempt=attempt.attempt,
        queue=QUEUE,
        tenant=state.tenant,
        reply_to=reply_to,
        since=attempt.at,
        body=body,
    )


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
    moments = [each.due for each in state.transfers.values() if each.phase == "waiting"]
    retry_at = state.attempts.due()
    return min([*moments, *([retry_at] if retry_at else [])], default=None)


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
        answered=_tell,
        tick=Ring(),
    )
