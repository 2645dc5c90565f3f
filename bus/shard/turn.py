"""A turn: the commands that wait are decided one after another, and become one commit. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from bus.codec import encode
from bus.errors import ProblemError
from bus.shard.announcing import named
from bus.shard.book import EntitySlot, ShardBook
from bus.shard.clock import TOLERANCE_SECONDS
from bus.shard.outstanding import Earlier, change, net
from bus.shard.quarantine import (
    dead_letter,
    ending,
    mark,
    reason_of,
    refusal,
    skip_entry,
    skipped,
    wants_skip,
)
from schemas.decision import UNCHANGED, Ask, Changes, Effect, Publish
from schemas.entity import Damage, EntityAddress
from schemas.journal import NOTHING, CommandEnvelope, Entry
from schemas.problems import Problem
from schemas.replies import ANSWER, StoredReply
from schemas.replies import refusal as refusal_of
from schemas.work import AnyWorkItem, WorkCommand, WorkItem

CLOCKS_DIFFER = timedelta(seconds=2 * TOLERANCE_SECONDS)
"""So much may the clocks of who asks and of who owns the shard differ: each from the server's."""

_EXPIRED = Problem(
    code="timeout",
    message="the deadline of the command had passed before it could be decided; it was not",
    retryable=True,
)

_REJECTED = b'{"type":"problem","code":"internal"'
"""How the reply to a command begins on which a core raised."""

_MARK_BYTES = 1024
"""More than what a mark holds besides a state: names, a reason, an ending."""

Reply = str | Callable[[bytes], tuple[str, bytes] | None]
"""Where an answer goes: to a subject, or to somebody in this process, who may then have something
to publish."""


class PendingCommand(NamedTuple):
    """A command with whatever waits for the answer; empty if nobody does."""

    envelope: CommandEnvelope
    reply: Reply = ""


@dataclass(slots=True)
class Outcome:
    """What a turn leads to. Nothing of it may leave the process before the entries are stored."""

    entries: list[Entry] = field(default_factory=list[Entry])
    replies: list[tuple[Reply, bytes]] = field(default_factory=list[tuple[Reply, bytes]])
    publications: list[Publish] = field(default_factory=list[Publish])
    opened: list[tuple[EntityAddress, AnyWorkItem]] = field(
        default_factory=list[tuple[EntityAddress, AnyWorkItem]]
    )
    asked: list[tuple[EntityAddress, Ask]] = field(default_factory=list[tuple[EntityAddress, Ask]])
    closed: list[AnyWorkItem] = field(default_factory=list[AnyWorkItem])
    touched: dict[EntityAddress, Any] = field(default_factory=dict[EntityAddress, Any])
    earlier: dict[EntityAddress, Earlier] = field(default_factory=dict[EntityAddress, Earlier])
    crashed: list[tuple[CommandEnvelope, str]] = field(
        default_factory=list[tuple[CommandEnvelope, str]]
    )


class _Decided(NamedTuple):
    """What one command comes to: the new state, and all that is to be stored and sent."""

    state: Any
    events: list[msgspec.Raw]
    changes: Changes
    publications: list[Publish]
    reply: bytes | None


def take_turn(book: ShardBook, batch: Sequence[PendingCommand], now: datetime) -> Outcome:
    """Decide all commands at the moment ``now`` and apply what they change to the book."""
    outcome = Outcome()
    for pending in batch:
        answer = _answer(book, pending.envelope, now, outcome)
        if pending.reply and answer is not None:
            outcome.replies.append((pending.reply, answer))
    for address in list(outcome.touched):
        _follow_up(book, address, outcome)
    return outcome


def answer_unchanged(book: ShardBook, envelope: CommandEnvelope, now: datetime) -> bytes | None:
    """Answer a command that changes nothing, such as a question; None if it would need a commit."""
    try:
        outcome = Outcome()
        address = (envelope.tenant, envelope.key)
        if book.corrupt and wants_skip(envelope.body):
            return None
        if address in book.corrupt or book.known(address, envelope.id) is not None:
            return _answer(book, envelope, now, outcome)
        command = book.codec.command(envelope.body)
        decision = book.entity.decide(book.state(address), command, now)
    except Exception:  # noqa: BLE001  what a core raises is rejected by a commit, once there is room
        return None
    unchanged = not decision.events and decision.reply is not None
    return encode(decision.reply) if unchanged else None


def quarantine(
    book: ShardBook, now: datetime, most: int, records: Mapping[EntityAddress, bytes | None]
) -> Outcome:
    """Return the marks of entities that no commit says are corrupt, of about so many bytes.

    ``records`` are what is stored of those that are to be marked.
    """
    outcome, size = Outcome(), 0
    for address, record in records.items():
        if size > most:
            break
        reason = book.corrupt[address]
        entry, publications = _marked(book, address, record, now)
        size += _MARK_BYTES + len(entry.base)
        outcome.publications.extend(publications)
        outcome.entries.append(entry)
        outcome.publications.append(dead_letter(book.entity.name, address, reason, now))
        slot = book.slots[address]
        # What an entity that was ended still wants of others, and its record.
        _send(address, slot.open.values(), outcome)
        if slot.state is not None:
            outcome.touched[address] = slot.state
    return outcome


def _marked(
    book: ShardBook, address: EntityAddress, record: bytes | None, now: datetime
) -> tuple[Entry, list[Publish]]:
    """Return the mark of an entity, applied; without its state where that cannot be kept."""
    (tenant, key), slot = address, book.slots[address]
    reason, place = book.corrupt[address], (slot.n + 1, slot.last)
    try:
        damage = Damage(tenant, key, slot.state, record, refusal(reason), now)
        entry = ending(book.entity, damage, reason, place)
        return entry, book.replay_entry(entry)
    except Exception:  # noqa: BLE001  whatever a core raises must not stop its shard
        entry = mark(tenant, key, None, reason, place)
        return entry, book.replay_entry(entry)


def _follow_up(book: ShardBook, address: EntityAddress, outcome: Outcome) -> None:
    """Set the timer of an entity that has changed, and note what it has opened and closed."""
    slot, earlier = book.slots[address], outcome.earlier.get(address) or {}
    try:
        book.set_timer(address)
    except Exception as error:  # noqa: BLE001  whatever a core raises must not stop its shard
        # Nothing of it is outstanding any more: neither what has changed, nor the rest.
        opened, closed = [], [effect for effect in earlier.values() if effect is not None]
        closed += [effect for name, effect in slot.open.items() if name not in earlier]
        book.condemn(address, reason_of(error))
        del outcome.touched[address]
    else:
        outcome.touched[address] = slot.state
        opened, closed = net(slot.open, earlier)
    _send(address, opened, outcome)
    for effect in closed:
        if isinstance(effect, WorkItem):
            book.assigned.pop(effect.id, None)
            outcome.closed.append(effect)


def _send(address: EntityAddress, opened: Iterable[Effect], outcome: Outcome) -> None:
    for effect in opened:
        if isinstance(effect, WorkItem):
            outcome.opened.append((address, effect))
        else:
            outcome.asked.append((address, effect))


def _answer(
    book: ShardBook, envelope: CommandEnvelope, now: datetime, outcome: Outcome
) -> bytes | None:
    address = (envelope.tenant, envelope.key)
    known = book.known(address, envelope.id)
    if known is not None and not (envelope.redriven and _was_rejected(known)):
        return _repeated(envelope, known)
    if envelope.deadline is not None and now > envelope.deadline + CLOCKS_DIFFER:
        return encode(_EXPIRED)
    is_damaged = book.corrupt and address in book.corrupt
    if is_damaged and (book.is_shut(address) or wants_skip(envelope.body)):
        return _answer_corrupt(book, envelope, outcome)
    try:
        command = book.codec.command(envelope.body)
    except ProblemError as refused:
        return encode(_not_corrupt(envelope) if wants_skip(envelope.body) else refused.problem)
    if book.entity.reply_age is not None and (too_old := _too_old(book, envelope, command, now)):
        return encode(too_old)
    try:
        decided = _decide(book, address, command, now)
    except Exception as error:  # noqa: BLE001  whatever a core raises must not stop its shard
        return _reject(book, envelope, command, error, outcome)
    if decided.events:
        _commit(book, envelope, command, decided, outcome)
    return decided.reply


def _repeated(envelope: CommandEnvelope, known: StoredReply) -> bytes:
    """Answer a repeat with the reply that was given, unless it is another command."""
    if known.digest == envelope.digest:
        return bytes(known.reply)
    message = f"{envelope.key} was asked for before with another request"
    return encode(Problem(code="conflict", message=message, field="id"))


def _was_rejected(known: StoredReply) -> bool:
    """Say whether the core raised on a command, so that nothing of it was carried out."""
    return bytes(known.reply).startswith(_REJECTED)


def _too_old(
    book: ShardBook, envelope: CommandEnvelope, command: Any, now: datetime
) -> Problem | None:
    """Refuse a command of which nobody could tell a repeat, where replies are forgotten."""
    age = book.entity.reply_age
    if age is None or not _keeps_reply(book, envelope, command):
        return None
    return refusal_of(envelope.id, now, age)


def _keeps_reply(book: ShardBook, envelope: CommandEnvelope, command: Any) -> bool:
    """Say whether a repeat of a command is known by its id, and not by the state alone."""
    if not envelope.id or not book.entity.keeps_replies:
        return False
    if book.entity.reply_age is None:
        return True
    return not (envelope.id.startswith(ANSWER) or isinstance(command, WorkCommand))


def _answer_corrupt(book: ShardBook, envelope: CommandEnvelope, outcome: Outcome) -> bytes:
    """Refuse a command to an entity in quarantine, unless it is the one that ends that."""
    address = (envelope.tenant, envelope.key)
    if not wants_skip(envelope.body):
        return encode(refusal(book.corrupt[address]))
    state = book.absolve(address)
    outcome.entries.append(skip_entry(envelope, state, book.count(book.slots[address])))
    if state is not None:
        _list_again(book, address, outcome)
    return encode(skipped(state))


def _list_again(book: ShardBook, address: EntityAddress, outcome: Outcome) -> None:
    """Take up all that is outstanding of an entity that comes out of quarantine."""
    try:
        book.list_effects(address)
    except Exception as error:  # noqa: BLE001  whatever a core raises must not stop its shard
        book.condemn(address, reason_of(error))
    else:
        outcome.earlier[address] = dict.fromkeys(book.slots[address].open)
        outcome.touched[address] = None


def _decide(book: ShardBook, address: EntityAddress, command: Any, now: datetime) -> _Decided:
    """Decide and work out what follows, without changing anything."""
    entity, state = book.entity, book.state(address)
    earlier, decision = state, entity.decide(state, command, now)
    publications: list[Publish] = []
    for event in decision.events:
        before, state = state, entity.evolve(state, event)
        publications.extend(entity.announce(before, event, state))
    changes = UNCHANGED
    if decision.events:
        changes = book.changes(address, earlier, decision.events, state)
    reply = encode(decision.reply) if decision.reply is not None else None
    events = [msgspec.Raw(encode(event)) for event in decision.events]
    return _Decided(state, events, changes, publications, reply)


def _reject(
    book: ShardBook, envelope: CommandEnvelope, command: Any, error: Exception, outcome: Outcome
) -> bytes:
    """Answer a command on which the core raised: for good, so that it is never tried again."""
    reason = f"{type(error).__name__} in decide"
    outcome.crashed.append((envelope, reason))
    problem = Problem(code="internal", message=f"the command could not be decided: {reason}")
    reply = encode(problem)
    slot = book.slot((envelope.tenant, envelope.key))
    base = _base(slot)
    entry = _entry(envelope, command, book.count(slot), base=base, reply=msgspec.Raw(reply))
    outcome.entries.append(entry)
    book.remember(slot, entry)
    return reply


def _commit(
    book: ShardBook, envelope: CommandEnvelope, command: Any, decided: _Decided, outcome: Outcome
) -> None:
    reply, stored = decided.reply, NOTHING
    if reply is not None and _keeps_reply(book, envelope, command):
        stored = msgspec.Raw(reply)
    address, n = (envelope.tenant, envelope.key), book.n + 1
    slot = book.slot(address)
    place = book.count(slot)
    base = _base(slot)
    entry = _entry(envelope, command, place, base=base, events=decided.events, reply=stored)
    slot.state = decided.state
    if decided.changes is not UNCHANGED:
        change(slot.open, decided.changes, outcome.earlier.setdefault(address, {}))
    if stored is not NOTHING or envelope.seal:
        book.remember(slot, entry)
    if decided.publications:
        name, at = book.entity.name, (n, entry.n)
        outcome.publications += named(decided.publications, name, address, at)
    outcome.entries.append(entry)
    outcome.touched[address] = None


def _base(slot: EntitySlot) -> msgspec.Raw:
    """Return the state that an entry starts from, where nothing else may be left of it."""
    if not slot.is_forgettable:
        return NOTHING
    slot.is_forgettable = False
    return msgspec.Raw(encode(slot.state))


def _entry(
    envelope: CommandEnvelope,
    command: Any,
    place: tuple[int, int],
    *,
    base: msgspec.Raw = NOTHING,
    events: list[msgspec.Raw] | None = None,
    reply: msgspec.Raw = NOTHING,
) -> Entry:
    return Entry(
        tenant=envelope.tenant,
        key=envelope.key,
        command=envelope.id,
        kind=command.__struct_config__.tag or "",
        digest=envelope.digest,
        base=base,
        events=events or [],
        reply=reply,
        n=place[0],
        after=place[1],
        by=envelope.by,
        cause=envelope.cause,
        trace=envelope.trace,
        seal=envelope.seal,
    )


def _not_corrupt(envelope: CommandEnvelope) -> Problem:
    return Problem(
        code="conflict", message=f"{envelope.key} is not corrupt: there is nothing to skip"
    )
