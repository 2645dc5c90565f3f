"""Posting dead letters: each is counted, and fits into a message of the bus."""

import msgspec

from bus.codec import encode
from bus.ports import Outbox
from bus.telemetry import metrics
from schemas.decision import Publish
from schemas.letters import DEAD_SUBJECT, DeadLetter

ROOM = 4096
"""Bytes left for headers and subject."""

CUT_CHARACTERS = 65_536
"""What is kept of a body that does not fit: as JSON a character takes six bytes at most."""

REASON_CHARACTERS = 2048


async def post_letter(outbox: Outbox, letter: Publish) -> None:
    """Store a dead letter; one that did not fit into a message would be lost, and is cut."""
    kind = letter.subject.removeprefix(f"{DEAD_SUBJECT}.").partition(".")[2]
    metrics.DEAD_LETTERS.at(kind).inc()
    await outbox.post(
        letter.subject, fitting(letter.body, outbox.max_payload), message_id=letter.id
    )


def fitting(letter: msgspec.Struct, most: int) -> bytes:
    """Encode a dead letter, cut so that ``most`` bytes hold it. Pure."""
    data = encode(letter)
    if len(data) <= most - ROOM or not isinstance(letter, DeadLetter):
        return data
    return encode(_cut(letter))


def _cut(letter: DeadLetter) -> DeadLetter:
    """Return a letter with the beginning of its body.

    JSON writes a control character as six bytes, and what is no UTF-8 becomes longer as well: what
    came in as a message need not fit into one again. A cut letter shows what was there; handed in
    again, it is refused again.
    """
    reason = letter.reason[:REASON_CHARACTERS]
    reason = f"{reason} (cut: the body has {len(letter.body)} characters)"
    return msgspec.structs.replace(letter, body=letter.body[:CUT_CHARACTERS], reason=reason)
