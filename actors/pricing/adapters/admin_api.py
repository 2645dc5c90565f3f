"""Pages of a provider's administration API.

The admin key goes into a header of requests to one address and nowhere else: not into logs, nor
into errors, nor along a redirect.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Generic, TypeVar

import anyio
import httpx
import msgspec

from bus.config.settings import Secret
from bus.errors import problem
from schemas import bounds
from schemas.base import Value

PAGE_SECONDS = 30.0
MOST_PAGES = 1000
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Between tries, where the provider does not name one."""

LONGEST_PAUSE_SECONDS = 30.0

BUSY = 429
BROKEN = 500
REFUSED = (401, 403)
OK = 200

B = TypeVar("B")

Parameters = Sequence[tuple[str, str]]


class AdminPage(Value, Generic[B]):
    """A page of buckets of time, and what to ask for the next one."""

    data: list[B]
    has_more: bool = False
    next_page: str | None = None


class AdminApi:
    """Asks one provider with one key, which is in the headers."""

    def __init__(
        self, client: httpx.AsyncClient, base_url: str, headers: Mapping[str, Secret]
    ) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._headers = headers

    async def buckets(self, path: str, parameters: Parameters, kind: type[B]) -> AsyncGenerator[B]:
        """Yield the buckets of all pages, each of a ``kind``.

        Raises:
            ProblemError: ``unauthorized``, ``rate_limited``, ``unavailable`` or ``provider_error``.
        """
        page: str | None = None
        for _ in range(MOST_PAGES):
            more = [("page", page)] if page else []
            read = await self._read(path, [*parameters, *more], kind)
            for bucket in read.data:
                yield bucket
            if not read.has_more or not read.next_page:
                return
            page = read.next_page
        raise problem("provider_error", f"{path} has more than {MOST_PAGES} pages")

    async def _read(self, path: str, parameters: Parameters, kind: type[B]) -> AdminPage[B]:
        response = await self._get(path, parameters)
        for pause in PAUSES_SECONDS:
            if response.status_code != BUSY and response.status_code < BROKEN:
                break
            await anyio.sleep(_pause(response, pause))
            response = await self._get(path, parameters)
        return _decoded(path, response, kind)

    async def _get(self, path: str, parameters: Parameters) -> httpx.Response:
        try:
            return await self._client.get(
                self._base_url + path,
                params=list(parameters),
                headers={name: str(value) for name, value in self._headers.items()},
                timeout=PAGE_SECONDS,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            reason = f"{self._base_url} does not answer: {type(error).__name__}"
            raise problem("unavailable", reason, retryable=True) from None


def _decoded(path: str, response: httpx.Response, kind: type[B]) -> AdminPage[B]:
    status = response.status_code
    if status in REFUSED:
        raise problem("unauthorized", f"{path} refuses the admin key ({status})")
    if status == BUSY:
        raise problem("rate_limited", f"{path} is asked too often", retryable=True)
    if status != OK:
        raise problem("provider_error", f"{path} answers with status {status}")
    try:
        return bounds.decode(response.content, type=AdminPage[kind])
    except msgspec.DecodeError as error:
        raise problem("provider_error", f"{path} answers in another shape: {error}") from None


def _pause(response: httpx.Response, otherwise: float) -> float:
    """Return how long to wait: as the provider says, within bounds."""
    try:
        seconds = float(response.headers.get("retry-after", otherwise))
    except ValueError:
        seconds = otherwise
    return min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS)
