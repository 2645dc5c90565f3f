"""A turn: the commands that wait are decided one after another, and become one commit. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.shard.book import Address, Book
from bus.shard.entity import Entity
from schemas.decision import Ask, Publish, Work
from schemas.journal import NOTHING, Entry, Mail
from schemas.problems import Problem

TAG = b'{"type":"'
MOST_TAG_BYTES = 64

Reply = str | Callable[[bytes], tuple[str, bytes] | None]
"""Where an answer goes: to a subject, or to somebody in this process, who may then have something
to publish."""


class Letter(NamedTuple):
    """A command with whatever waits for the answer; empty if nobody does."""

    mail: Mail
    reply: Reply = ""


@dataclass(slots=True)
class Outcome:
    """What a turn leads to. Nothing of it may leave the process before the entries are stored."""

    entries: list[Entry] = field(default_factory=list[Entry])
    replies: list[tuple[Reply, bytes]] = field(default_factory=list[tuple[Reply, bytes]])
    publications: list[Publish] = field(default_factory=list[Publish])
    opened: list[tuple[Address, Work]] = field(default_factory=list[tuple[Address, Work]])
    asked: list[tuple[Address, Ask]] = field(default_factory=list[tuple[Address, Ask]])
    closed: list[Work] = field(default_factory=list[Work])
    touched: dict[Address, Any] = field(default_factory=dict[Address, Any])
    crashed: list[tuple[Mail, str]] = field(default_factory=list[tuple[Mail, str]])


class _Decided(NamedTuple):
    """What one command comes to: the new state, and all that is to be stored and sent."""

    state: Any
    events: list[msgspec.Raw]
    publications: list[Publish]
    reply: bytes | None


def take_turn(book: Book, letters: Sequence[Letter], now: datetime) -> Outcome:
    """Decide all letters at the moment ``now`` and apply what they change to the book."""
    outcome = Outcome()
    for letter in letters:
        answer = _answer(book, letter.mail, now, outcome)
        if letter.reply and answer is not None:
            outcome.replies.append((letter.reply, answer))
    for address in outcome.touched:
        opened, closed = book.settle(address)
        outcome.opened.extend((address, each) for each in opened if isinstance(each, Work))
        outcome.asked.extend((address, each) for each in opened if isinstance(each, Ask))
        outcome.closed.extend(each for each in closed if isinstance(each, Work))
        outcome.touched[address] = book.slots[address].state
    return outcome


def _answer(book: Book, mail: Mail, now: datetime, outcome: Outcome) -> bytes | None:
    slot = book.slots.get((mail.tenant, mail.key))
    known = slot.replies.get(mail.id) if slot is not None else None
    if known is not None:
        return bytes(known.reply) if known.digest == mail.digest else encode(_conflict(mail))
    try:
        command = decode(book.entity.command_type, mail.body)
    except ProblemError as refused:
        return encode(refused.problem)
    try:
        decided = _decide(book.entity, book.state((mail.tenant, mail.key)), command, now)
    except Exception as error:  # noqa: BLE001  whatever a core raises must not stop its shard
        return _reject(book, mail, error, outcome)
    return _commit(book, mail, decided, outcome)


def _decide(entity: Entity[Any, Any, Any], state: Any, command: Any, now: datetime) -> _Decided:
    """Decide and work out what follows, without changing anything."""
    decision = entity.decide(state, command, now)
    publications: list[Publish] = []
    for event in decision.events:
        before, state = state, entity.evolve(state, event)
        publications.extend(entity.announce(before, event, state))
    reply = encode(decision.reply) if decision.reply is not None else None
    events = [msgspec.Raw(encode(event)) for event in decision.events]
    return _Decided(state, events, publications, reply)


def _reject(book: Book, mail: Mail, error: Exception, outcome: Outcome) -> bytes:
    """Answer a command on which the core raised: for good, so that it is never tried again."""
    reason = f"{type(error).__name__} in decide"
    outcome.crashed.append((mail, reason))
    problem = Problem(code="internal", message=f"the command could not be decided: {reason}")
    reply = encode(problem)
    entry = _entry(mail, reply=msgspec.Raw(reply))
    outcome.entries.append(entry)
    book.remember((mail.tenant, mail.key), entry)
    return reply


def _commit(book: Book, mail: Mail, decided: _Decided, outcome: Outcome) -> bytes | None:
    reply = decided.reply
    if not decided.events:
        return reply
    address = (mail.tenant, mail.key)
    is_kept = bool(mail.id) and book.entity.keeps_replies
    stored = msgspec.Raw(reply) if reply is not None and is_kept else NOTHING
    entry = _entry(mail, base=_base(book, address), events=decided.events, reply=stored)
    book.advance(address, decided.state)
    book.remember(address, entry)
    outcome.publications.extend(decided.publications)
    outcome.entries.append(entry)
    outcome.touched[address] = None
    return reply


def _base(book: Book, address: Address) -> msgspec.Raw:
    slot = book.slots.get(address)
    if slot is None or not slot.base:
        return NOTHING
    slot.base = False
    return msgspec.Raw(encode(slot.state))


def _entry(
    mail: Mail,
    *,
    base: msgspec.Raw = NOTHING,
    events: Sequence[msgspec.Raw] = (),
    reply: msgspec.Raw = NOTHING,
) -> Entry:
    return Entry(
        tenant=mail.tenant,
        key=mail.key,
        command=mail.id,
        kind=_kind(mail.body),
        digest=mail.digest,
        base=base,
        events=list(events),
        reply=reply,
    )


def _kind(body: msgspec.Raw) -> str:
    """Return the tag of an encoded command; msgspec writes it first."""
    start = memoryview(body)[:MOST_TAG_BYTES].tobytes()
    return start[len(TAG) : start.find(b'"', len(TAG))].decode() if start.startswith(TAG) else ""


def _conflict(mail: Mail) -> Problem:
    return Problem(
        code="conflict", message=f"{mail.key} was asked for before with another request", field="id"
    )
