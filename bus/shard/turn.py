"""A turn: the commands that wait are decided one after another, and become one commit. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.shard.book import Address, Book, Slot
from schemas.decision import Decision, Publish, Work
from schemas.journal import NOTHING, Entry, Mail
from schemas.problems import Problem


class Letter(NamedTuple):
    """A command with the subject that waits for the answer; empty if nobody does."""

    mail: Mail
    reply: str = ""


@dataclass(slots=True)
class Outcome:
    """What a turn leads to. Nothing of it may leave the process before the entries are stored."""

    entries: list[Entry] = field(default_factory=list[Entry])
    replies: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    publications: list[Publish] = field(default_factory=list[Publish])
    opened: list[tuple[Address, Work]] = field(default_factory=list[tuple[Address, Work]])
    touched: dict[Address, Any] = field(default_factory=dict[Address, Any])
    crashed: list[tuple[Mail, str]] = field(default_factory=list[tuple[Mail, str]])


def take_turn(book: Book, letters: Sequence[Letter], now: datetime) -> Outcome:
    """Decide all letters at the moment ``now`` and apply what they change to the book."""
    outcome = Outcome()
    for letter in letters:
        answer = _answer(book, letter.mail, now, outcome)
        if letter.reply and answer is not None:
            outcome.replies.append((letter.reply, answer))
    for address in outcome.touched:
        opened, _ = book.settle(address)
        outcome.opened.extend((address, work) for work in opened)
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
    return _commit(book, mail, _decide(book, slot, command, now, mail, outcome), outcome)


def _decide(
    book: Book, slot: Slot | None, command: Any, now: datetime, mail: Mail, outcome: Outcome
) -> Decision:
    """Decide; a core that raises is a defect, answered for good and laid aside, never retried."""
    try:
        return book.entity.decide(slot.state if slot else None, command, now)
    except Exception as error:  # noqa: BLE001  whatever a core raises must not stop its shard
        reason = f"{type(error).__name__} in decide"
        outcome.crashed.append((mail, reason))
        problem = Problem(code="internal", message=f"the command could not be decided: {reason}")
        entry = _entry(mail, reply=msgspec.Raw(encode(problem)))
        outcome.entries.append(entry)
        book.remember((mail.tenant, mail.key), entry)
        return Decision(reply=problem)


def _commit(book: Book, mail: Mail, decision: Decision, outcome: Outcome) -> bytes | None:
    reply = encode(decision.reply) if decision.reply is not None else None
    if not decision.events:
        return reply
    address = (mail.tenant, mail.key)
    stored = msgspec.Raw(reply) if reply is not None and mail.id else NOTHING
    entry = _entry(mail, base=_base(book, address), reply=stored)
    for event in decision.events:
        entry.events.append(msgspec.Raw(encode(event)))
        before, after = book.apply(address, event)
        outcome.publications.extend(book.entity.announce(before, event, after))
    book.remember(address, entry)
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
    mail: Mail, *, base: msgspec.Raw = NOTHING, reply: msgspec.Raw = NOTHING
) -> Entry:
    return Entry(
        tenant=mail.tenant,
        key=mail.key,
        command=mail.id,
        digest=mail.digest,
        base=base,
        events=[],
        reply=reply,
    )


def _conflict(mail: Mail) -> Problem:
    return Problem(
        code="conflict", message=f"{mail.key} was asked for before with another request", field="id"
    )
