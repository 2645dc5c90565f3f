"""Help Scout's Mailbox API 2.0 and Docs API: tokens, limits, pages, errors.

https://developer.helpscout.com/mailbox-api/ and https://developer.helpscout.com/docs-api/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

TIMEOUT_SECONDS = 20.0

EARLY_SECONDS = 60.0
"""A token is renewed so long before it ends."""

TRIES = 3
MOST_WAIT_SECONDS = 15.0
"""A limit that lasts longer is told to the caller instead of being waited for."""

MOST_PAGES = 10

_CODES = {
    400: "validation",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    412: "conflict",
    422: "validation",
    429: "rate_limited",
}

Params = Mapping[str, str | int]


class ApiError(Exception):
    """The API refuses. ``code`` is one of Callboard's problem codes; the text is for a model.

    It repeats nothing of what the API has answered, for that may hold a customer's data.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        wait = f"; ask again in {retry_after:g} s" if retry_after is not None else ""
        super().__init__(f"{code}: {message}{wait}")
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the APIs are, and the keys to them. Articles are searched with ``docs_key`` alone."""

    app_id: str
    app_secret: str
    base_url: str = "https://api.helpscout.net/v2"
    docs_url: str = "https://docsapi.helpscout.net/v1"
    docs_key: str = ""


class HelpScout:
    """Asks both APIs. Calls may run side by side; they share one token."""

    def __init__(self, account: Account, client: httpx.AsyncClient) -> None:
        self._account = account
        self._client = client
        self._token = ""
        self._ends = 0.0
        self._renewing = anyio.Lock()

    async def get(self, path: str, what: str, params: Params | None = None) -> Any:
        """Return what a path of the Mailbox API holds; ``what`` names it in errors.

        Raises:
            ApiError: it does not exist, or the API refuses or is away.
        """
        response = await self._ask("GET", path, what, params=dict(params or {}))
        return _json(response, what)

    async def send(self, method: str, path: str, what: str, body: Mapping[str, Any]) -> str:
        """Change something; return the id of what was made, "" where nothing was.

        It is never sent again once it may have been received. Raises as ``get`` does.
        """
        response = await self._ask(method, path, what, json=body)
        return response.headers.get("Resource-ID", "")

    async def all_of(self, path: str, name: str, what: str) -> tuple[list[dict[str, Any]], bool]:
        """Return the rows of all pages, and whether there are more than are read here.

        Raises as ``get`` does.
        """
        rows: list[dict[str, Any]] = []
        for number in range(1, MOST_PAGES + 1):
            page = await self.get(path, what, {"page": number})
            rows += embedded(page, name)
            if number >= page.get("page", {}).get("totalPages", 1):
                return rows, False
        return rows, True

    async def articles(self, query: str, page: int) -> Any:
        """Search the Docs API's articles. Raises as ``get`` does."""
        if not self._account.docs_key:
            raise ApiError("unauthorized", "this server has no key to the Docs API")
        url = f"{self._account.docs_url}/search/articles"
        auth = httpx.BasicAuth(self._account.docs_key, "X")
        params: Params = {"query": query, "page": page}
        response = await self._patiently("GET", url, "articles", params=params, auth=auth)
        return _json(response, "articles")

    async def _ask(self, method: str, path: str, what: str, **more: Any) -> httpx.Response:
        url = f"{self._account.base_url}{path}"
        token = await self._current("")
        for last in (False, True):
            headers = {"Authorization": f"Bearer {token}"}
            try:
                return await self._patiently(method, url, what, headers=headers, **more)
            except ApiError as error:
                if error.code != "unauthorized" or last:
                    raise
            # A token can be taken back before it ends.
            token = await self._current(token)
        raise AssertionError

    async def _patiently(self, method: str, url: str, what: str, **more: Any) -> httpx.Response:
        """Ask, and wait where the API says that there were too many requests."""
        for tried in range(1, TRIES + 1):
            response = await self._once(method, url, what, **more)
            if response.is_success:
                return response
            error = _refusal(response, what)
            wait = error.retry_after
            if wait is None or wait > MOST_WAIT_SECONDS or tried == TRIES:
                raise error
            await anyio.sleep(wait)
        raise AssertionError

    async def _once(self, method: str, url: str, what: str, **more: Any) -> httpx.Response:
        try:
            return await self._client.request(method, url, **more)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise ApiError("unavailable", f"{what}: Help Scout cannot be reached") from None
        except httpx.HTTPError:
            code = "unavailable" if method == "GET" else "outcome_unknown"
            raise ApiError(code, f"{what}: Help Scout has not answered") from None

    async def _current(self, refused: str) -> str:
        """Return a token that has not ended and is not the ``refused`` one."""
        async with self._renewing:
            now = anyio.current_time()
            if self._token and self._token != refused and now < self._ends - EARLY_SECONDS:
                return self._token
            response = await self._patiently(
                "POST",
                f"{self._account.base_url}/oauth2/token",
                "token",
                data={
                    "grant_type": "client_credentials",
                    "client_id": self._account.app_id,
                    "client_secret": self._account.app_secret,
                },
            )
            granted = _json(response, "token")
            self._token = str(granted["access_token"])
            self._ends = now + float(granted["expires_in"])
            return self._token


def embedded(page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the rows of a page, in the form of HAL."""
    return page.get("_embedded", {}).get(name, [])


def _json(response: httpx.Response, what: str) -> Any:
    try:
        return response.json()
    except ValueError:
        raise ApiError("provider_error", f"{what}: Help Scout's answer is not JSON") from None


def _refusal(response: httpx.Response, what: str) -> ApiError:
    status = response.status_code
    code = _CODES.get(status, "unavailable" if response.is_server_error else "provider_error")
    if code == "unauthorized" and what == "token":
        # Asking again with the same credentials would not help.
        return ApiError("forbidden", "Help Scout does not know this application")
    wait = _seconds(response) if code == "rate_limited" else None
    return ApiError(code, f"{what}: Help Scout answers {status}", wait)


def _seconds(response: httpx.Response) -> float:
    headers = response.headers
    told = headers.get("X-RateLimit-Retry-After") or headers.get("Retry-After") or ""
    return float(told) if told.isascii() and told.isdigit() else 1.0
