"""Appending a commit so that in the end it is known to be stored, or known to be refused."""

from contextlib import suppress
from functools import partial

import anyio

from bus.codec import decode, encode
from bus.errors import FencedError, FullError, ProblemError, UnavailableError
from bus.ports import Journal
from bus.tasks import until_answered
from schemas.journal import Commit

RETRY_SECONDS = 0.05


async def append(journal: Journal, subject: str, commit: Commit, expected: int) -> int:
    """Append after ``expected`` and return the commit's sequence.

    While the outcome is unknown the tail is read: our own turn there means success, another turn
    means that the shard is lost. Until the bus answers, this waits.

    Raises:
        FencedError: the shard has another owner.
        FullError: there is no room for it, and it is not stored.
    """
    data = encode(commit)
    is_unanswered = False
    while True:
        try:
            return await journal.append(subject, data, expected=expected)
        except FullError:
            if not is_unanswered:
                raise
            # An earlier try may be stored, and be what has filled the journal.
            with suppress(FencedError):
                return await _own_turn(journal, subject, commit, expected)
            raise
        except UnavailableError:
            is_unanswered = True
            await anyio.sleep(RETRY_SECONDS)
        except FencedError:
            return await _own_turn(journal, subject, commit, expected)


async def _own_turn(journal: Journal, subject: str, commit: Commit, expected: int) -> int:
    """Return the sequence of the tail if an earlier, unanswered append of ours is there."""
    newest = await until_answered(partial(journal.last, subject), RETRY_SECONDS)
    if newest is not None and _turn(newest.data) == commit.turn:
        return newest.sequence
    raise FencedError(subject, expected)


def _turn(data: bytes) -> str | None:
    try:
        return decode(Commit, data).turn
    except ProblemError:
        return None
