"""Requests to JetStream's own API, as JSON: nats-py does not know all fields that we set."""

from typing import Any, cast

import msgspec

from bus.connection import NatsTransport
from bus.connection.transport import status_of
from bus.errors import CallboardError, DeadlineError, UnavailableError
from bus.ports import Fill

NAME_IN_USE = 10058
STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
NO_MESSAGE = 10037
WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
STORE_FAILED = 10077

API_SECONDS = 2.0
"""How long JetStream may take to answer; in a calm cluster it takes milliseconds."""


class JetStreamError(CallboardError):
    """JetStream refuses a request. ``code`` is its error code, ``status`` the class of error."""

    def __init__(self, request: str, status: int, code: int, description: str) -> None:
        super().__init__(f"{request}: {description} ({code})")
        self.request = request
        self.status = status
        self.code = code
        self.description = description

    @property
    def is_full(self) -> bool:
        """Whether a stream that discards what is new has reached its bound: nothing was stored.

        Other failures to store have the same code, and what has become of those is not known.
        """
        return self.code == STORE_FAILED and self.description.startswith("maximum ")


class JetStream:
    """JetStream's API through a connection."""

    def __init__(self, transport: NatsTransport) -> None:
        self.transport = transport

    async def call(
        self, request: str, body: dict[str, Any] | None = None, *, timeout: float = API_SECONDS
    ) -> dict[str, Any]:
        """Make a request (``STREAM.INFO.WORK``) and return the answer.

        Raises:
            JetStreamError: it is refused.
            UnavailableError: no answer, so the outcome is unknown.
        """
        subject = f"$JS.API.{request}"
        data = msgspec.json.encode(body) if body is not None else b""
        try:
            message = await self.transport.request(subject, data, timeout=timeout)
        except DeadlineError as error:
            raise UnavailableError(subject, str(error)) from None
        try:
            answer = cast("dict[str, Any]", msgspec.json.decode(message.data))
        except msgspec.DecodeError:
            status = status_of(message) or "no answer of JetStream's"
            raise UnavailableError(subject, status) from None
        raise_error(request, answer)
        return answer

    async def stream_info(
        self, stream: str, *, subjects: str | None = None, offset: int = 0
    ) -> dict[str, Any]:
        """Describe a stream, with the counts of the subjects that match a filter."""
        body = {"subjects_filter": subjects, "offset": offset} if subjects else None
        return await self.call(f"STREAM.INFO.{stream}", body)


def fill_of(info: dict[str, Any]) -> Fill:
    """Return how full a stream is, by its description."""
    return Fill(used=int(info["state"]["bytes"]), most=max(int(info["config"]["max_bytes"]), 0))


def raise_error(request: str, answer: dict[str, Any]) -> None:
    """Raise ``JetStreamError`` if an answer says that the request is refused."""
    error = answer.get("error")
    if error is not None:
        raise JetStreamError(
            request,
            int(error.get("code", 0)),
            int(error.get("err_code", 0)),
            str(error.get("description", "")),
        )
