"""Storing one message and waiting for its receipt."""

import msgspec

from bus.codec import decode
from bus.connection import NatsTransport
from bus.errors import DeadlineError, ProblemError, UnavailableError
from bus.ports import Delivery
from bus.streams.api import JetStreamError

STORE_SECONDS = 2.0
"""How long a stream may take to acknowledge; longer means an election or a lost server."""


class _Refusal(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class PubAck(msgspec.Struct):
    """JetStream's receipt."""

    seq: int = 0
    duplicate: bool = False
    error: _Refusal | None = None


async def store(
    transport: NatsTransport,
    subject: str,
    data: bytes,
    *,
    headers: dict[str, str] | None = None,
    timeout: float = STORE_SECONDS,
) -> PubAck:
    """Publish into the stream that captures ``subject`` and return the receipt.

    Raises:
        JetStreamError: the stream refuses the message.
        UnavailableError: there is no stream, or the outcome is unknown.
    """
    try:
        message = await transport.request(subject, data, timeout=timeout, headers=headers)
    except DeadlineError as error:
        raise UnavailableError(subject, str(error)) from None
    return accepted(subject, message)


def accepted(subject: str, message: Delivery) -> PubAck:
    """Return the receipt in a message. Raises as ``store`` does."""
    try:
        ack = decode(PubAck, message.data)
    except ProblemError:
        raise UnavailableError(subject, "somebody else than a stream answered") from None
    if ack.error is not None:
        refusal = ack.error
        raise JetStreamError(subject, refusal.code, refusal.err_code, refusal.description)
    return ack
