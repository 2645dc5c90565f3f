"""Entities that cannot be read: they end, and an operator can let them go on. Pure.

An entity whose entry cannot be applied keeps the state before it. A commit says so once
(``Entry.corrupt``), so that every later owner and snapshot knows it, whatever it can read itself; a
letter is stored with it. The same commit ends the entity, if its kind says how; one that cannot
be ended takes no more commands. Skipping the damage is a commit as well.
"""

import re
from datetime import datetime
from typing import Any

import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError
from schemas.decision import Publish
from schemas.entity import Damage, Entity, EntityAddress
from schemas.journal import NOTHING, CommandEnvelope, CorruptSkipped, Entry, SkipCorrupt
from schemas.letters import undelivered
from schemas.problems import Problem

SKIPPED = ""
"""Stands in ``Entry.corrupt`` where the damage was skipped."""

MAX_REASON = 200

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
"""A value that the decoder repeats: it may be of a prompt or an answer."""


def reason_of(error: Exception) -> str:
    """Say why an entry cannot be applied, without what is in it."""
    if isinstance(error, ProblemError):
        return _QUOTED.sub("…", error.said())[:MAX_REASON]
    return f"{type(error).__name__} in applying it"


def refusal(reason: str) -> Problem:
    """Return the answer to every command for an entity in quarantine."""
    message = f"what is stored of this cannot be read ({reason}); an operator must look at it"
    return Problem(code="corrupt", message=message)


def ending(
    entity: Entity[Any, Any, Any], damage: Damage, reason: str, place: tuple[int, int]
) -> Entry:
    """Return the entry that puts an entity into quarantine, and ends it if it can be ended.

    ``place`` is its number among the entity's entries, and the commit of the one before.
    """
    if entity.failing is None:
        return mark(damage.tenant, damage.key, damage.state, reason, place)
    state, events = entity.failing(damage)
    entry = mark(damage.tenant, damage.key, state, reason, place)
    return msgspec.structs.replace(entry, events=[msgspec.Raw(encode(each)) for each in events])


def mark(tenant: str, key: str, state: Any, reason: str, place: tuple[int, int]) -> Entry:
    """Return the entry that puts an entity into quarantine, in a state or in none."""
    return Entry(
        tenant=tenant,
        key=key,
        command="",
        kind="corrupt",
        base=_encoded(state),
        corrupt=reason,
        n=place[0],
        after=place[1],
    )


def skip_entry(envelope: CommandEnvelope, state: Any, place: tuple[int, int]) -> Entry:
    """Return the entry that ends a quarantine: the entity goes on from ``state``."""
    return Entry(
        tenant=envelope.tenant,
        key=envelope.key,
        command=envelope.id,
        kind="skip_corrupt",
        base=_encoded(state),
        corrupt=SKIPPED,
        n=place[0],
        after=place[1],
    )


def skipped(state: Any) -> CorruptSkipped:
    """Return the answer to who has ended a quarantine."""
    return CorruptSkipped(anew=state is None)


def wants_skip(body: msgspec.Raw) -> bool:
    """Say whether a command is the operator's, to skip the damage of an entity."""
    try:
        decode(SkipCorrupt, body)
    except ProblemError:
        return False
    return True


def skip_command(id: str, address: EntityAddress) -> CommandEnvelope:  # noqa: A002  it is one
    """Return the command that ends a quarantine."""
    tenant, key = address
    return CommandEnvelope(id=id, tenant=tenant, key=key, body=msgspec.Raw(encode(SkipCorrupt())))


def dead_letter(entity: str, address: EntityAddress, reason: str, at: datetime) -> Publish:
    """Return the dead letter of a quarantine; handed in again, it skips the damage."""
    tenant, key = address
    envelope = skip_command(f"corrupt.{at.timestamp():.6f}", address)
    text = f"{entity} {key} of {tenant} is corrupt: {reason}"
    return undelivered(envelope, entity, text, at, kind="corrupt")


def _encoded(state: Any) -> msgspec.Raw:
    return NOTHING if state is None else msgspec.Raw(encode(state))
