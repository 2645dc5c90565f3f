"""The transport of the revision 2024-11-05: a stream of events, and an address to post to.

It is deprecated since 2025-03-26, and some servers still have no other.
"""

from collections.abc import Callable
from contextlib import closing
from urllib.parse import urljoin, urlsplit

from actors.mcp_pool.adapters.authorized import Sender
from actors.mcp_pool.adapters.pipe import PipeError, Taken
from actors.mcp_pool.core.upstream import ServerAddress, UpstreamError
from actors.mcp_pool.core.wire import MAX_FRAME_BYTES
from bus.errors import ProblemError
from bus.http import HttpAnswer, HttpError
from schemas.sse import FramingError, SseEvent, SseParser

_OK = range(200, 300)
_MAX_ADDRESS = 4096


class SsePipe:
    """See ``Pipe``."""

    def __init__(self, address: ServerAddress, client: Sender) -> None:
        self._url = address.url
        self._headers = dict(address.headers)
        self._client = client
        self._endpoint: str | None = None

    async def run(self, ready: Callable[[], None], taken: Taken) -> None:
        """See ``Pipe.run``."""
        headers = {**self._headers, "accept": "text/event-stream", "cache-control": "no-store"}
        try:
            answer = await self._client.send(
                "GET", self._url, headers, may_repeat=True, endless=True
            )
            with closing(answer):
                if answer.status not in _OK:
                    raise PipeError(f"The server answers with status {answer.status}.")
                await self._read(answer, ready, taken)
        except ProblemError as error:
            raise PipeError(error.problem.message) from None
        except UpstreamError as error:
            raise PipeError(error.message) from None
        except HttpError as error:
            raise PipeError(f"The server's stream broke: {error}") from None
        except FramingError:
            raise PipeError(f"An event has more than {MAX_FRAME_BYTES} bytes.") from None
        raise PipeError("The server has ended its stream.")

    async def send(self, frame: bytes) -> None:
        """See ``Pipe.send``."""
        if self._endpoint is None:
            raise PipeError("The server has named no address to post to.")
        headers = {**self._headers, "content-type": "application/json"}
        try:
            with closing(await self._client.send("POST", self._endpoint, headers, frame)) as answer:
                if answer.status not in _OK:
                    raise PipeError(f"The server answers with status {answer.status}.")
                await answer.read(MAX_FRAME_BYTES)
        except ProblemError as error:
            raise PipeError(error.problem.message) from None
        except UpstreamError as error:
            raise PipeError(error.message) from None
        except HttpError as error:
            raise PipeError(f"The exchange with the server broke: {error}") from None

    def kill(self) -> None:
        """See ``Pipe.kill``: a closed stream is all that the server is told."""

    async def _read(self, answer: HttpAnswer, ready: Callable[[], None], taken: Taken) -> None:
        parser = SseParser(limit=MAX_FRAME_BYTES)
        while piece := await answer.piece():
            for event in parser.feed(piece):
                if event.name == "endpoint" and self._endpoint is None:
                    self._endpoint = self._named(event)
                    ready()
                elif event.name == "message" and event.data:
                    await taken(event.data)

    def _named(self, event: SseEvent) -> str:
        """Return the address to post to, which must be the same server's."""
        endpoint = urljoin(self._url, event.data.strip())
        if len(endpoint) > _MAX_ADDRESS or urlsplit(endpoint)[:2] != urlsplit(self._url)[:2]:
            raise PipeError("The server names the address of another server to post to.")
        return endpoint
