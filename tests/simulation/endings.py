"""What must hold at the end of a history, when all trouble is over and nothing is left to do."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from actors.pricing.core.ledger import Ledger
from actors.pricing.core.terms import terms as terms_of
from actors.workflow.core.cron_trigger import ArmedCrons
from actors.workflow.core.state import WorkflowInstance
from bus.codec import encode
from bus.memory import MemoryStore
from bus.ports import Resting
from bus.shard.book import ShardBook
from bus.streams.spec import CONVERSATIONS, EVENTS, LIVE, RECORDS
from schemas.attempts import OutcomeLearned, WorkClaimed, WorkStarted
from schemas.callbacks import CalledBack, WaitOver, WaitStopped
from schemas.decision import Left
from schemas.entity import EntityAddress
from schemas.executions import ENDED
from schemas.journal import Sleeper
from schemas.lifecycle import (
    Accepted,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionDeleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    ToolFailed,
    ToolFinished,
    ToolStarted,
    UsageSettled,
)
from schemas.replies import find
from schemas.spend import BillBooked, HoldVoided
from schemas.terms import Terms
from tests.simulation import account, lending, waiting, workflows
from tests.simulation.judge import Judge, ShardModel

AFTER_THE_END = (
    UsageSettled,
    HoldVoided,
    BillBooked,
    CalledBack,
    ExecutionDeleted,
    OutcomeLearned,
    WaitOver,
    WaitStopped,
)
TERMINALS = (ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)


def is_over(judge: Judge) -> bool:
    """Say whether everything that was accepted has come to its end."""
    return all(
        _has_ended(state) for shard in judge.shards.values() for state in shard.states.values()
    )


def _has_ended(state: Any) -> bool:
    if isinstance(state, Ledger):
        is_told = state.terms.revision == state.terms.stored
        return is_told and not any(state.holds) and lending.is_idle(state.escrow)
    if isinstance(state, account.Account):
        transfers = state.transfers.values()
        return all(each.phase in ("delivered", "called_off") for each in transfers)
    if isinstance(state, waiting.Parent):
        return not waiting.is_waiting(state.waits)
    if isinstance(state, WorkflowInstance | ArmedCrons):
        return workflows.is_over(state)
    is_told = all(bill.phase == "held" for bill in state.spend.bills)
    return state.status in ENDED and is_told and not waiting.is_waiting(state.waits)


def faults_of_execution(history: list[ExecutionEvent]) -> Iterator[str]:
    """Yield what is wrong with the events of an execution; written apart from its core."""
    attempts: dict[str, int] = {}
    ended = 0
    segments: list[int] = []
    if [type(event) for event in history].count(Accepted) != 1 or type(history[0]) is not Accepted:
        yield "it is not accepted once, at the beginning"
    for event in history:
        if ended and not isinstance(event, AFTER_THE_END):
            yield f"{type(event).__name__} after the end"
        match event:
            case AttemptStarted() | ToolStarted():
                if event.attempt != attempts.get(event.work, 0) + 1:
                    yield f"attempt {event.attempt} follows attempt {attempts.get(event.work)}"
                attempts[event.work] = event.attempt
                if isinstance(event, AttemptStarted):
                    segments.append(event.segment)
            case (
                GenerationFinished()
                | AttemptFailed()
                | WorkClaimed()
                | ToolFinished()
                | ToolFailed()
            ):
                attempt = attempts.get(event.work)
                if event.attempt != attempt:
                    yield f"{type(event).__name__} of attempt {event.attempt}, not {attempt}"
            case _:
                ended += isinstance(event, TERMINALS)
    if ended != 1:
        yield f"{ended} ends"
    if segments != sorted(set(segments)):
        yield f"segments {segments}"


def faults_of_account(history: list[account.AccountEvent]) -> Iterator[str]:
    """Yield what is wrong with the events of an account; written apart from its core."""
    due: dict[str, Any] = {}
    attempts: dict[str, int] = {}
    sent: set[str] = set()
    ended: list[str] = []
    for event in history:
        match event:
            case account.Ordered():
                due[event.transfer] = event.due
            case account.Sending():
                if event.at < due[event.transfer]:
                    yield f"the timer of {event.transfer} is early"
                if event.transfer in sent:
                    yield f"the timer of {event.transfer} comes twice"
                sent.add(event.transfer)
            case WorkStarted():
                if event.attempt != attempts.get(event.work, 0) + 1:
                    yield f"an attempt of {event.work} comes twice"
                attempts[event.work] = event.attempt
            case account.Delivered() | account.CalledOff():
                ended.append(event.transfer)
            case _:
                pass
    if sorted(ended) != sorted(due):
        yield f"{sorted(due)} were ordered, {sorted(ended)} came to an end"


def faults_of_money(judge: Judge) -> Iterator[str]:
    """Yield what is wrong with the sum of all accounts: money comes once to whom it was sent."""
    due: dict[str, int] = {}
    states: dict[str, account.Account] = {}
    for shard in judge.shards.values():
        for (_, key), state in shard.states.items():
            if isinstance(state, account.Account):
                states[key] = state
    for state in states.values():
        for transfer in state.transfers.values():
            if transfer.phase == "delivered":
                due[transfer.to] = due.get(transfer.to, 0) + transfer.amount
                due[state.key] = due.get(state.key, 0) - transfer.amount
    for key, state in states.items():
        if state.balance != due.get(key, 0):
            yield f"account {key} has {state.balance}, not {due.get(key, 0)}"


def faults_of_book(
    judge: Judge, shard: ShardModel, book: ShardBook, rested: Iterable[Resting]
) -> Iterator[str]:
    """Yield how a book, and what is at rest beside it, differs from what the journal says."""
    asleep = ShardBook(shard.entity)
    for resting in rested:
        asleep.wake(resting)
    if (book.n, book.epoch, book.at) != (shard.n, shard.epoch, shard.at):
        yield f"the book is at {book.n} of epoch {book.epoch}, not {shard.n} of {shard.epoch}"
    for address, state in shard.states.items():
        slot = book.slots.get(address) or asleep.slots.get(address)
        if slot is None and shard.may_forget(address):
            continue
        if slot is None:
            yield f"{address} is neither in the book nor at rest"
        elif address not in book.slots and not _is_listed(shard, address, book.sleepers):
            yield f"{address} is listed as {book.sleepers.get(address)}, at rest is {slot}"
        elif not _is_known(judge, shard, address, slot.state):
            yield f"{address} is {encode(slot.state)!r}, not {encode(state)!r}"
        elif set(slot.open) != {work.id for work in shard.entity.effects(state)}:
            yield f"open work of {address}: {sorted(slot.open)}"
        elif slot.due != shard.entity.due(state):
            yield f"the timer of {address} is set for {slot.due}"
    yield from _faults_of_replies(shard, book, asleep)


def _faults_of_replies(shard: ShardModel, book: ShardBook, asleep: ShardBook) -> Iterator[str]:
    for (address, command), reply in shard.replies.items():
        slot = book.slots.get(address) or asleep.slots.get(address)
        if slot is not None and not shard.may_forget(address):
            kept = find(slot.replies, command, shard.entity.reply_age)
            if kept is None or bytes(kept.reply) != reply:
                yield f"the reply to {command} of {address} is {kept}"


def _is_known(judge: Judge, shard: ShardModel, address: EntityAddress, held: Any) -> bool:
    """Say whether a state is that of the journal, or what the record of one forgotten tells."""
    state, data = shard.states[address], encode(held)
    return data == encode(state) or data == encode(judge.restored(shard, address, state))


def _is_listed(
    shard: ShardModel, address: EntityAddress, sleepers: Mapping[EntityAddress, Sleeper]
) -> bool:
    """Say whether a table of sleepers is right about an entity that is at rest."""
    state, sleeper = shard.states[address], sleepers.get(address)
    n, _ = shard.places[address]
    if shard.entity.ended(state):
        return sleeper is None
    return sleeper is not None and (sleeper.n, sleeper.due) == (n, shard.entity.due(state))


def faults_of_streams(judge: Judge, store: MemoryStore) -> Iterator[str]:
    """Yield what was to be published and is not there, and records that are out of date."""
    stored = {
        (subject, kept.data)
        for stream in (EVENTS, LIVE, CONVERSATIONS, RECORDS)
        for subject, kept in store.everything(stream)
    }
    gone: dict[str, list[Left]] = {}
    for left in _left(judge):
        gone.setdefault(left.subject, []).append(left)
    for subject, data in judge.announced:
        is_deleted = any(_is_its(left, data) for left in gone.get(subject, ()))
        if is_deleted == ((subject, data) in stored):
            what = "not erased" if is_deleted else "never published"
            yield f"{what}: {subject} {data.decode()}"
    for shard in judge.shards.values():
        yield from _records(judge, shard, store)


def _left(judge: Judge) -> Iterator[Left]:
    """Yield what the deleted executions have left."""
    for shard in judge.shards.values():
        for state in shard.states.values():
            yield from shard.entity.left(state)


def _is_its(left: Left, data: bytes) -> bool:
    return left.is_its is None or left.is_its(data)


def _records(judge: Judge, shard: ShardModel, store: MemoryStore) -> Iterator[str]:
    if shard.entity.record is None:
        return
    for state in shard.states.values():
        kept = shard.entity.record(state)
        if kept is None:
            subjects = (left.subject for left in shard.entity.left(state) if left.is_its is None)
            yield from (f"not erased: {each}" for each in subjects if store.last(RECORDS, each))
            continue
        record = judge.whole(shard.entity, kept)
        found = store.last(RECORDS, record.subject)
        if found is None or found.data != encode(record.body):
            yield f"the record is out of date: {record.subject}"


def faults_of_terms(judge: Judge, stored: Mapping[str, Terms]) -> Iterator[str]:
    """Yield tenants whose stored terms are not those that their accounts lead to."""
    for shard in judge.shards.values():
        for (tenant, _), state in shard.states.items():
            if isinstance(state, Ledger) and state.terms.revision:
                wanted = terms_of(state.terms, tenant)
                if stored.get(tenant) != wanted:
                    yield f"the terms of {tenant} are {stored.get(tenant)}, not {wanted}"
