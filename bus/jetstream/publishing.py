"""Storing one message and waiting for its receipt."""

import anyio
import msgspec

from bus.codec import decode
from bus.connection import NatsTransport
from bus.errors import DeadlineError, NobodyListensError, ProblemError, UnavailableError
from bus.ports import Delivery
from bus.streams.api import JetStreamError

STORE_SECONDS = 2.0
"""How long a stream may take to acknowledge; longer means an election or a lost server."""

LEADERLESS_TRIES = 20
LEADERLESS_PAUSE_SECONDS = 0.1
"""A stream listens to nobody while it has no leader, or is not yet known to every server."""


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

    While the stream listens to nobody, nothing is stored, so this asks again for two seconds.

    Raises:
        JetStreamError: the stream refuses the message.
        UnavailableError: there is no stream, or the outcome is unknown.
    """
    try:
        message = await _heard(transport, subject, data, headers, timeout)
    except DeadlineError as error:
        raise UnavailableError(subject, str(error)) from None
    return accepted(subject, message)


async def _heard(
    transport: NatsTransport,
    subject: str,
    data: bytes,
    headers: dict[str, str] | None,
    timeout: float,
) -> Delivery:
    for _ in range(LEADERLESS_TRIES):
        try:
            return await transport.request(subject, data, timeout=timeout, headers=headers)
        except NobodyListensError:
            await anyio.sleep(LEADERLESS_PAUSE_SECONDS)
    return await transport.request(subject, data, timeout=timeout, headers=headers)


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
