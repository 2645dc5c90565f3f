"""Streamable HTTP: each request is an exchange of its own, in the task of whoever asks.

So a connection that is cut costs the request on it and no other. Answers are JSON or server-sent
events. In the handshake revisions a stream that breaks is resumed after its last event; in the
stateless one it loses the request, and closing it cancels the request.
"""

import re
from collections.abc import Mapping
from contextlib import closing, suppress
from urllib.parse import urljoin, urlsplit

import anyio
from anyio.abc import TaskGroup

from actors.mcp_pool.adapters.authorized import Sender
from actors.mcp_pool.core import wire, wire_faults
from actors.mcp_pool.core.upstream import LeakCounters, ServerAddress, UpstreamError
from actors.mcp_pool.core.wire import MAX_FRAME_BYTES, MalformedFrameError, RpcFrame, RpcRequest
from actors.mcp_pool.core.wire_hearing import FloodError, Hearing
from bus.errors import ProblemError
from bus.fairness.slices import Slices
from bus.http import (
    HttpAnswer,
    HttpBrokenError,
    HttpError,
    HttpNotSentError,
    HttpTooLargeError,
)
from schemas.sse import EventTooLargeError, SseEvent, SseParser

MAX_STREAM_BYTES = 64 * 1024 * 1024
"""Of all events of a request."""

MAX_REFUSAL_BYTES = 64 * 1024
RESUMPTIONS = 5
"""How often in a row a stream is resumed without an event."""

USUAL_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0
CANCEL_SECONDS = 2.0
MAX_BACKGROUND = 64
"""Notices of cancelled requests under way; above it none is sent."""

_JSON = "application/json"
_SESSION = "mcp-session-id"
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}\Z")
_EVENT_ID = re.compile(r"[\x20-\x7e]{1,1024}\Z")
_OK = range(200, 300)
_MOVED = (307, 308)
_EMPTY = (202, 204)
_NO_STREAM = (404, 405, 501)


class StreamableChannel:
    """See ``Channel``."""

    def __init__(
        self,
        address: ServerAddress,
        client: Sender,
        tasks: TaskGroup,
        counters: LeakCounters,
        hearing: Hearing,
        slices: Slices,
    ) -> None:
        self.hearing = hearing
        self._url = address.url
        self._client = client
        self._tasks = tasks
        self._counters = counters
        self._slices = slices
        self._own = {
            **address.headers,
            "content-type": _JSON,
            "accept": "application/json, text/event-stream",
        }
        self._headers: dict[str, str] = self._own
        self._session: str | None = None
        self._stateless = True
        self._closing = anyio.Event()

    async def start(self) -> None:
        """See ``Channel.start``: there is nothing to do before the first request."""

    def settle(self, headers: Mapping[str, str], *, stateless: bool) -> None:
        """See ``Channel.settle``."""
        self._stateless = stateless
        self._headers = {**self._own, **headers}
        if self._session is not None:
            self._headers[_SESSION] = self._session

    async def ask(self, outgoing: RpcRequest) -> RpcFrame:
        """See ``Channel.ask``."""
        own = self._headers
        headers = {**own, **outgoing.headers} if outgoing.headers else own
        answer = await self._send("POST", headers, outgoing.frame, may_repeat=outgoing.may_repeat)
        try:
            if outgoing.method == "initialize":
                self._join(answer.headers.get(_SESSION))
            kind = answer.headers.get("content-type")
            if kind == _JSON:
                return await self._whole(answer, outgoing.id)
            parser = SseParser(limit=MAX_FRAME_BYTES)
            found = await self._answered(answer, outgoing.id, parser)
        finally:
            answer.close()
        if found is not None:
            return found
        if self._stateless or not parser.last_id:
            raise _broken("The server has ended its stream without an answer.")
        return await self._resumed(outgoing.id, parser)

    async def tell(self, frame: bytes) -> None:
        """See ``Channel.tell``."""
        with closing(await self._send("POST", self._headers, frame, may_repeat=True)) as answer:
            # What a server says to a notification means nothing, but it makes the connection free.
            await _read(answer, MAX_REFUSAL_BYTES)

    def give_up(self, outgoing: RpcRequest) -> None:
        """See ``Channel.give_up``: without sessions the closed exchange says it."""
        open_tasks = self._counters.open().get("tasks", 0)
        if self._stateless or self._session is None or self._closing.is_set():
            return
        if outgoing.method != "initialize" and open_tasks < MAX_BACKGROUND:
            self._counters.opened["tasks"] += 1
            self._tasks.start_soon(self._cancel, outgoing.id)

    async def hear(self) -> None:
        """See ``Channel.hear``: the stream that a GET opens."""
        parser = SseParser(limit=MAX_FRAME_BYTES)
        silent = 0
        while silent < RESUMPTIONS and not self._closing.is_set():
            try:
                with closing(await self._get(parser)) as answer:
                    silent = 0
                    await self._answered(answer, None, parser)
            except UpstreamError as error:
                if error.session_lost or error.said.status in _NO_STREAM:
                    return
                silent += 1
            with anyio.move_on_after(_pause(parser)):
                await self._closing.wait()

    async def close(self) -> None:
        """See ``Channel.close``: a session is ended by DELETE, whose answer means nothing."""
        self._closing.set()
        session, self._session = self._session, None
        if session is None:
            return
        headers = {**self._headers, _SESSION: session}
        with anyio.move_on_after(CANCEL_SECONDS, shield=True), suppress(UpstreamError):
            answer = await self._send("DELETE", headers, b"", may_repeat=True)
            answer.close()

    # Requests

    async def _send(
        self, method: str, headers: Mapping[str, str], body: bytes, *, may_repeat: bool
    ) -> HttpAnswer:
        """Send a request and return its answer, which is a success. The caller closes it.

        Raises:
            UpstreamError: there is none, or it is none.
        """
        for last in (False, True):
            try:
                answer = await self._client.send(
                    method, self._url, headers, body, may_repeat=may_repeat, endless=True
                )
            except (HttpError, ProblemError) as error:
                raise _fault(error) from None
            if answer.status in _OK:
                return answer
            with closing(answer):
                moved = _moved(self._url, answer)
                if moved is None or last:
                    break
                self._url = moved
        with closing(answer):
            raise await self._refused(answer)

    async def _get(self, parser: SseParser) -> HttpAnswer:
        headers = {**self._headers, "accept": "text/event-stream"}
        del headers["content-type"]
        if _EVENT_ID.match(parser.last_id):
            headers["last-event-id"] = parser.last_id
        return await self._send("GET", headers, b"", may_repeat=True)

    async def _refused(self, answer: HttpAnswer) -> UpstreamError:
        """Return the error of an answer that is no success, with what its body says."""
        error = None
        try:
            body = await _read(answer, MAX_REFUSAL_BYTES)
            error = next((frame.error for frame in wire.frames(body) if frame.error), None)
        except (MalformedFrameError, UpstreamError):
            # The status is enough.
            pass
        wait = wire_faults.retry_after(answer.headers.get("retry-after"))
        refusal = wire_faults.HttpRefusal(answer.status, error, wait)
        return wire_faults.of_status(refusal, in_session=self._session is not None)

    # Answers

    async def _answered(
        self, answer: HttpAnswer, number: int | None, parser: SseParser
    ) -> RpcFrame | None:
        """Return the answer to a request, None where its stream ends or breaks without one."""
        kind = answer.headers.get("content-type").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return await self._streamed(answer, number, parser)
        if answer.status in _EMPTY or kind != _JSON:
            raise UpstreamError(
                "protocol_error", "The server answers with neither JSON nor events.", sent=True
            )
        return await self._whole(answer, number)

    async def _whole(self, answer: HttpAnswer, number: int | None) -> RpcFrame:
        """Return the answer that is the body."""
        body = await _read(answer, MAX_FRAME_BYTES)
        found = await self._found(body, number)
        if found is None:
            raise UpstreamError(
                "protocol_error", "The server's answer does not belong to the request.", sent=True
            )
        return found

    async def _streamed(
        self, answer: HttpAnswer, number: int | None, parser: SseParser
    ) -> RpcFrame | None:
        size = 0
        try:
            while piece := await answer.piece():
                size += len(piece)
                if size > MAX_STREAM_BYTES and number is not None:
                    raise _too_large(MAX_STREAM_BYTES)
                for event in parser.feed(piece):
                    if (found := await self._event(event, number)) is not None:
                        return found
            for event in parser.finish():
                if (found := await self._event(event, number)) is not None:
                    return found
        except EventTooLargeError:
            raise _too_large(MAX_FRAME_BYTES) from None
        except HttpBrokenError:
            # Whether the request is lost by it, its revision says.
            return None
        return None

    async def _event(self, event: SseEvent, number: int | None) -> RpcFrame | None:
        if event.name != "message" or not event.data.strip():
            return None
        return await self._found(event.data, number)

    async def _found(self, text: bytes | str, number: int | None) -> RpcFrame | None:
        """Return the answer to a request among frames; the others are taken note of."""
        try:
            found = (
                wire.frames(text)
                if len(text) <= wire.SHORT
                else await self._slices.run(wire.reading(text), self._url)
            )
            for frame in found:
                if not frame.is_answer:
                    await self._take(frame, number)
                elif number is not None:
                    return _own(frame, number)
        except (MalformedFrameError, FloodError) as error:
            raise UpstreamError("protocol_error", f"{error}", sent=True) from None
        return None

    async def _take(self, frame: RpcFrame, number: int | None) -> None:
        reply = self.hearing.take(frame, number)
        if reply is not None:
            await self.tell(reply)

    async def _resumed(self, number: int, parser: SseParser) -> RpcFrame:
        """Read on behind the last event; each event that comes allows further tries."""
        tries = 0
        while tries < RESUMPTIONS:
            await anyio.sleep(_pause(parser))
            before, tries = parser.last_id, tries + 1
            parser = _behind(parser)
            try:
                with closing(await self._get(parser)) as answer:
                    found = await self._answered(answer, number, parser)
            except UpstreamError as error:
                if error.outcome not in ("not_sent", "outcome_unknown"):
                    raise _broken("The server does not resume its stream.") from None
                continue
            if found is not None:
                return found
            if parser.last_id != before:
                tries = 0
        raise _broken("The server's stream broke, and could not be resumed.")

    def _join(self, session: str) -> None:
        """Take the id of the session that the server has opened.

        Raises:
            UpstreamError: it is none.
        """
        if not session:
            return
        if not _SESSION_ID.match(session):
            raise UpstreamError("protocol_error", "The server's session id is none.", sent=True)
        self._session = session
        self._headers = {**self._headers, _SESSION: session}

    async def _cancel(self, number: int) -> None:
        frame = wire.notification("notifications/cancelled", {"requestId": number})
        try:
            with anyio.move_on_after(CANCEL_SECONDS):
                await self.tell(frame)
        except UpstreamError:
            # The server finds out by itself.
            return
        finally:
            self._counters.closed["tasks"] += 1


async def _read(answer: HttpAnswer, most: int) -> bytes:
    """Return a body of at most so many bytes.

    Raises:
        UpstreamError: it has more, or does not come whole.
    """
    try:
        return await answer.read(most)
    except HttpTooLargeError:
        raise _too_large(most) from None
    except HttpError as error:
        raise _fault(error) from None


def _fault(error: HttpError | ProblemError) -> UpstreamError:
    """Return what the failure of an exchange means."""
    if isinstance(error, ProblemError):
        return UpstreamError("not_sent", error.problem.message)
    if isinstance(error, HttpNotSentError):
        return UpstreamError("not_sent", "There is no connection to the server.")
    return _broken(f"The exchange with the server broke: {error}")


def _own(frame: RpcFrame, number: int) -> RpcFrame:
    if frame.id == number or (frame.id is None and frame.error is not None):
        return frame
    raise UpstreamError("protocol_error", "The server answers another request.", sent=True)


def _behind(parser: SseParser) -> SseParser:
    """Return a parser for the stream that goes on behind the last event of another one."""
    return SseParser(limit=MAX_FRAME_BYTES, last_id=parser.last_id, retry_ms=parser.retry_ms)


def _pause(parser: SseParser) -> float:
    retry = USUAL_RETRY_SECONDS if parser.retry_ms is None else parser.retry_ms / 1000
    return min(retry, MAX_RETRY_SECONDS)


def _moved(url: str, answer: HttpAnswer) -> str | None:
    """Return where a redirection leads, if it stays at the same server and keeps the method."""
    place = answer.headers.get("location")
    if answer.status not in _MOVED or not place:
        return None
    moved = urljoin(url, place)
    return moved if urlsplit(moved)[:2] == urlsplit(url)[:2] else None


def _broken(message: str) -> UpstreamError:
    return UpstreamError("outcome_unknown", message, sent=True)


def _too_large(most: int) -> UpstreamError:
    return UpstreamError("protocol_error", f"The answer has more than {most} bytes.", sent=True)
