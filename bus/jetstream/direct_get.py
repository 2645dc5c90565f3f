"""Reading many messages of a stream with one request, from whichever replica answers."""

from typing import Any, NamedTuple

import anyio
import msgspec

from bus.connection import NatsTransport
from bus.connection.transport import status_of
from bus.errors import UnavailableError
from bus.ports import Delivery

PAGE_MESSAGES = 256
PAGE_BYTES = 4 * 1024**2
PAGE_SECONDS = 5.0

END_OF_BATCH = "204"
NOT_FOUND = "404"


class DirectRead(NamedTuple):
    """A message as it is stored."""

    sequence: int
    subject: str
    data: bytes
    time: str = ""


async def read_page(
    transport: NatsTransport,
    stream: str,
    subject: str,
    start: int,
    *,
    limit: int = PAGE_MESSAGES,
    most_bytes: int = PAGE_BYTES,
) -> list[DirectRead]:
    """Return the first messages that match ``subject`` from a sequence on; empty at the end.

    A replica may lag behind what was acknowledged, so an empty page does not prove the end. Within
    a page nothing is missing.

    Raises:
        UnavailableError: no complete answer.
    """
    body = {"seq": start, "next_by_subj": subject, "batch": limit, "max_bytes": most_bytes}
    return await _asked(transport, stream, body)


async def _asked(transport: NatsTransport, stream: str, body: dict[str, Any]) -> list[DirectRead]:
    request = f"$JS.API.DIRECT.GET.{stream}"
    page = MessagePage(request)
    reply = transport.replies.expect(page.take)
    try:
        await transport.publish(request, msgspec.json.encode(body), reply=reply)
        with anyio.move_on_after(PAGE_SECONDS):
            await page.ended.wait()
    finally:
        transport.replies.forget(reply)
    return page.messages()


class MessagePage:
    """Collects the answers to one request. Each names its predecessor, so that a loss shows."""

    def __init__(self, request: str) -> None:
        self._request = request
        self._messages: list[DirectRead] = []
        self._failure: str | None = "no complete answer in time"
        self.ended = anyio.Event()

    def take(self, message: Delivery | None) -> None:
        """Take an answer, or the news that there will be none."""
        status = status_of(message) if message else None
        if message is None:
            self._end("the connection was lost")
        elif status == NOT_FOUND:
            self._end(None)
        elif status == END_OF_BATCH:
            self._end(None if self._follows(message) else "messages were lost on the way")
        elif status is not None:
            self._end(f"status {status}")
        elif self._follows(message) and not self.ended.is_set():
            self._messages.append(_read(message))
        else:
            self._end("messages were lost on the way")

    def messages(self) -> list[DirectRead]:
        """Return the messages if all are there; raises ``UnavailableError`` otherwise."""
        if self._failure is not None:
            raise UnavailableError(self._request, self._failure)
        return self._messages

    def _follows(self, message: Delivery) -> bool:
        newest = self._messages[-1].sequence if self._messages else 0
        return int((message.headers or {}).get("Nats-Last-Sequence", 0)) == newest

    def _end(self, failure: str | None) -> None:
        if not self.ended.is_set():
            self._failure = failure
            self.ended.set()


def _read(message: Delivery) -> DirectRead:
    headers = message.headers or {}
    time = headers.get("Nats-Time-Stamp", "")
    return DirectRead(int(headers["Nats-Sequence"]), headers["Nats-Subject"], message.data, time)
