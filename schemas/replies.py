"""The replies an entity has given, by the ids of their commands: a repeat gets the same one. Pure.

The replies lie in pages. An entity that keeps all of them has one page. Where they are forgotten
after an ``age``, a page holds those of the ids that were made within a 32nd of it: then only ids of
UUID version 7 are taken, which tell when they were made, and none that is older than the age or
more than ``MOST_AHEAD`` ahead. So a repeat is answered from its page, or refused because it is too
old; it is never carried out again. Pages are dropped whole, when a newer one is begun.

Nothing but the ids and the journalled ``now`` decides, so every owner forgets the same. Adding a
reply changes its page in place: whoever stores the pages later takes ``copied`` ones.
"""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from schemas.base import Internal
from schemas.ids import END
from schemas.problems import Problem

PAGES_EACH_AGE = 32
MOST_AHEAD = timedelta(minutes=1)
"""So far the clock of whoever makes ids may be ahead of that of the entity's owner."""

ANSWER = "answer."
"""Begins the id under which an entity hears the answer to an ask of its own. It knows a repeat by
its state, as it does the report of a worker: no reply is kept for these, and no age is asked."""

_UUID7 = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}" + END
)
_START = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class StoredReply(Internal):
    """The answer to a command that was committed, kept for repeats of its id."""

    digest: str
    reply: msgspec.Raw


ReplyPages = dict[int, dict[str, StoredReply]]
"""Pages of replies by number, in each the replies by command id."""


def find(replies: ReplyPages, name: str, age: timedelta | None) -> StoredReply | None:
    """Return the reply that was given to the command of this id."""
    number = 0 if age is None else _page_of(name, age)
    page = None if number is None else replies.get(number)
    return None if page is None else page.get(name)


def keep(replies: ReplyPages, name: str, reply: StoredReply, age: timedelta | None) -> None:
    """Keep a reply; with an ``age`` that of an id which tells when it was made, and of no other."""
    number = 0 if age is None else _page_of(name, age)
    if number in replies:
        replies[number][name] = reply
    elif number is not None:
        replies[number] = {name: reply}
        if age is not None:
            _drop(replies, number, age)


def refusal(name: str, now: datetime, age: timedelta) -> Problem | None:
    """Say why no command of this id is taken at ``now``; None if one is."""
    made = made_at(name)
    if made is None:
        return _refused("the id is no UUID of version 7 in its usual spelling")
    if made > now + MOST_AHEAD:
        return _refused("the id is of a later time than now")
    if made <= now - age:
        message = "the id is older than replies are kept, so it may be carried out already"
        return Problem(code="conflict", message=message, field="id")
    return None


def made_at(name: str) -> datetime | None:
    """Return when an id was made, None if it does not tell; see RFC 9562, section 5.7."""
    milliseconds = _milliseconds(name)
    return None if milliseconds is None else _START + milliseconds * _MILLISECOND


def copied(replies: ReplyPages) -> ReplyPages:
    """Return the pages as they are now."""
    return {number: page.copy() for number, page in replies.items()}


def _milliseconds(name: str) -> int | None:
    found = _UUID7.match(name)
    return None if found is None else int(found[1] + found[2], 16)


def _page_of(name: str, age: timedelta) -> int | None:
    milliseconds = _milliseconds(name)
    return None if milliseconds is None else milliseconds // _width(age)


def _width(age: timedelta) -> int:
    """Return how many milliseconds a page is about."""
    return max(age // _MILLISECOND // PAGES_EACH_AGE, 1)


def _drop(replies: ReplyPages, newest: int, age: timedelta) -> None:
    """Drop the pages of which nothing would be taken any more when the newest id was.

    That was not before ``MOST_AHEAD`` ahead of its time.
    """
    width = _width(age)
    oldest = newest * width - (MOST_AHEAD + age) // _MILLISECOND
    for number in [number for number in replies if (number + 1) * width <= oldest]:
        del replies[number]


def _refused(message: str) -> Problem:
    return Problem(code="validation", message=message, field="id")
