"""How a value lies in the stream below a bucket.

The layout is that of NATS key-value stores, so ``nats kv`` reads it: a stream ``KV_<bucket>`` with
subjects ``$KV.<bucket>.<key>``, and headers on messages that are no value but its removal.
"""

from base64 import b64decode
from collections.abc import Container
from typing import NamedTuple

from bus.streams.api import NO_MESSAGE, JetStream, JetStreamError

OPERATION = "KV-Operation"
MARKER = "Nats-Marker-Reason"

SHORT_FORM = 9


class Cell(NamedTuple):
    """The newest message of a key. ``data`` is None where it is a removal or a mark of expiry."""

    revision: int
    data: bytes | None


class KeyPlace(NamedTuple):
    """Where a delivered message stands: ``number`` counts what its consumer has sent."""

    revision: int
    number: int
    pending: int

    @classmethod
    def of(cls, reply: str) -> "KeyPlace":
        """Read it from the subject on which the message could be acknowledged.

        ``$JS.ACK.<stream>.<consumer>.<deliveries>.<revision>.<number>.<time>.<pending>``, or
        the longer form with domain and account before the stream.
        """
        tokens = reply.split(".")
        first = 5 if len(tokens) == SHORT_FORM else 7
        return cls(int(tokens[first]), int(tokens[first + 1]), int(tokens[first + 3]))


def value_in(data: bytes, headers: Container[str]) -> bytes | None:
    """Return the value that a message holds, None if it is a removal or a mark of expiry."""
    return None if OPERATION in headers or MARKER in headers else data


async def newest(jetstream: JetStream, stream: str, subject: str) -> Cell | None:
    """Read the newest message that matches a subject, from the leader of the stream.

    A replica that is asked directly may lag behind a write that was answered.

    Raises:
        JetStreamError: the request is refused.
        UnavailableError: no answer.
    """
    try:
        answer = await jetstream.call(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    except JetStreamError as error:
        if error.code == NO_MESSAGE:
            return None
        raise
    message = answer["message"]
    names = _names(b64decode(message.get("hdrs", "")))
    return Cell(message["seq"], value_in(b64decode(message.get("data", "")), names))


def _names(headers: bytes) -> set[str]:
    lines = headers.decode("utf-8", "replace").split("\r\n")[1:]
    return {line.partition(":")[0] for line in lines}
