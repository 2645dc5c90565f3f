"""Dead letters: what could not be handled, stored with the reason until somebody looks at it. Pure.

Whatever lays something aside does so by a ``Publish`` from here, so that each letter lies with its
tenant, is known by its id, and holds what is needed to hand it in again under the id it had.
"""

import re
from datetime import datetime

import msgspec

from schemas.base import Internal
from schemas.decision import Publish
from schemas.ids import PLATFORM, TOKEN_PATTERN
from schemas.journal import CommandEnvelope

DEAD_SUBJECT = "_cb.dead"
"""Begins the subjects of dead letters: the tenant follows, and then what kind it is."""

NOBODY = "_"
"""Stands for the tenant of a letter where what was read names none that could be one."""

COMMAND = "_cb.cmd."
"""Begins where a command to an entity was going; the entity follows."""

WORK = "_cb.work."
"""Begins where an item of work was going; the queue follows. The letter has the item's id."""

_TOKEN = re.compile(TOKEN_PATTERN)


class DeadLetter(Internal):
    """Work or a command that could not be handled, with the reason, for inspection and re-drive."""

    subject: str
    reason: str
    at: datetime
    deliveries: int
    body: str
    id: str


def dead_lettered(letter: DeadLetter, tenant: str, *kind: str, once: str | None = None) -> Publish:
    """Return what stores a letter; within two minutes it is stored ``once``, by its id if unsaid.

    Each tenant has a share of the stream.
    """
    whose = tenant if tenant == PLATFORM or _TOKEN.match(tenant) else NOBODY
    subject = ".".join((DEAD_SUBJECT, whose, *kind))
    return Publish(subject=subject, body=letter, id=once or letter.id)


def undelivered(
    envelope: CommandEnvelope,
    entity: str,
    reason: str,
    at: datetime,
    *,
    deliveries: int = 1,
    kind: str = "command",
) -> Publish:
    """Return what stores a command that an entity could not be given, or could not decide."""
    letter = DeadLetter(
        id=f"{envelope.tenant}.{envelope.key}.{envelope.id}",
        subject=COMMAND + entity,
        reason=reason,
        at=at,
        deliveries=deliveries,
        body=msgspec.json.encode(redriven(envelope)).decode(),
    )
    return dead_lettered(letter, envelope.tenant, kind, entity)


def redriven(envelope: CommandEnvelope) -> CommandEnvelope:
    """Return a command as it is handed in again, long after its deadline.

    Its key may have been used since, which ``fresh`` would deny.
    """
    return msgspec.structs.replace(envelope, fresh=False, deadline=None, redriven=True)
